"""Each network updated by itself, with its own clipping and learning rate (as DeBERTaV3 does)."""

import pathlib

from electra_jax.config.recipe import recipe

BASE = pathlib.Path(__file__).parent / 'electra.py'


def get_config():
    return recipe(
        {
            'model': {'embedding_sharing': 'disentangled'},
            'optimizer': {'separate': True, 'generator_learning_rate': 1e-3},
        },
        BASE,
    )
