"""ELECTRA-small as google-research/electra trains it, exactly: configs/small.py with every
quirk of that code switched on. On a TPU of n cores it also clipped the gradient of each core:
--config.optimizer.clip_replicas=n.
"""

from electra_jax.config.recipe import recipe


def get_config():
    return recipe(
        {
            'objective': {
                'sampler': 'gumbel',
                'positions': 'reference',
                'keep_rate': 0.15,
                'mask_rate': 0.15,
            },
            'optimizer': {'layer_decay_off_by_one': True},
        },
        base='small.py',
    )
