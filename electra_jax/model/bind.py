"""The networks as pure functions of their parameters: the only door into the flax modules."""

import dataclasses
import functools
from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp

from electra_jax.config.settings import ModelConfig
from electra_jax.model.electra import Electra
from electra_jax.model.task_heads import HEADS, HeadShape, TaskHead

Params = dict[str, Any]  # nested dict of float32 arrays
Batch = Mapping[str, jax.Array]  # 'tokens', 'documents', 'positions', 'types': int32 [B, L]


def vocab_rows(model: ModelConfig, vocab_size: int) -> int:
    """V: the vocabulary padded to the model's multiple.

    >>> from electra_jax.config.resolve import model_of
    >>> vocab_rows(model_of({}), 30522)
    30592
    """
    return -(-vocab_size // model.vocab_multiple) * model.vocab_multiple


def init(model: ModelConfig, vocab_size: int, key: jax.Array, parts: tuple[str, ...]) -> Params:
    """Fresh float32 parameters of what an objective trains.

    Args:
        model: resolved.
        vocab_size: tokens of the tokenizer, unpadded.
        key: the 'init' stream's key.
        parts: keys of `PARTS`.
    """
    module = _module(_without_kernels(model), vocab_size)
    blank_BL = jnp.zeros((1, 2), jnp.int32)

    def touch(electra: Electra) -> None:
        for part in parts:
            PARTS[part](electra, (blank_BL,) * 4, blank_BL[:, :1])

    return module.init({'params': key}, method=touch)['params']


# What runs each network with its head once, so that flax makes its parameters.
PARTS: dict[str, Callable[[Electra, tuple[jax.Array, ...], jax.Array], Any]] = {
    'generator': lambda electra, text, masked_BP: electra.generate(*text, masked_BP=masked_BP),
    'discriminator': lambda electra, text, masked_BP: electra.discriminate(*text),
    'language': lambda electra, text, masked_BP: electra.restore(
        *text, masked_BP=masked_BP, gated=False
    ),
    'gated_language': lambda electra, text, masked_BP: electra.restore(
        *text, masked_BP=None, gated=True
    ),
    'selection': lambda electra, text, masked_BP: electra.detect_and_select(
        *text, masked_BP=masked_BP, candidates_BPC=masked_BP[..., None]
    ),
}


def generate(
    model: ModelConfig,
    vocab_size: int,
    params: Params,
    batch: Batch,
    masked_BP: jax.Array | None,
    dropout_key: jax.Array | None,
) -> tuple[jax.Array, jax.Array, jax.Array]:
    """The generator's features [B, P, E], the word table [V, E] and output bias [V].

    `dropout_key` None means evaluation, in all of these. See `Electra.generate`.
    """
    apply = _bind(model, vocab_size, params, batch, dropout_key)
    return apply(Electra.generate, masked_BP=masked_BP)


def encode(
    model: ModelConfig,
    vocab_size: int,
    params: Params,
    batch: Batch,
    dropout_key: jax.Array | None,
) -> jax.Array:
    """The discriminator's hidden states [B, L, D]; see `Electra.encode`."""
    return _bind(model, vocab_size, params, batch, dropout_key)(Electra.encode)


def discriminate(
    model: ModelConfig,
    vocab_size: int,
    params: Params,
    batch: Batch,
    dropout_key: jax.Array | None,
) -> jax.Array:
    """The discriminator's logits [B, L], float32; see `Electra.discriminate`."""
    return _bind(model, vocab_size, params, batch, dropout_key)(Electra.discriminate)


def restore(
    model: ModelConfig,
    vocab_size: int,
    params: Params,
    batch: Batch,
    masked_BP: jax.Array | None,
    gated: bool,
    dropout_key: jax.Array | None,
) -> tuple[jax.Array, jax.Array, jax.Array, jax.Array | None]:
    """The discriminator naming the original tokens; see `Electra.restore`."""
    apply = _bind(model, vocab_size, params, batch, dropout_key)
    return apply(Electra.restore, masked_BP=masked_BP, gated=gated)


def detect_and_select(
    model: ModelConfig,
    vocab_size: int,
    params: Params,
    batch: Batch,
    masked_BP: jax.Array,
    candidates_BPC: jax.Array,
    dropout_key: jax.Array | None,
) -> tuple[jax.Array, jax.Array]:
    """Logits [B, L] and [B, P, C], float32; see `Electra.detect_and_select`."""
    apply = _bind(model, vocab_size, params, batch, dropout_key)
    return apply(Electra.detect_and_select, masked_BP=masked_BP, candidates_BPC=candidates_BPC)


def init_encoder(model: ModelConfig, vocab_size: int, key: jax.Array) -> Params:
    """Fresh float32 parameters of what `encode` runs: the discriminator without its head."""
    blank_BL = jnp.zeros((1, 2), jnp.int32)
    module = _module(_without_kernels(model), vocab_size)
    return module.init({'params': key}, *(blank_BL,) * 4, method=Electra.encode)['params']


def init_head(model: ModelConfig, head: HeadShape, key: jax.Array) -> Params:
    """Fresh float32 parameters of a task's head, to stand beside a model's under 'task_head'."""
    blank_BLD = jnp.zeros((1, 2, model.hidden_size))
    blank_BL = jnp.zeros((1, 2), jnp.int32)
    batch = {'allowed': jnp.ones((1, 2)), 'start': blank_BL[:, 0]}
    batch |= {'documents': blank_BL, 'types': blank_BL}
    return _head(model, head).init({'params': key}, blank_BLD, batch)['params']


def task_outputs(
    model: ModelConfig,
    vocab_size: int,
    head: HeadShape,
    params: Params,
    batch: Batch,
    dropout_key: jax.Array | None,
) -> dict[str, jax.Array]:
    """The head's outputs on the discriminator's hidden states, as its loss needs them.

    Args:
        model: resolved.
        vocab_size: tokens of the tokenizer, unpadded.
        head: kind, style and sizes of the head.
        params: of the model, with the head's under 'task_head'.
        batch: the arrays of `Batch`; for spans also 'allowed' [B, L], and 'start' [B] for the
            reference's head.
        dropout_key: None switches dropout off.

    Returns:
        Float32 arrays by name; see the heads in `model/task_heads.py`.
    """
    keys = (None, None) if dropout_key is None else jax.random.split(dropout_key)
    hidden_BLD = encode(model, vocab_size, params, batch, keys[0])
    rngs = {} if keys[1] is None else {'dropout': keys[1]}
    return _head(model, head).apply({'params': params['task_head']}, hidden_BLD, batch, rngs=rngs)


def task_answers(
    model: ModelConfig, vocab_size: int, head: HeadShape, params: Params, batch: Batch
) -> dict[str, jax.Array]:
    """The head's outputs for prediction, without dropout: `task_outputs`, or its search."""
    module = _head(model, head)
    hidden_BLD = encode(model, vocab_size, params, batch, None)
    return module.apply({'params': params['task_head']}, hidden_BLD, batch, method=module.search)


def _head(model: ModelConfig, head: HeadShape) -> TaskHead:
    return HEADS[head.form, head.style](model, head)


def _without_kernels(model: ModelConfig) -> ModelConfig:
    # Parameters do not depend on how attention is computed: none need be compiled to make them.
    return dataclasses.replace(model, attention='xla')


def _module(model: ModelConfig, vocab_size: int) -> Electra:
    rows = vocab_rows(model, vocab_size)
    return Electra(model, vocab_size, rows, jnp.dtype(model.compute_dtype))


def _bind(model, vocab_size, params, batch, dropout_key) -> Callable:
    """The module with everything given but the method and what is special to it."""
    text = (batch['tokens'], batch['documents'], batch['positions'], batch['types'])
    rngs = {} if dropout_key is None else {'dropout': dropout_key}
    apply = functools.partial(_module(model, vocab_size).apply, {'params': params}, *text)
    return lambda method, **special: apply(rngs=rngs, method=method, **special)
