"""MNLI, does one sentence follow from the other: google-research/electra reports a dev accuracy
(matched) of 81.3 for ELECTRA-Small++, 88.8 for Base++ and 90.9 for Large, medians over seeds,
and 78.9 for its ELECTRA-Small-OWT.
"""

from electra_jax.config.recipe import recipe


def get_config():
    return recipe(
        {
            'job': 'finetune',
            'batch_size': 32,
            'task': {'name': 'mnli'},
            # Large models: 5e-5 and 0.9 (google-research/electra, configure_finetuning.py).
            'optimizer': {'learning_rate': 1e-4, 'weight_decay': 0.01, 'layer_decay': 0.8},
        }
    )
