"""ELECTRA 15% (section 3.4): the discriminator learns from the masked positions alone."""

import pathlib

from electra_jax.config.recipe import recipe

BASE = pathlib.Path(__file__).parent / 'electra.py'


def get_config():
    return recipe(
        {
            'objective': {'name': 'electra_masked'},
        },
        BASE,
    )
