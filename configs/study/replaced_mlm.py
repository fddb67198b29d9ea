"""Replace MLM (section 3.4): masked tokens are predicted from a text with replacements."""

from electra_jax.config.recipe import recipe


def get_config():
    return recipe({'objective': {'name': 'replaced_mlm'}}, base='electra.py')
