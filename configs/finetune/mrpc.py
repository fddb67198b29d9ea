"""MRPC, do these sentences say the same: google-research/electra reports a dev accuracy of 88.0 for
ELECTRA-Small++, 89.5 for Base++ and 90.8 for Large, medians over seeds, and 87.4 for its
ELECTRA-Small-OWT.
"""

from electra_jax.config.recipe import recipe


def get_config():
    return recipe(
        {
            'job': 'finetune',
            'batch_size': 32,
            'task': {'name': 'mrpc'},
            # Large models: 5e-5 and 0.9 (google-research/electra, configure_finetuning.py).
            'optimizer': {'learning_rate': 1e-4, 'weight_decay': 0.01, 'layer_decay': 0.8},
        }
    )
