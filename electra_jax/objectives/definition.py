"""What an objective is: functions of a config, bound to a run by `table.build`."""

from collections.abc import Callable, Mapping
from typing import NamedTuple

import jax
import numpy as np

from electra_jax.config.settings import Config, ModelConfig
from electra_jax.model import bind
from electra_jax.objectives.inputs import Batch, Inputs
from electra_jax.tokenizers.api import SpecialIds


class Vocabulary(NamedTuple):
    """What an objective has to know of the tokenizer and the text."""

    size: int  # tokens, unpadded
    special: SpecialIds
    log_unigram_V: np.ndarray | None = None  # log p of single tokens in the training text, padded


def keep_params(config: Config, params: bind.Params, step: jax.Array) -> bind.Params:
    """What most objectives do to the parameters before a step: nothing."""
    del config, step
    return params


def no_signs(evaluation: Mapping[str, float]) -> dict[str, str]:
    """What an objective says whose networks cannot give up in a way that it knows."""
    del evaluation
    return {}


class Definition(NamedTuple):
    """An entry of the table of objectives; pure functions."""

    parts: Callable[[ModelConfig], tuple[str, ...]]  # keys of model.api.PARTS that are trained
    # config, vocabulary, params, inputs, dropout_key, step -> the loss, and metrics
    loss: Callable[..., tuple[jax.Array, dict[str, jax.Array]]]
    # config, vocabulary, params, inputs -> additive counts behind the evaluation metrics
    totals: Callable[..., dict[str, jax.Array]]
    summary: Callable[[Mapping[str, np.ndarray]], dict[str, float]]  # added totals -> metrics
    # config, vocabulary, params, inputs -> for people: tokens [B, L], doubt of each [B, L]
    example: Callable[..., tuple[jax.Array, jax.Array]]
    prepare: Callable[[Config, bind.Params, jax.Array], bind.Params] = keep_params
    # evaluation metrics -> name of what is wrong with the networks, and a sentence about it
    signs: Callable[[Mapping[str, float]], dict[str, str]] = no_signs


class Objective(NamedTuple):
    """A definition bound to a config and a vocabulary; what the steps need to know."""

    parts: tuple[str, ...]
    draw: Callable[[Batch, Mapping[str, jax.Array], jax.Array], Inputs]  # batch, keys, step
    alone: Callable[[Inputs], Inputs]  # part of a batch as a batch of its own
    loss: Callable[..., tuple[jax.Array, dict]]  # params, inputs, dropout_key, step
    totals: Callable[..., dict[str, jax.Array]]  # params, inputs
    summary: Callable[[Mapping[str, np.ndarray]], dict[str, float]]
    example: Callable[..., tuple[jax.Array, jax.Array]]  # params, inputs
    prepare: Callable[[bind.Params, jax.Array], bind.Params]  # params, step
    signs: Callable[[Mapping[str, float]], dict[str, str]]
