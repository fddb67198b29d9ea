"""ELECTRA with a two-tower generator, which reads all of the text and learns from every token."""

import pathlib

from electra_jax.config.recipe import recipe

BASE = pathlib.Path(__file__).parent / 'electra.py'


def get_config():
    return recipe(
        {
            'model': {'generator': 'two_tower'},
        },
        BASE,
    )
