"""ELECTRA with DeBERTaV3's embeddings: no gradient of the discriminator reaches the generator's."""

from electra_jax.config.recipe import recipe


def get_config():
    return recipe({'model': {'embedding_sharing': 'disentangled'}}, base='electra.py')
