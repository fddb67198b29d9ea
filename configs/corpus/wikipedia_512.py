"""English Wikipedia, prepared by tensorflow_datasets as ArrayRecord, in rows of 512 tokens."""

from electra_jax.config.recipe import recipe


def get_config():
    return recipe(
        {
            'data': {
                'path': 'corpora/wikipedia_512',
                'source': 'tfds:wikipedia/20230601.en:train',
                'row_length': 512,
            },
        }
    )
