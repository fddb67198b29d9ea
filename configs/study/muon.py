"""ELECTRA with Muon for the matrices of layers, in place of AdamW."""

from electra_jax.config.recipe import recipe


def get_config():
    return recipe({'optimizer': {'matrices': 'muon'}}, base='electra.py')
