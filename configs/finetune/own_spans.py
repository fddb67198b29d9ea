"""Your own questions about texts: train.json and dev.json in --config.data.path as SQuAD has them,
or .jsonl, .csv or .tsv with context, question and answers (in a table one text that the context
holds); reaches what your data lets it.
"""

from electra_jax.config.recipe import recipe


def get_config():
    return recipe(
        {
            'job': 'finetune',
            'batch_size': 32,
            'task': {'name': 'spans'},
            # Large models: 5e-5 and 0.9 (google-research/electra, configure_finetuning.py).
            'optimizer': {'learning_rate': 1e-4, 'weight_decay': 0.01, 'layer_decay': 0.8},
        }
    )
