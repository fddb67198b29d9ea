"""Texts about images, for a first try: on emoji and their names 5.4 nats a masked token, 6.7 with
wrong images (docs/results.md), in 15 minutes of one core that other programs used, too.

The index is of JSON lines, {"image": "a.png", "text": "..."}; docs/images.md has an example.
"""

from electra_jax.config.recipe import recipe


def get_config():
    return recipe(
        {
            'total_steps': 1500,
            'batch_size': 32,
            'model': {
                'size': 'tiny',
                'num_layers': 2,
                'hidden_size': 64,
                'embedding_size': 64,
                'image_size': 32,
                'image_patch': 8,
            },
            'objective': {'mask_rate': 0.3},
            'optimizer': {'learning_rate': 2e-3, 'warmup_steps': 100},
            'data': {'row_length': 12, 'tokenizer': {'vocab_size': 2000}},
            'eval': {'every_steps': 750},
            'checkpoint': {'every_steps': 750, 'keep': 1},
        }
    )
