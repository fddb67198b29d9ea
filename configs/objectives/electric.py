"""Electric (Clark et al. 2020): energies of tokens by noise contrast against a two-tower model."""

from electra_jax.config.recipe import recipe


def get_config():
    return recipe(
        {
            'objective': {'name': 'electric'},
        },
        base='electra.py',
    )
