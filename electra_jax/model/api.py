"""The networks as pure functions of their parameters: the only door into the flax modules."""

import functools
from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp

from electra_jax.config.schema import ModelConfig
from electra_jax.model.electra import Electra

Params = dict[str, Any]  # nested dict of float32 arrays
Batch = Mapping[str, jax.Array]  # 'tokens', 'documents', 'positions', 'types': int32 [B, L]


def vocab_rows(model: ModelConfig, vocab_size: int) -> int:
    """V: the vocabulary padded to the model's multiple.

    >>> vocab_rows(ModelConfig(), 30522)
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
    module = _module(model, vocab_size)
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


def _module(model: ModelConfig, vocab_size: int) -> Electra:
    rows = vocab_rows(model, vocab_size)
    return Electra(model, vocab_size, rows, jnp.dtype(model.compute_dtype))


def _bind(model, vocab_size, params, batch, dropout_key) -> Callable:
    """The module with everything given but the method and what is special to it."""
    text = (batch['tokens'], batch['documents'], batch['positions'], batch['types'])
    rngs = {} if dropout_key is None else {'dropout': dropout_key}
    apply = functools.partial(_module(model, vocab_size).apply, {'params': params}, *text)
    return lambda method, **special: apply(rngs=rngs, method=method, **special)
