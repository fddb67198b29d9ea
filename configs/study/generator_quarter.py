"""ELECTRA with a generator a quarter as wide as the discriminator, in place of half."""

from electra_jax.config.recipe import recipe


def get_config():
    return recipe({'model': {'generator_width': 0.25}}, base='electra.py')
