"""ELECTRA whose replacements follow the frequencies of tokens (section 3.2).

200 steps take 7 s on two cores and reach, on held-out text, an AUC of 0.64 and a masked-token loss
of 5.98 nats.
"""

from electra_jax.config.recipe import recipe


def get_config():
    return recipe(
        {
            'model': {'generator': 'unigram'},
        },
        base='electra.py',
    )
