"""ELECTRA, tiny: the arm of the study that all others differ from in one thing (docs/study.md).

Every arm has the operations of `petaflop` on the same text; its own number of steps follows.
"""

from electra_jax.config.recipe import recipe


def get_config():
    return recipe(
        {
            'petaflop': 0.42,  # 40 M tokens of the arm whose steps cost most
            'batch_size': 16,
            # The block of configs/laptop.py: one layer sees the document, the other three tokens on
            # each side.
            'model': {
                'size': 'tiny',
                'num_layers': 2,
                'num_heads': 8,
                'init_stddev': 0.1,
                'positions': 'rotary',
                'skip_first_norm': True,
                'type_vocab_size': 0,
                'discriminator_head_norm': True,
                'local_window': 3,
                'global_every': 2,
            },
            'data': {
                'path': 'corpora/study',
                'row_length': 64,
                'layout': 'packed',
                'holdout': 0.02,
                'tokenizer': {'vocab_size': 8192},
            },
            'optimizer': {
                'learning_rate': 2e-3,
                'warmup_steps': 200,
                'b2': 0.98,
                'bias_correction': True,
            },
            'checkpoint': {'every_steps': 1000, 'keep': 5},
            'eval': {'rows': 1024},
            'log': {'every_steps': 200},
        }
    )
