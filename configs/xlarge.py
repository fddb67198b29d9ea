"""An ELECTRA of about 1.4 B parameters in the discriminator, 500 k steps of 2,048 x 512 tokens. It
has not been trained yet: benchmarks/RESULTS.md has what it needs according to the TPU compiler;
learning rate and warm-up are a starting point. Parameters and optimizer state are spread over all
chips.
"""

from electra_jax.config.recipe import recipe


def get_config():
    return recipe(
        {
            'total_steps': 500_000,
            'batch_size': 2048,
            'model': {'size': 'xlarge'},
            'objective': {'mask_rate': 0.25},
            'data': {
                'path': 'corpora/wikipedia_512',
                'source': 'tfds:wikipedia/20230601.en:train',
                'row_length': 512,
            },
            'optimizer': {'learning_rate': 1e-4, 'b2': 0.98, 'bias_correction': True},
            'mesh': {'data': 1, 'fsdp': -1},
        }
    )
