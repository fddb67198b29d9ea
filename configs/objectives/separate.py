"""Networks are updated separately, with its own clipping and learning rate (as DeBERTaV3 does)."""

from electra_jax.config.recipe import recipe


def get_config():
    return recipe(
        {
            'model': {'embedding_sharing': 'disentangled'},
            'optimizer': {'separate': True, 'generator_learning_rate': 1e-3},
        },
        base='electra.py',
    )
