"""ELECTRA with learned positions, and layers that all see the whole document, as BERT's."""

from electra_jax.config.recipe import recipe


def get_config():
    return recipe(
        {
            'model': {
                'positions': 'learned',
                'position_init': 'sinusoidal',
                'local_window': None,
            }
        },
        base='electra.py',
    )
