"""The English documentation inside Python and its installed packages; needs no download."""

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
