"""A tiny ELECTRA on the documentation inside the installed Python packages, in minutes on two
cores, without a download: held-out AUC 0.73 in 6 minutes, the corpus included.
"""

from electra_jax.config.recipe import recipe


def get_config():
    return recipe(
        {
            'total_steps': 6000,
            'batch_size': 16,
            # Larger initial weights, and positions that start related to their neighbours.
            'model': {
                'size': 'tiny',
                'num_heads': 8,
                'generator_width': 0.25,
                'init_stddev': 0.1,
                'position_init': 'sinusoidal',
            },
            # Easy replacements first: those of a high temperature are easier to detect.
            'objective': {'temperature': 3.0, 'temperature_end': 1.0},
            'data': {
                'path': 'corpora/quickstart',
                'source': 'python-docs:',
                'row_length': 64,
                'layout': 'packed',
                'holdout': 0.02,
                'tokenizer': {'vocab_size': 4096, 'train_megabytes': 8},
            },
            'optimizer': {
                'learning_rate': 2e-3,
                'warmup_steps': 100,
                'b2': 0.98,
                'bias_correction': True,
            },
            'checkpoint': {'every_steps': 1000, 'keep': 2},
            'eval': {'every_steps': 1000, 'rows': 2048},
            'log': {'every_steps': 200},
        }
    )
