"""A tiny ELECTRA on the documentation inside the installed Python packages, in minutes on two
cores, without a download. What it reached is in README.md.
"""

from electra_jax.flags import recipe


def get_config():
    return recipe(
        {
            'total_steps': 2000,
            'batch_size': 64,
            'model': {'size': 'tiny'},
            # Easy replacements first: a hot generator's samples are easier to tell from text.
            'objective': {'temperature': 3.0, 'temperature_end': 1.0},
            'data': {
                'path': 'corpora/quickstart',
                'source': 'python-docs:',
                'row_length': 64,
                'layout': 'packed',
                'holdout': 0.02,
                'tokenizer': {'vocab_size': 4096},
            },
            'optimizer': {'learning_rate': 3e-3, 'warmup_steps': 200},
            'checkpoint': {'every_steps': 500, 'keep': 2},
            'eval': {'every_steps': 500, 'rows': 2048},
        }
    )
