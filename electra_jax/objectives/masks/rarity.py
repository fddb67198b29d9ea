"""Rare tokens more often: the weight of a token is (1 / its frequency) ** objective.mask_power.

The frequencies are those of the training text. With the power 0.5 these are the weights of XLM
(Lample and Conneau 2019, section 3.3).
"""

import jax
import jax.numpy as jnp

from electra_jax.config.settings import Config
from electra_jax.core.batch import Batch
from electra_jax.core.trees import Tree
from electra_jax.objectives.definition import Vocabulary
from electra_jax.objectives.masks.rule import MaskRule, by_weight

_POWER = 0.5


def rarity(config: Config, vocabulary: Vocabulary) -> MaskRule:
    """Draws in proportion to inverse frequencies."""
    assert vocabulary.log_unigram_V is not None
    power = config.objective.mask_power
    log_weights_V = -(_POWER if power is None else power) * vocabulary.log_unigram_V

    def scores(noise_BL: jax.Array, batch: Batch, memory: Tree) -> jax.Array:
        return by_weight(noise_BL, jnp.asarray(log_weights_V)[batch['tokens']])

    return MaskRule(scores)
