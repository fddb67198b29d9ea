"""ELECTRA 15 %: the discriminator learns from the masked tokens alone (section 3.4)."""

from electra_jax.config.recipe import recipe


def get_config():
    return recipe({'objective': {'name': 'electra_masked'}}, base='electra.py')
