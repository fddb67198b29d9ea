"""ELECTRA-small of the paper (Table 6): 14 M parameters, 1 M steps of 128 x 128 tokens, 16.4 B
tokens. Its model, batch and steps are also the defaults of every recipe. On Wikipedia and
BooksCorpus the paper reports a GLUE dev average of 79.9 after 4 days on one V100.
"""

from electra_jax.config.recipe import recipe


def get_config():
    return recipe(
        {
            'model': {'size': 'small'},
            'data': {
                'path': 'corpora/wikipedia_128',
                'source': 'tfds:wikipedia/20230601.en:train',
            },
        }
    )
