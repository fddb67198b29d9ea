"""DNA, proteins, SMILES: a token a symbol; made-up text reaches mlm 1.22 of 1.36 in 1,000 steps."""

from electra_jax.config.recipe import recipe


def get_config():
    return recipe(
        {
            'total_steps': 1000,
            'batch_size': 16,
            'model': {
                'size': 'tiny',
                'num_heads': 8,
                'generator_width': 0.25,
                'init_stddev': 0.1,
                'position_init': 'sinusoidal',
            },
            'data': {
                'path': 'corpora/sequences',
                'source': 'text:sequences.txt',
                'row_length': 128,
                'layout': 'packed',
                'holdout': 0.02,
                'tokenizer': {'kind': 'characters'},
            },
            'optimizer': {
                'learning_rate': 2e-3,
                'warmup_steps': 100,
                'b2': 0.98,
                'bias_correction': True,
            },
            'eval': {'every_steps': 500},
        }
    )
