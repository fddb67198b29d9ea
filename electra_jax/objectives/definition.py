"""What an objective is: a record of pure functions, made by the factories of the other files."""

from collections.abc import Callable, Mapping
from typing import NamedTuple

import jax
import numpy as np

from electra_jax.config.settings import ModelConfig
from electra_jax.core.trees import Tree
from electra_jax.model.bind import Key, Params, vocab_rows
from electra_jax.objectives import inputs
from electra_jax.objectives.inputs import Draw, Inputs
from electra_jax.tokenizers.api import SpecialIds

Metrics = dict[str, jax.Array]
LossAndMetrics = tuple[jax.Array, Metrics]  # float32 scalars


Summary = Callable[[Mapping[str, np.ndarray]], dict[str, float]]


class Vocabulary(NamedTuple):
    """What an objective has to know of the tokenizer and the text."""

    size: int  # tokens, unpadded
    special: SpecialIds
    log_unigram_V: np.ndarray | None = None  # log p of single tokens in the training text, padded
    continues_V: np.ndarray | None = None  # bool, pieces inside a word, padded; None: not known


def without_text(vocabulary: Vocabulary, model: ModelConfig) -> Vocabulary:
    """A vocabulary of a step that is compiled or timed without a text.

    All tokens are as frequent, and every second one continues a word: what is computed is of the
    same size as with a text.
    """
    V = vocab_rows(model, vocabulary.size)
    frequencies_V = np.full(V, -np.log(vocabulary.size), np.float32)
    return vocabulary._replace(log_unigram_V=frequencies_V, continues_V=np.arange(V) % 2 > 0)


class Objective(NamedTuple):
    """What is optimized, as pure functions of parameters and inputs."""

    networks: tuple[str, ...]  # that are trained; keys of `model.bind.NETWORKS`
    draw: Draw  # batch, keys, step, memory -> inputs, with all randomness but dropout
    # params, inputs, dropout_key (None: no dropout), step -> the loss and metrics of a batch or
    # a microbatch: sums over rows of terms whose weights sum to one over the global batch, so that
    # the microbatches of a batch add up
    loss: Callable[[Params, Inputs, Key, jax.Array], LossAndMetrics]
    # params, inputs -> additive counts behind the evaluation metrics, without dropout
    totals: Callable[[Params, Inputs], Metrics]
    # totals added over batches -> evaluation metrics
    summary: Summary
    # params, inputs -> for people to look at: tokens [B, L], doubt of each [B, L]
    example: Callable[[Params, Inputs], tuple[jax.Array, jax.Array]]
    # evaluation metrics -> name of what is wrong with the networks, a sentence about it
    warning_signs: Callable[[Mapping[str, float]], dict[str, str]] = lambda evaluation: {}
    # metric of `loss` -> the step after which it is computed; until then it is 0 and means nothing
    metrics_after: Mapping[str, int] = {}
    # a line about another sum that `loss` is in later steps -> the step after which; it is printed
    other_losses: Mapping[str, int] = {}
    # params, step -> the parameters that the step starts from
    prepare: Callable[[Params, jax.Array], Params] = lambda params, step: params
    # what is kept from step to step, as it is at step 0, None: nothing; and from it and the metrics
    # of `loss`, which may be arrays that microbatches add up, that of the next step, and the
    # metrics that are reported, float32 scalars
    memory: Callable[[], Tree] = lambda: None
    remember: Callable[[Tree, Metrics], tuple[Tree, Metrics]] = lambda memory, metrics: (
        memory,
        metrics,
    )
    # part of a batch -> the same as a batch of its own
    alone: Callable[[Inputs], Inputs] = inputs.alone
