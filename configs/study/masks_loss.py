"""ELECTRA whose masks are in proportion to the generator's running loss."""

from electra_jax.config.recipe import recipe


def get_config():
    return recipe({'objective': {'masks': 'loss'}}, base='electra.py')
