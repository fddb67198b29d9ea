"""QQP, do these questions ask the same: google-research/electra reports a dev accuracy of 89.0 for
ELECTRA-Small++, 91.5 for Base++ and 92.4 for Large, medians over seeds, and 88.3 for its
ELECTRA-Small-OWT.
"""

from electra_jax.config.recipe import recipe


def get_config():
    return recipe(
        {
            'job': 'finetune',
            'batch_size': 32,
            'task': {'name': 'qqp'},
            # Large models: 5e-5 and 0.9 (google-research/electra, configure_finetuning.py).
            'optimizer': {'learning_rate': 1e-4, 'weight_decay': 0.01, 'layer_decay': 0.8},
        }
    )
