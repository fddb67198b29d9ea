"""MLM: BERT without next sentences, one network of full size."""

from electra_jax.config.recipe import recipe


def get_config():
    return recipe({'objective': {'name': 'mlm'}}, base='electra.py')
