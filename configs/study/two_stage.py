"""Two stages (section 3.2): a generator first, then a discriminator that starts from it."""

from electra_jax.config.recipe import recipe


def get_config():
    return recipe(
        {
            'model': {
                'generator_width': 1.0,
                'embedding_sharing': 'untied',
                'generator_embedding_size': 128,
            },
            'objective': {'name': 'two_stage', 'generator_share': 0.5},
        },
        base='electra.py',
    )
