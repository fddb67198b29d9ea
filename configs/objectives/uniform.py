"""ELECTRA whose replacements are any tokens at all: the simplest generator there is."""

import pathlib

from electra_jax.config.recipe import recipe

BASE = pathlib.Path(__file__).parent / 'electra.py'


def get_config():
    return recipe(
        {
            'model': {'generator': 'uniform', 'generator_width': None},
        },
        BASE,
    )
