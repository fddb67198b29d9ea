"""Whole words: all pieces of a word are masked, or none is.

The number of masked pieces is that of the other ways, so the last word that is drawn may lack its
last pieces (the whole-word masks of BERT stop before it instead).
"""

import jax
import jax.numpy as jnp

from electra_jax.config.settings import Config
from electra_jax.core.batch import Batch
from electra_jax.core.errors import ConfigError
from electra_jax.core.trees import Tree
from electra_jax.objectives.definition import Vocabulary
from electra_jax.objectives.masks.rule import MaskRule


def words(config: Config, vocabulary: Vocabulary) -> MaskRule:
    """The pieces of a word share the score of its first one.

    Raises:
        ConfigError: the tokenizer does not know which pieces continue a word.
    """
    continues_V = vocabulary.continues_V
    if continues_V is None or not continues_V.any():
        raise ConfigError(
            "config.objective.masks is 'words', but no piece of this text's tokenizer continues a "
            'word, so words and tokens are the same: choose uniform, rarity or loss'
        )

    def scores(noise_BL: jax.Array, batch: Batch, memory: Tree) -> jax.Array:
        tokens_BL = batch['tokens']
        # A piece that begins a text or follows a special token begins what is left of a word.
        begins_BL = ~jnp.asarray(continues_V)[tokens_BL]
        own_L = jnp.arange(tokens_BL.shape[1])
        first_BL = jax.lax.cummax(jnp.where(begins_BL, own_L, 0), axis=1)
        return jnp.take_along_axis(noise_BL, first_BL, axis=1)

    return MaskRule(scores)
