"""CoLA, is this sentence good English: google-research/electra reports a dev Matthews correlation
of 57.0 for ELECTRA-Small++, 67.7 for Base++ and 69.1 for Large, medians over seeds, and 56.8 for
its ELECTRA-Small-OWT.
"""

from electra_jax.config.recipe import recipe


def get_config():
    return recipe(
        {
            'job': 'finetune',
            'batch_size': 32,
            'task': {'name': 'cola'},
            # Large models: 5e-5 and 0.9 (google-research/electra, configure_finetuning.py).
            'optimizer': {'learning_rate': 1e-4, 'weight_decay': 0.01, 'layer_decay': 0.8},
        }
    )
