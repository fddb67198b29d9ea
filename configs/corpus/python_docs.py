"""The English documentation inside Python and its installed packages, in rows of 128 tokens.

It needs no download. The packages that the quick start installs hold 17 MB.
"""

from electra_jax.config.recipe import recipe


def get_config():
    return recipe(
        {
            'data': {
                'path': 'corpora/python_docs',
                'source': 'python-docs:',
                'holdout': 0.02,
                'tokenizer': {'vocab_size': 8192},
            }
        }
    )
