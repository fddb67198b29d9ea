"""Every objective by name, bound to a run's config."""

import functools
from collections.abc import Callable, Mapping
from types import ModuleType
from typing import NamedTuple

import jax
import numpy as np

from electra_jax.config.schema import Config
from electra_jax.core.errors import unknown
from electra_jax.model import api
from electra_jax.objectives import electra, mlm
from electra_jax.objectives.inputs import Batch, Inputs, draw
from electra_jax.objectives.masked import Vocabulary

OBJECTIVES: dict[str, ModuleType] = {'electra': electra, 'mlm': mlm}


class Objective(NamedTuple):
    """All that the train and evaluation steps need to know of an objective; pure functions."""

    networks: tuple[str, ...]
    draw: Callable[[Batch, Mapping[str, jax.Array]], Inputs]  # batch, keys
    loss: Callable[..., tuple[jax.Array, dict]]  # params, inputs, dropout_key, step
    totals: Callable[..., dict[str, jax.Array]]  # params, inputs, log_unigram_V
    summary: Callable[[Mapping[str, np.ndarray]], dict[str, float]]
    example: Callable[..., tuple[jax.Array, jax.Array]]  # params, inputs


def build(config: Config, vocabulary: Vocabulary) -> Objective:
    """The config's objective.

    Raises:
        ConfigError: its name is unknown.
    """
    name = config.objective.name
    if name not in OBJECTIVES:
        raise unknown('config.objective.name', name, OBJECTIVES)
    module = OBJECTIVES[name]
    rows = api.vocab_rows(config.model, vocabulary.size)
    return Objective(
        networks=module.NETWORKS,
        draw=functools.partial(draw, config.objective, vocabulary.special, rows),
        loss=functools.partial(module.loss, config, vocabulary),
        totals=functools.partial(module.totals, config, vocabulary),
        summary=module.summary,
        example=functools.partial(module.example, config, vocabulary),
    )
