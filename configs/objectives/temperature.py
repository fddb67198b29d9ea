"""ELECTRA with samples that cool down exponentially from temperature 2 to 1."""

import pathlib

from electra_jax.config.recipe import recipe

BASE = pathlib.Path(__file__).parent / 'electra.py'


def get_config():
    return recipe(
        {
            'objective': {
                'temperature': 2.0,
                'temperature_end': 1.0,
                'temperature_shape': 'exponential',
                'temperature_decay': 0.2,
            },
        },
        BASE,
    )
