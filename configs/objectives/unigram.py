"""ELECTRA whose replacements follow the frequencies of tokens (section 3.2)."""

import pathlib

from electra_jax.config.recipe import recipe

BASE = pathlib.Path(__file__).parent / 'electra.py'


def get_config():
    return recipe(
        {
            'model': {'generator': 'unigram', 'generator_width': None},
        },
        BASE,
    )
