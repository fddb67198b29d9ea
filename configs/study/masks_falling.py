"""ELECTRA with a falling mask rate: 30 % of the tokens at the start, 15 % from half-way on."""

from electra_jax.config.recipe import recipe


def get_config():
    return recipe(
        {'objective': {'mask_rate': 0.3, 'mask_rate_end': 0.15, 'mask_rate_decay': 0.5}},
        base='electra.py',
    )
