"""A frozen generator (Fast-ELECTRA): trained before (launch/objectives.sh does it with
untied.py), and then kept as it is while its samples cool.
"""

from electra_jax.config.recipe import recipe


def get_config():
    return recipe(
        {
            'init_from': 'runs/sweeps/objectives/untied',
            'init_network': 'generator',
            'model': {'embedding_sharing': 'untied'},
            'objective': {
                'freeze_generator': True,
                'temperature': 2.0,
                'temperature_end': 1.0,
                'temperature_shape': 'exponential',
                'temperature_decay': 0.2,
            },
        },
        base='electra.py',
    )
