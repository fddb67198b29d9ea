"""SST-2, is this review good or bad: google-research/electra reports a dev accuracy of 91.2 for
ELECTRA-Small++, 95.1 for Base++ and 96.9 for Large, medians over seeds, and 88.3 for its
ELECTRA-Small-OWT.
"""

from electra_jax.config.recipe import recipe


def get_config():
    return recipe(
        {
            'job': 'finetune',
            'batch_size': 32,
            'task': {'name': 'sst2'},
            # Large models: 5e-5 and 0.9 (google-research/electra, configure_finetuning.py).
            'optimizer': {'learning_rate': 1e-4, 'weight_decay': 0.01, 'layer_decay': 0.8},
        }
    )
