"""ELECTRA with a constant rate that decays in the last fifth (warm-up, stable, decay)."""

from electra_jax.config.recipe import recipe


def get_config():
    return recipe({'optimizer': {'decay_share': 0.2}}, base='electra.py')
