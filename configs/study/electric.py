"""Electric: energies of tokens, by noise contrast with a model of two towers."""

from electra_jax.config.recipe import recipe


def get_config():
    return recipe({'objective': {'name': 'electric'}}, base='electra.py')
