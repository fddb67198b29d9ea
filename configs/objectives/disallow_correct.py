"""ELECTRA whose samples are never the original token, so that every written one is fake."""

import pathlib

from electra_jax.config.recipe import recipe

BASE = pathlib.Path(__file__).parent / 'electra.py'


def get_config():
    return recipe(
        {
            'objective': {'disallow_correct': True},
        },
        BASE,
    )
