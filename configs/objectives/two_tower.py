"""ELECTRA with a two-tower generator, which reads all of the text and learns from every token.

200 steps take 14 s on two cores and reach, on held-out text, an AUC of 0.64 and a masked-token
loss of 5.72 nats.
"""

from electra_jax.config.recipe import recipe


def get_config():
    return recipe(
        {
            'model': {'generator': 'two_tower'},
        },
        base='electra.py',
    )
