"""ELECTRA with RMS norms, gated feed-forward, norms of queries and keys, and no biases."""

from electra_jax.config.recipe import recipe


def get_config():
    return recipe(
        {
            'model': {
                'ffn_size': 336,  # three matrices with about the operations of two of 512
                'feed_forward': 'geglu',
                'norm_type': 'rms',
                'biases': False,
                'qk_norm': True,
                'fused_qkv': True,
            }
        },
        base='electra.py',
    )
