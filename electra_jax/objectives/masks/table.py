"""Every way to choose masked tokens by name. To add one: a file with its factory, and a row."""

from collections.abc import Callable
from typing import NamedTuple

from electra_jax.config.settings import Config
from electra_jax.core.errors import unknown
from electra_jax.objectives.definition import Vocabulary
from electra_jax.objectives.masks.rarity import rarity
from electra_jax.objectives.masks.rule import MaskRule
from electra_jax.objectives.masks.running_loss import running_loss
from electra_jax.objectives.masks.uniform import uniform
from electra_jax.objectives.masks.words import words


class MaskRow(NamedTuple):
    """What is known of a way before a run."""

    build: Callable[[Config, Vocabulary], MaskRule]
    # Whether it learns from what the generator predicts (`MaskRule.observe`): then the loss of the
    # objective must pass that on.
    observes: bool = False


MASKS: dict[str, MaskRow] = {
    'uniform': MaskRow(uniform),
    'rarity': MaskRow(rarity),
    'loss': MaskRow(running_loss, observes=True),
    'words': MaskRow(words),
}


def check(name: str) -> None:
    """Refuses a name that is not in the table by a ConfigError."""
    if name not in MASKS:
        raise unknown('config.objective.masks', name, MASKS)


def build(config: Config, vocabulary: Vocabulary) -> MaskRule:
    """The rule of a run, from `config.objective.masks`; ConfigError where there is none."""
    check(config.objective.masks)
    return MASKS[config.objective.masks].build(config, vocabulary)
