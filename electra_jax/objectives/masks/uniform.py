"""Every token with the same chance: BERT, ELECTRA."""

from electra_jax.config.settings import Config
from electra_jax.objectives.definition import Vocabulary
from electra_jax.objectives.masks.rule import MaskRule


def uniform(config: Config, vocabulary: Vocabulary) -> MaskRule:
    """The scores are the uniform numbers themselves."""
    return MaskRule(lambda noise_BL, batch, memory: noise_BL)
