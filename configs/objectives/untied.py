"""ELECTRA whose generator has embeddings of its own (section 3.2, "no weights tied")."""

import pathlib

from electra_jax.config.recipe import recipe

BASE = pathlib.Path(__file__).parent / 'electra.py'


def get_config():
    return recipe(
        {
            'model': {'embedding_sharing': 'untied'},
        },
        BASE,
    )
