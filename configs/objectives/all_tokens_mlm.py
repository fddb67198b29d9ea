"""All-Tokens MLM (ELECTRA section 3.4): name every original token, with a gate that copies."""

from electra_jax.config.recipe import recipe


def get_config():
    return recipe(
        {
            'objective': {'name': 'all_tokens_mlm', 'discriminator_weight': 1.0},
        },
        base='electra.py',
    )
