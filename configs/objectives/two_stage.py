"""Two-stage training (ELECTRA section 3.2): a generator, then a discriminator starts from it."""

from electra_jax.config.recipe import recipe


def get_config():
    return recipe(
        {
            'model': {
                'generator_width': 1.0,
                'embedding_sharing': 'untied',
                'generator_embedding_size': 128,
            },
            'objective': {'name': 'two_stage'},
            'optimizer': {'warmup_steps': 20},
        },
        base='electra.py',
    )
