"""ELECTRA with a two-tower generator, which reads all of the text and learns from every token."""

from electra_jax.config.recipe import recipe


def get_config():
    return recipe(
        {
            'model': {'generator': 'two_tower'},
        },
        base='electra.py',
    )
