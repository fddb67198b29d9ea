"""MLM whose masks are in proportion to its running loss: the control of masks_loss."""

from electra_jax.config.recipe import recipe


def get_config():
    return recipe({'objective': {'name': 'mlm', 'masks': 'loss'}}, base='electra.py')
