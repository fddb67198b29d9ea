"""QNLI, does this sentence answer the question: google-research/electra reports a dev accuracy of
88.4 for ELECTRA-Small++, 93.2 for Base++ and 95.0 for Large, medians over seeds, and 87.9 for
its ELECTRA-Small-OWT.
"""

from electra_jax.config.recipe import recipe


def get_config():
    return recipe(
        {
            'job': 'finetune',
            'batch_size': 32,
            'task': {'name': 'qnli'},
            # Large models: 5e-5 and 0.9 (google-research/electra, configure_finetuning.py).
            'optimizer': {'learning_rate': 1e-4, 'weight_decay': 0.01, 'layer_decay': 0.8},
        }
    )
