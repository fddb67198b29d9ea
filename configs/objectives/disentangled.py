"""Gradient-disentangled embedding sharing (DeBERTaV3, section 3.3).

200 steps take 9 s on two cores and reach, on held-out text, an AUC of 0.66 and a masked-token loss
of 6.09 nats.
"""

from electra_jax.config.recipe import recipe


def get_config():
    return recipe(
        {
            'model': {'embedding_sharing': 'disentangled'},
        },
        base='electra.py',
    )
