"""BERT's masked language modelling (no next sentences), one network of full size."""

import pathlib

from electra_jax.config.recipe import recipe

BASE = pathlib.Path(__file__).parent / 'electra.py'


def get_config():
    return recipe(
        {
            'model': {'generator_width': None},
            'objective': {'name': 'mlm'},
        },
        BASE,
    )
