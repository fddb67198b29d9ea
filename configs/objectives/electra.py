"""ELECTRA (section 2), on the quick start's corpus: what the other recipes here differ from."""

from electra_jax.config.recipe import recipe


def get_config():
    return recipe(
        {
            'objective': {'temperature': 1.0, 'temperature_end': None},
        },
        base='../quickstart.py',
    )
