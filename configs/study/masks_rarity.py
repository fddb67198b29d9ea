"""ELECTRA whose masks are in proportion to the rarity of tokens."""

from electra_jax.config.recipe import recipe


def get_config():
    return recipe({'objective': {'masks': 'rarity'}}, base='electra.py')
