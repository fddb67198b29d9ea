"""ELECTRA whose samples are never the original token, so that every written one is fake."""

from electra_jax.config.recipe import recipe


def get_config():
    return recipe(
        {
            'objective': {'disallow_correct': True},
        },
        base='electra.py',
    )
