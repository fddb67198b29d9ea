"""The networks as pure functions of their parameters: the only door into the flax modules."""

from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp

from electra_jax.config.schema import ModelConfig
from electra_jax.model.electra import Electra

Params = dict[str, Any]  # nested dict of float32 arrays
Batch = Mapping[str, jax.Array]  # 'tokens', 'documents', 'positions', 'types': int32 [B, L]

NETWORKS = ('generator', 'discriminator')


def vocab_rows(model: ModelConfig, vocab_size: int) -> int:
    """V: the vocabulary padded to the model's multiple.

    >>> vocab_rows(ModelConfig(), 30522)
    30592
    """
    return -(-vocab_size // model.vocab_multiple) * model.vocab_multiple


def init(
    model: ModelConfig,
    vocab_size: int,
    key: jax.Array,
    networks: tuple[str, ...] = NETWORKS,
) -> Params:
    """Fresh float32 parameters of the shared embeddings and of the named networks.

    Args:
        model: resolved.
        vocab_size: tokens of the tokenizer, unpadded.
        key: the 'init' stream's key.
        networks: which of `NETWORKS` the objective trains.
    """
    module = _module(model, vocab_size)
    blank_BL = jnp.zeros((1, 2), jnp.int32)
    masked_BP = jnp.zeros((1, 1), jnp.int32)

    def touch(electra: Electra) -> None:
        if 'generator' in networks:
            electra.generate(blank_BL, blank_BL, blank_BL, blank_BL, masked_BP)
        if 'discriminator' in networks:
            electra.discriminate(blank_BL, blank_BL, blank_BL, blank_BL)

    return module.init({'params': key}, method=touch)['params']


def generate(
    model: ModelConfig,
    vocab_size: int,
    params: Params,
    batch: Batch,
    masked_BP: jax.Array,
    dropout_key: jax.Array | None,
) -> tuple[jax.Array, jax.Array, jax.Array]:
    """The generator's features [B, P, E], the word table [V, E] and output bias [V].

    `dropout_key` None means evaluation. See `Electra.generate`.
    """
    return _apply(model, vocab_size, params, batch, dropout_key, Electra.generate, masked_BP)


def encode(
    model: ModelConfig,
    vocab_size: int,
    params: Params,
    batch: Batch,
    dropout_key: jax.Array | None,
) -> jax.Array:
    """The discriminator's hidden states [B, L, D]; see `Electra.encode`."""
    return _apply(model, vocab_size, params, batch, dropout_key, Electra.encode)


def discriminate(
    model: ModelConfig,
    vocab_size: int,
    params: Params,
    batch: Batch,
    dropout_key: jax.Array | None,
) -> jax.Array:
    """The discriminator's logits [B, L], float32; see `Electra.discriminate`."""
    return _apply(model, vocab_size, params, batch, dropout_key, Electra.discriminate)


def _module(model: ModelConfig, vocab_size: int) -> Electra:
    return Electra(model, vocab_rows(model, vocab_size), jnp.dtype(model.compute_dtype))


def _apply(model, vocab_size, params, batch, dropout_key, method, *extra):
    inputs = (batch['tokens'], batch['documents'], batch['positions'], batch['types'], *extra)
    rngs = {} if dropout_key is None else {'dropout': dropout_key}
    return _module(model, vocab_size).apply({'params': params}, *inputs, rngs=rngs, method=method)
