"""An ELECTRA of about 5 B parameters in the discriminator, the size of METRO-LM's largest; 500 k
steps of 2,048 x 512 tokens on 512 TPU v5p chips. It has not been trained yet:
benchmarks/RESULTS.md has what it needs according to the TPU compiler; learning rate and warm-up
are a starting point. Heads, feed-forward and vocabulary are spread over 4 chips, everything over
all of them.
"""

from electra_jax.config.recipe import recipe


def get_config():
    return recipe(
        {
            'total_steps': 500_000,
            'batch_size': 2048,
            # 240 blocks of the vocabulary, which 2, 4 or 8 chips can share.
            'model': {'size': 'xxlarge', 'vocab_multiple': 1024},
            'objective': {'mask_rate': 0.25},
            'data': {
                'path': 'corpora/wikipedia_512',
                'source': 'tfds:wikipedia/20230601.en:train',
                'row_length': 512,
            },
            'optimizer': {
                'learning_rate': 5e-5,
                'warmup_steps': 20_000,
                'b2': 0.98,
                'bias_correction': True,
            },
            'mesh': {'data': 1, 'fsdp': -1, 'tensor': 4},
        }
    )
