"""ELECTRA (section 2), on the quick start's corpus: what the other recipes here differ from."""

import pathlib

from electra_jax.config.recipe import recipe

BASE = pathlib.Path(__file__).parent / '../quickstart.py'


def get_config():
    return recipe(
        {
            'objective': {'temperature': 1.0, 'temperature_end': None},
        },
        BASE,
    )
