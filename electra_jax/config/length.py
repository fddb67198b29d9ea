"""How long a run is: steps that follow from shares of it, and from a length that was measured."""

import dataclasses
import math
from collections.abc import Collection

from electra_jax.config.fields import Settings
from electra_jax.config.settings import Config
from electra_jax.core.errors import ConfigError

# Lengths from which the number of steps follows: one of them, or `total_steps`.
MEASURED = ('minutes', 'petaflop', 'words')
_MOST_WARMUP = 0.1  # of a run whose length was measured
EVALUATED = 'eval.every_steps'
LEAST_TIMES = 10  # such a run is saved and reported so often at least, and evaluated if it can be


def kept_words(text: str | None) -> list[float]:
    """`config.checkpoint.keep_at_words` as numbers, the smallest first.

    Raises:
        ConfigError: one of them is no number of words.

    >>> kept_words('2e6,1e6'), kept_words(None)
    ([1000000.0, 2000000.0], [])
    """
    found = []
    for part in text.split(',') if text else []:
        try:
            words = float(part)
        except ValueError:
            words = math.nan
        if not 1 <= words < math.inf:
            raise ConfigError(
                f'config.checkpoint.keep_at_words is {text!r}, in which {part!r} is no number of '
                'words, allowed: numbers from 1 on with commas, as in '
                '--config.checkpoint.keep_at_words=1e6,2e6,10e6'
            )
        found.append(words)
    return sorted(found)


def set_shares(settings: Settings) -> None:
    """Sets the steps that are given as a share of the run."""
    optimizer, objective, total = settings.optimizer, settings.objective, settings.total_steps
    if optimizer.warmup_share is not None:
        optimizer.warmup_steps = round(optimizer.warmup_share * total)
    if optimizer.decay_share is not None:
        optimizer.decay_steps = max(1, round(optimizer.decay_share * total))
    if objective.generator_share is not None:
        steps = round(objective.generator_share * total)
        objective.generator_steps = max(1, min(steps, total - 1))


def with_total_steps(
    config: Config, total: int, evaluations: int = LEAST_TIMES, typed: Collection[str] = ()
) -> Config:
    """The configuration for a run of a length that was measured, with so many evaluations.

    What is a share keeps its share, as the first of two stages does. A decay in steps keeps its
    length, and so does a warm-up in steps, because it is as long as Adam's moments need; but it is
    at most a tenth of the run. Lengths in steps whose names are among those that were `typed` on
    the command line stay as they are.
    """
    settings, first = config.optimizer, config.objective.generator_steps
    if settings.warmup_share is not None:
        warmup = round(settings.warmup_share * total)
    elif 'optimizer.warmup_steps' in typed:
        warmup = settings.warmup_steps
    else:
        warmup = min(settings.warmup_steps, math.ceil(_MOST_WARMUP * total))
    if first is not None:
        first = max(1, min(round(first / config.total_steps * total), total - 1))
    decay = settings.decay_steps
    if settings.decay_share is not None:
        decay = max(1, round(settings.decay_share * total))
    often = math.ceil(total / LEAST_TIMES)
    evaluated = math.ceil(total / evaluations)
    if EVALUATED in typed:
        evaluated = config.eval.every_steps
    saved, logged = (
        every if f'{name}.every_steps' in typed else min(every, often)
        for name, every in (
            ('checkpoint', config.checkpoint.every_steps),
            ('log', config.log.every_steps),
        )
    )
    return dataclasses.replace(
        config,
        total_steps=total,
        optimizer=dataclasses.replace(settings, warmup_steps=warmup, decay_steps=decay),
        objective=dataclasses.replace(config.objective, generator_steps=first),
        eval=dataclasses.replace(config.eval, every_steps=evaluated),
        checkpoint=dataclasses.replace(config.checkpoint, every_steps=saved),
        log=dataclasses.replace(config.log, every_steps=logged),
    )


def free_steps(config: Config) -> float:
    """How many of its first steps a run has in common with longer ones: infinity if all of them.

    0 where a schedule begins at once, and else those before the decay of the learning rate.
    """
    objective, optimizer = config.objective, config.optimizer
    falls = objective.mask_rate_end is not None or objective.temperature_end is not None
    if falls or objective.name == 'two_stage':
        return 0
    if optimizer.decay_power == 0:
        return math.inf
    decay = config.total_steps if optimizer.decay_steps is None else optimizer.decay_steps
    return max(config.total_steps - decay, 0)
