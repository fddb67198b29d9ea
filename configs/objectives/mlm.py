"""BERT's masked language modelling (no next sentences), one network of full size."""

from electra_jax.config.recipe import recipe


def get_config():
    return recipe(
        {
            'model': {'generator_width': None},
            'objective': {'name': 'mlm'},
        },
        base='electra.py',
    )
