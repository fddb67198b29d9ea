"""Gradient-disentangled embedding sharing (DeBERTaV3, section 3.3)."""

from electra_jax.config.recipe import recipe


def get_config():
    return recipe(
        {
            'model': {'embedding_sharing': 'disentangled'},
        },
        base='electra.py',
    )
