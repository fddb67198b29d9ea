"""Replace MLM (ELECTRA section 3.4): BERT that reads a generator's samples instead of [MASK]."""

import pathlib

from electra_jax.config.recipe import recipe

BASE = pathlib.Path(__file__).parent / 'electra.py'


def get_config():
    return recipe(
        {
            'objective': {'name': 'replaced_mlm', 'discriminator_weight': 1.0},
        },
        BASE,
    )
