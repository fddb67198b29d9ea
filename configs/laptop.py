"""A small ELECTRA for English text on one or two cores in about an hour, to fine-tune from."""

from electra_jax.flags import recipe


def get_config():
    return recipe(
        {
            'total_steps': 30_000,
            'batch_size': 16,
            'model': {
                'size': 'tiny',
                'num_layers': 4,
                'num_heads': 4,
                'generator_width': 0.25,
                'init_stddev': 0.1,
                'position_init': 'sinusoidal',
            },
            'objective': {'temperature': 3.0, 'temperature_end': 1.0},
            'data': {
                'path': 'corpora/laptop',
                'row_length': 128,
                'tokenizer': {'vocab_size': 8192},
            },
            'optimizer': {
                'learning_rate': 2e-3,
                'warmup_steps': 500,
                'b2': 0.98,
                'bias_correction': True,
            },
            'checkpoint': {'every_steps': 1000, 'keep': 2},
            'eval': {'every_steps': 1000, 'rows': 1024},
            'log': {'every_steps': 200},
        }
    )
