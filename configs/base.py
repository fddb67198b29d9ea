"""ELECTRA-base of the paper (Table 6): 110 M parameters in the discriminator, 766 k steps of
256 x 512 tokens, 100 B tokens. The paper reports a GLUE dev average of 85.1 after 4 days on 16
TPU v3 chips.
"""

from electra_jax.config.recipe import recipe


def get_config():
    return recipe(
        {
            'total_steps': 766_000,
            'batch_size': 256,
            'model': {'size': 'base'},
            'data': {
                'path': 'corpora/wikipedia_512',
                'source': 'tfds:wikipedia/20230601.en:train',
                'row_length': 512,
            },
            'optimizer': {'learning_rate': 2e-4},
        }
    )
