"""Your own tags: train.txt and dev.txt in --config.data.path, a word and its tag a line, a blank
line between sentences (or .jsonl with lists 'words' and 'tags'); reaches what your data lets it.
"""

from electra_jax.flags import recipe


def get_config():
    return recipe(
        {
            'job': 'finetune',
            'batch_size': 32,
            'task': {'name': 'tagging'},
            # Large models: 5e-5 and 0.9 (google-research/electra, configure_finetuning.py).
            'optimizer': {'learning_rate': 1e-4, 'weight_decay': 0.01, 'layer_decay': 0.8},
        }
    )
