"""ELECTRA whose generator has embeddings of its own (section 3.2, "no weights tied")."""

from electra_jax.config.recipe import recipe


def get_config():
    return recipe(
        {
            'model': {'embedding_sharing': 'untied'},
        },
        base='electra.py',
    )
