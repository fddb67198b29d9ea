"""STS-B, how alike are these sentences, 0 to 5: google-research/electra reports a dev Spearman
correlation of 87.5 for ELECTRA-Small++, 91.2 for Base++ and 92.6 for Large, medians over seeds,
and 86.8 for its ELECTRA-Small-OWT.
"""

from electra_jax.config.recipe import recipe


def get_config():
    return recipe(
        {
            'job': 'finetune',
            'batch_size': 32,
            'task': {'name': 'stsb'},
            # Large models: 5e-5 and 0.9 (google-research/electra, configure_finetuning.py).
            'optimizer': {'learning_rate': 1e-4, 'weight_decay': 0.01, 'layer_decay': 0.8},
        }
    )
