"""ELECTRA that masks whole words."""

from electra_jax.config.recipe import recipe


def get_config():
    return recipe({'objective': {'masks': 'words'}}, base='electra.py')
