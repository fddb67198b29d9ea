"""ELECTRA-base with the layers of configs/modern_small.py: the paper's widths, steps and tokens,
100 B, in packed rows of 512, which is longer than most articles of Wikipedia. For longer text
--config.data.row_length=8192 --config.batch_size=16: the same number of tokens a step, and only
one layer of three costs more. No whole run has been made yet.
"""

from electra_jax.config.recipe import recipe


def get_config():
    return recipe(
        {
            'total_steps': 766_000,
            'batch_size': 256,
            'model': {'size': 'base', 'ffn_size': 2048},
            'optimizer': {'learning_rate': 2e-4},
        },
        base='modern_small.py',
    )
