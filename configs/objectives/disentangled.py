"""Gradient-disentangled embedding sharing (DeBERTaV3, section 3.3)."""

import pathlib

from electra_jax.config.recipe import recipe

BASE = pathlib.Path(__file__).parent / 'electra.py'


def get_config():
    return recipe(
        {
            'model': {'embedding_sharing': 'disentangled'},
        },
        BASE,
    )
