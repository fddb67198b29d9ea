"""ELECTRA with BERT's block: learned positions, and layers that all see the whole document."""

from electra_jax.config.recipe import recipe


def get_config():
    return recipe(
        {
            'model': {
                'positions': 'learned',
                'position_init': 'sinusoidal',
                'skip_first_norm': False,
                'type_vocab_size': 2,
                'discriminator_head_norm': False,
                'local_window': None,
            }
        },
        base='electra.py',
    )
