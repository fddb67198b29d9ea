"""All-tokens MLM (section 3.4): every token is predicted, through a gate that copies."""

from electra_jax.config.recipe import recipe


def get_config():
    return recipe({'objective': {'name': 'all_tokens_mlm'}}, base='electra.py')
