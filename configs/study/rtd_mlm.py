"""ELECTRA with its generator's loss kept on: one encoder learns MLM and to detect replacements."""

from electra_jax.config.recipe import recipe


def get_config():
    return recipe({'model': {'generator': 'tied'}}, base='electra.py')
