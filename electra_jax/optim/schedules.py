"""Numbers that change over a run, as functions of the step."""

import dataclasses
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from electra_jax.config.resolve import first_stage, has_two_stages
from electra_jax.config.settings import Config

Schedule = Callable[[jax.Array | int], jax.Array]  # int32 step -> float32 value


class Lengths(NamedTuple):
    """What follows from the length of a run and is part of a step: numbers, which may be traced."""

    total_steps: Any
    warmup_steps: Any
    decay_steps: Any
    first_stage: Any  # `resolve.first_stage`


def lengths(config: Config) -> Lengths:
    """Those of a configuration."""
    optimizer = config.optimizer
    decay = config.total_steps if optimizer.decay_steps is None else optimizer.decay_steps
    return Lengths(config.total_steps, optimizer.warmup_steps, decay, first_stage(config))


def with_lengths(config: Config, given: Lengths) -> Config:
    """The configuration of a step that is handed its lengths, and so need not know them."""
    return dataclasses.replace(
        config,
        total_steps=given.total_steps,
        optimizer=dataclasses.replace(
            config.optimizer, warmup_steps=given.warmup_steps, decay_steps=given.decay_steps
        ),
        objective=dataclasses.replace(config.objective, generator_steps=given.first_stage),
    )


def warmup_decay(
    peak: float, warmup_steps: int, total_steps: int, power: float, decay_steps: int | None = None
) -> Schedule:
    """The reference's learning rate: warm-up times polynomial decay, so step 0 has rate 0.

    rate(t) = peak * (1 - t / T) ** power * min(1, t / W), which with power 1 never quite reaches
    `peak` (electra, optimization.py). The decay may be that of the last steps alone.

    >>> rate = warmup_decay(1.0, 10, 100, 1.0)
    >>> [round(float(rate(t)), 3) for t in (0, 5, 10, 100)]
    [0.0, 0.475, 0.9, 0.0]
    >>> rate = warmup_decay(1.0, 10, 100, 1.0, decay_steps=20)
    >>> [round(float(rate(t)), 3) for t in (0, 5, 10, 80, 90, 100)]
    [0.0, 0.5, 1.0, 1.0, 0.5, 0.0]
    """
    last = total_steps if decay_steps is None else jnp.minimum(decay_steps, total_steps)
    first = total_steps - last  # of the decay

    def rate(step: jax.Array | int) -> jax.Array:
        step = jnp.asarray(step, jnp.float32)
        decay = jnp.maximum(1.0 - jnp.maximum(step - first, 0.0) / last, 0.0) ** power
        warm = jnp.where(step < warmup_steps, step / jnp.maximum(warmup_steps, 1), 1.0)
        return peak * decay * warm

    return rate


def from_config(config: Config, peak: float) -> Schedule:
    """The run's learning rate, which starts again in a second stage."""
    settings, first = config.optimizer, first_stage(config)

    def one(steps: int) -> Schedule:
        return warmup_decay(
            peak, settings.warmup_steps, steps, settings.decay_power, settings.decay_steps
        )

    if not has_two_stages(config):
        return one(config.total_steps)
    early, late = one(first), one(config.total_steps - first)
    return lambda step: jnp.where(step < first, early(step), late(step - first))


def linear(start: float, end: float, steps: float) -> Schedule:
    """From `start` to `end` in a straight line over `steps`, then constant.

    >>> [float(linear(3.0, 1.0, 4)(t)) for t in (0, 2, 4, 9)]
    [3.0, 2.0, 1.0, 1.0]
    """

    def value(step: jax.Array | int) -> jax.Array:
        share = jnp.minimum(jnp.asarray(step, jnp.float32) / steps, 1.0)
        return start + (end - start) * share

    return value


def exponential(start: float, end: float, steps: float) -> Schedule:
    """From `start` towards `end`: what is left of the way shrinks e-fold in every `steps`.

    >>> [round(float(exponential(3.0, 1.0, 4)(t)), 3) for t in (0, 4, 400)]
    [3.0, 1.736, 1.0]
    """

    def value(step: jax.Array | int) -> jax.Array:
        left = jnp.exp(-jnp.asarray(step, jnp.float32) / steps)
        return end + (start - end) * left

    return value


RAMPS: dict[str, Callable[[float, float, float], Schedule]] = {
    'linear': linear,
    'exponential': exponential,
}
