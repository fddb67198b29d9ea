"""ELECTRA with a sampling temperature that falls exponentially from 2 to 1.

200 steps take 10 s on two cores and reach, on held-out text, an AUC of 0.66 and a masked-token
loss of 6.07 nats.
"""

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
