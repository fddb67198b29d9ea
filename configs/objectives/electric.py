"""Electric (Clark et al. 2020): energies of tokens by noise contrast against a two-tower model."""

import pathlib

from electra_jax.config.recipe import recipe

BASE = pathlib.Path(__file__).parent / 'electra.py'


def get_config():
    return recipe(
        {
            'objective': {'name': 'electric'},
        },
        BASE,
    )
