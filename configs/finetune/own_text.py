"""Your own classes of text: train.csv and dev.csv (or .tsv, .jsonl) in --config.data.path, with a
text and a label each; reaches what your data lets it. Pairs of texts have a text_b column too:
--config.task.columns.text_b=text_b.
"""

from electra_jax.config.recipe import recipe


def get_config():
    return recipe(
        {
            'job': 'finetune',
            'batch_size': 32,
            'task': {'name': 'text', 'columns': {'text_a': 'text', 'label': 'label'}},
            # Large models: 5e-5 and 0.9 (google-research/electra, configure_finetuning.py).
            'optimizer': {'learning_rate': 1e-4, 'weight_decay': 0.01, 'layer_decay': 0.8},
        }
    )
