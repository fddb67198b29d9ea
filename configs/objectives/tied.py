"""ELECTRA whose generator is the discriminator's own encoder (section 3.2, "all weights tied")."""

from electra_jax.config.recipe import recipe


def get_config():
    return recipe(
        {
            'model': {'generator': 'tied', 'generator_width': None},
        },
        base='electra.py',
    )
