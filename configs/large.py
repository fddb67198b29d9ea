"""ELECTRA-large of the paper (Table 6, ELECTRA-400K): 400 k
steps of 2,048 x 512 tokens, 419 B tokens. The paper reports a GLUE dev average of 89.0.
"""

from electra_jax.config.recipe import recipe


def get_config():
    return recipe(
        {
            'total_steps': 400_000,
            'batch_size': 2048,
            'model': {'size': 'large'},
            'objective': {'mask_rate': 0.25},
            'data': {
                'path': 'corpora/wikipedia_512',
                'source': 'tfds:wikipedia/20230601.en:train',
                'row_length': 512,
            },
            'optimizer': {'learning_rate': 2e-4},
        }
    )
