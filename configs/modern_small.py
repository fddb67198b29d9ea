"""A small ELECTRA with layers of today: rotary positions, gated feed-forward, local attention in
two layers of three, no biases, no dropout, whole rows of text. As many tokens as the paper's small
(configs/small.py): 1 M steps of 32 x 512. Rows of 512 hold four times the context at little more
work, because a local layer compares a token with 129 positions, however long the row. Its speed is
in benchmarks/RESULTS.md; no whole run has been made yet.
"""

from electra_jax.config.recipe import recipe


def get_config():
    return recipe(
        {
            'batch_size': 32,
            'model': {
                'size': 'small',
                'ffn_size': 640,  # three matrices instead of two: 2/3 of 1024, in whole tiles
                'feed_forward': 'geglu',
                'norm': 'pre',
                'norm_type': 'rms',
                'biases': False,
                'positions': 'rotary',
                'qk_norm': True,
                'fused_qkv': True,
                'local_window': 64,
                'global_every': 3,
                'dropout': 0.0,
                'attention_dropout': 0.0,
                'max_positions': 8192,
            },
            'data': {
                'path': 'corpora/wikipedia_512_packed',
                'source': 'tfds:wikipedia/20230601.en:train',
                'row_length': 512,
                'layout': 'packed',
            },
        }
    )
