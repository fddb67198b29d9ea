"""ELECTRA with samples that cool exponentially from temperature 2 to 1."""

from electra_jax.config.recipe import recipe


def get_config():
    return recipe(
        {
            'objective': {
                'temperature': 2.0,
                'temperature_end': 1.0,
                'temperature_shape': 'exponential',
                'temperature_decay': 0.2,
            },
        },
        base='electra.py',
    )
