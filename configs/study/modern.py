"""ELECTRA with a modern block: rotary positions, RMS norms, gated feed-forward, local attention."""

from electra_jax.config.recipe import recipe


def get_config():
    return recipe(
        {
            'model': {
                'num_layers': 4,
                'ffn_size': 256,
                'feed_forward': 'geglu',
                'norm_type': 'rms',
                'biases': False,
                'positions': 'rotary',
                'position_init': 'normal',
                'qk_norm': True,
                'fused_qkv': True,
                'local_window': 3,
                'global_every': 2,
            }
        },
        base='electra.py',
    )
