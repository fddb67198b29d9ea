"""ELECTRA whose generator is the discriminator's own encoder (section 3.2, "all weights tied")."""

import pathlib

from electra_jax.config.recipe import recipe

BASE = pathlib.Path(__file__).parent / 'electra.py'


def get_config():
    return recipe(
        {
            'model': {'generator': 'tied', 'generator_width': None},
        },
        BASE,
    )
