"""Names in text, in the columns of CoNLL-2003 (which has to be had from its owners): F1 of people,
places and organizations on dev and test. No published figure is quoted here.
"""

from electra_jax.config.recipe import recipe


def get_config():
    return recipe(
        {
            'job': 'finetune',
            'batch_size': 32,
            'task': {'name': 'ner'},
            # Large models: 5e-5 and 0.9 (google-research/electra, configure_finetuning.py).
            'optimizer': {'learning_rate': 1e-4, 'weight_decay': 0.01, 'layer_decay': 0.8},
        }
    )
