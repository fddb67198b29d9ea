"""ELECTRA with a generator as wide as the discriminator, in place of half."""

from electra_jax.config.recipe import recipe


def get_config():
    return recipe({'model': {'generator_width': 1.0}}, base='electra.py')
