"""Which network a parameter belongs to, by its path."""

from electra_jax.core.trees import Tree, match_rules

# Whose the embedding block `embeddings` is: both networks' unless they have tables of their own.
_EMBEDDINGS = {'shared': 'shared', 'untied': 'discriminator', 'disentangled': 'generator'}


def network_table(params: Tree, embedding_sharing: str) -> Tree:
    """'generator', 'discriminator' or 'shared' for every parameter (or its shape).

    Raises:
        ConfigError: a parameter that no rule covers.
    """
    rules = (
        (r'generator(_\w+)?/.*', 'generator'),
        (r'embeddings/.*', _EMBEDDINGS[embedding_sharing]),
        (r'embedding_delta/.*', 'discriminator'),
        (r'(discriminator|discriminator_head|detector)/.*', 'discriminator'),
        (r'(language_head|copy_gate|selection_head|task_head)/.*', 'discriminator'),
    )
    return match_rules(rules, params, 'network')
