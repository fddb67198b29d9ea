"""ELECTRA 15% (section 3.4): the discriminator learns from the masked positions alone."""

from electra_jax.config.recipe import recipe


def get_config():
    return recipe(
        {
            'objective': {'name': 'electra_masked'},
        },
        base='electra.py',
    )
