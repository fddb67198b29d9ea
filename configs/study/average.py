"""ELECTRA whose running mean of the parameters is evaluated, and fine-tuned from."""

from electra_jax.config.recipe import recipe


def get_config():
    return recipe(
        {'optimizer': {'average_decay': 0.999}, 'eval': {'average': True}}, base='electra.py'
    )
