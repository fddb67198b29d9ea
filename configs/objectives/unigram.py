"""ELECTRA whose replacements follow the frequencies of tokens (section 3.2)."""

from electra_jax.config.recipe import recipe


def get_config():
    return recipe(
        {
            'model': {'generator': 'unigram', 'generator_width': None},
        },
        base='electra.py',
    )
