"""How long a run is: steps that follow from shares of it, and from a length that was measured."""

import dataclasses
import math

from electra_jax.config.fields import Settings
from electra_jax.config.settings import Config

_MOST_WARMUP = 0.1  # of a run whose length was measured
LEAST_TIMES = 10  # such a run is saved and reported so often at least, and evaluated if it can be


def set_shares(settings: Settings) -> None:
    """Sets the steps that are given as a share of the run."""
    optimizer, objective, total = settings.optimizer, settings.objective, settings.total_steps
    if optimizer.warmup_share is not None:
        optimizer.warmup_steps = round(optimizer.warmup_share * total)
    if objective.generator_share is not None:
        steps = round(objective.generator_share * total)
        objective.generator_steps = max(1, min(steps, total - 1))


def with_total_steps(config: Config, total: int, evaluations: int = LEAST_TIMES) -> Config:
    """The configuration for a run of a length that was measured, with so many evaluations.

    The first of two stages keeps its share. A warm-up in steps keeps its length, because it is as
    long as Adam's moments need, but is at most a tenth of the run.
    """
    settings, first = config.optimizer, config.objective.generator_steps
    if settings.warmup_share is not None:
        warmup = round(settings.warmup_share * total)
    else:
        warmup = min(settings.warmup_steps, math.ceil(_MOST_WARMUP * total))
    if first is not None:
        first = max(1, min(round(first / config.total_steps * total), total - 1))
    often = math.ceil(total / LEAST_TIMES)
    return dataclasses.replace(
        config,
        total_steps=total,
        optimizer=dataclasses.replace(settings, warmup_steps=warmup),
        objective=dataclasses.replace(config.objective, generator_steps=first),
        eval=dataclasses.replace(config.eval, every_steps=math.ceil(total / evaluations)),
        checkpoint=dataclasses.replace(
            config.checkpoint, every_steps=min(config.checkpoint.every_steps, often)
        ),
        log=dataclasses.replace(config.log, every_steps=min(config.log.every_steps, often)),
    )


def can_be_longer(config: Config) -> bool:
    """Whether nothing in the first steps of a run depends on how many there are."""
    objective = config.objective
    is_constant = config.optimizer.decay_power == 0
    falls = objective.mask_rate_end is not None or objective.temperature_end is not None
    return is_constant and not falls and objective.name != 'two_stage'
