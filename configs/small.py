"""ELECTRA-small of the paper (Table 6): 14 M parameters, 1 M steps of 128 x 128 tokens, 16.4 B
tokens. On OpenWebText the paper reports a GLUE dev average of 79.9 after 4 days on one V100.
"""

from electra_jax.flags import recipe


def get_config():
    return recipe(
        {
            'total_steps': 1_000_000,
            'batch_size': 128,
            'model': {'size': 'small'},
            'objective': {'mask_rate': 0.15},
            'data': {
                'path': 'corpora/wikipedia_128',
                'source': 'tfds:wikipedia/20230601.en:train',
                'row_length': 128,
            },
            'optimizer': {'learning_rate': 5e-4, 'warmup_steps': 10_000},
        }
    )
