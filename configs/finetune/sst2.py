"""SST-2, movie reviews good or bad: google-research/electra reports a dev accuracy of 91.2 for its
ELECTRA-Small++ and 88.3 for its ELECTRA-Small-OWT, medians over seeds.
"""

from electra_jax.flags import recipe


def get_config():
    return recipe(
        {
            'job': 'finetune',
            'batch_size': 32,
            'task': {'name': 'sst2'},
            'optimizer': {'learning_rate': 1e-4, 'weight_decay': 0.01},
        }
    )
