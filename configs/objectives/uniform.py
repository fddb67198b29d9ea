"""ELECTRA whose replacements are any tokens at all: the simplest generator there is."""

from electra_jax.config.recipe import recipe


def get_config():
    return recipe(
        {
            'model': {'generator': 'uniform', 'generator_width': None},
        },
        base='electra.py',
    )
