"""The networks as pure functions of their parameters; nothing else runs the flax modules."""

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from electra_jax.config.settings import ModelConfig
from electra_jax.model.electra import Electra
from electra_jax.model.task_heads import HEADS, HeadShape

Params = dict[str, Any]  # nested dict of float32 arrays
Batch = Mapping[str, jax.Array]  # 'tokens', 'documents', 'positions', 'types': int32 [B, L]
Key = jax.Array | None  # of dropout; None switches dropout off


class Head(NamedTuple):
    """A task's head on the discriminator's hidden states; its parameters are 'task_head'.

    Attributes:
        init: key -> fresh float32 parameters of the head alone.
        outputs: params, batch, dropout_key -> what the head's loss needs, float32 arrays by name
            (`model/task_heads.py`). A batch for spans also has 'allowed' [B, L], and 'start' [B]
            for the reference's head.
        answers: params, batch -> the outputs for prediction, without dropout.
    """

    init: Callable[[jax.Array], Params]
    outputs: Callable[[Params, Batch, Key], dict[str, jax.Array]]
    answers: Callable[[Params, Batch], dict[str, jax.Array]]


class Model(NamedTuple):
    """The networks of a configuration; the methods of `Electra` describe the results.

    Attributes:
        vocab_rows: V, the vocabulary padded to the model's multiple.
        init: key, networks (keys of `NETWORKS`) -> fresh float32 parameters of them.
        init_encoder: key -> fresh parameters of what `encode` runs: the discriminator without head.
        generate: params, batch, masked_BP, dropout_key -> features [B, P, E], word table [V, E],
            output bias [V] of the generator. `masked_BP` None means every position.
        encode: params, batch, dropout_key -> the discriminator's hidden states [B, L, D].
        discriminate: params, batch, dropout_key -> the discriminator's logits [B, L], float32.
        restore: params, batch, masked_BP, gated, dropout_key -> as `generate`, and the copy gate's
            logits [B, L], of the discriminator's encoder.
        detect_and_select: params, batch, masked_BP, candidates_BPA, dropout_key -> logits [B, L]
            and [B, P, A], float32.
        head: shape -> a task's head.
    """

    vocab_rows: int
    init: Callable[[jax.Array, Sequence[str]], Params]
    init_encoder: Callable[[jax.Array], Params]
    generate: Callable[
        [Params, Batch, jax.Array | None, Key], tuple[jax.Array, jax.Array, jax.Array]
    ]
    encode: Callable[[Params, Batch, Key], jax.Array]
    discriminate: Callable[[Params, Batch, Key], jax.Array]
    restore: Callable[
        [Params, Batch, jax.Array | None, bool, Key],
        tuple[jax.Array, jax.Array, jax.Array, jax.Array | None],
    ]
    detect_and_select: Callable[
        [Params, Batch, jax.Array, jax.Array, Key], tuple[jax.Array, jax.Array]
    ]
    head: Callable[[HeadShape], Head]


# Networks with their heads -> what runs each once, so that flax makes its parameters.
NETWORKS: dict[str, Callable[[Electra, Batch, jax.Array], Any]] = {
    'generator': lambda electra, batch, masked_BP: electra.generate(batch, masked_BP),
    'discriminator': lambda electra, batch, masked_BP: electra.discriminate(batch),
    'language': lambda electra, batch, masked_BP: electra.restore(batch, masked_BP, gated=False),
    'gated_language': lambda electra, batch, masked_BP: electra.restore(batch, None, gated=True),
    'selection': lambda electra, batch, masked_BP: electra.detect_and_select(
        batch, masked_BP, masked_BP[..., None]
    ),
}


def vocab_rows(model: ModelConfig, vocab_size: int) -> int:
    """V: the vocabulary padded to the model's multiple.

    >>> from electra_jax.config.resolve import model_of
    >>> vocab_rows(model_of({}), 30522)
    30592
    """
    return -(-vocab_size // model.vocab_multiple) * model.vocab_multiple


def bind(model: ModelConfig, vocab_size: int) -> Model:
    """The networks of a configuration.

    Args:
        model: sizes, block and how to compute.
        vocab_size: tokens of the tokenizer, unpadded.
    """
    rows, dtype = vocab_rows(model, vocab_size), jnp.dtype(model.compute_dtype)
    apply: Callable[..., Any] = Electra(model, vocab_size, rows, dtype).apply
    # Parameters do not depend on how attention is computed: no kernel is compiled to make them.
    plain = Electra(dataclasses.replace(model, attention='xla'), vocab_size, rows, dtype)

    def init(key: jax.Array, networks: Sequence[str]) -> Params:
        def run_all(electra: Electra) -> None:
            for network in networks:
                NETWORKS[network](electra, _blank(), jnp.zeros((1, 1), jnp.int32))

        return plain.init({'params': key}, method=run_all)['params']

    def init_encoder(key: jax.Array) -> Params:
        return plain.init({'params': key}, _blank(), method=Electra.encode)['params']

    def generate(
        params: Params, batch: Batch, masked_BP: jax.Array | None, dropout_key: Key
    ) -> tuple[jax.Array, jax.Array, jax.Array]:
        method, rngs = Electra.generate, _rngs(dropout_key)
        return apply({'params': params}, _text(batch), masked_BP, rngs=rngs, method=method)

    def encode(params: Params, batch: Batch, dropout_key: Key) -> jax.Array:
        method, rngs = Electra.encode, _rngs(dropout_key)
        return apply({'params': params}, _text(batch), rngs=rngs, method=method)

    def discriminate(params: Params, batch: Batch, dropout_key: Key) -> jax.Array:
        method, rngs = Electra.discriminate, _rngs(dropout_key)
        return apply({'params': params}, _text(batch), rngs=rngs, method=method)

    def restore(
        params: Params, batch: Batch, masked_BP: jax.Array | None, gated: bool, dropout_key: Key
    ) -> tuple[jax.Array, jax.Array, jax.Array, jax.Array | None]:
        method, rngs = Electra.restore, _rngs(dropout_key)
        special = (_text(batch), masked_BP, gated)
        return apply({'params': params}, *special, rngs=rngs, method=method)

    def detect_and_select(
        params: Params,
        batch: Batch,
        masked_BP: jax.Array,
        candidates_BPA: jax.Array,
        dropout_key: Key,
    ) -> tuple[jax.Array, jax.Array]:
        method, rngs = Electra.detect_and_select, _rngs(dropout_key)
        special = (_text(batch), masked_BP, candidates_BPA)
        return apply({'params': params}, *special, rngs=rngs, method=method)

    def head(shape: HeadShape) -> Head:
        module = HEADS[shape.form, shape.style](model, shape)
        apply_head: Callable[..., Any] = module.apply

        def init_head(key: jax.Array) -> Params:
            blank_BLD = jnp.zeros((1, 2, model.hidden_size))
            batch = {**_blank(), 'allowed': jnp.ones((1, 2)), 'start': jnp.zeros(1, jnp.int32)}
            return module.init({'params': key}, blank_BLD, batch)['params']

        def outputs(params: Params, batch: Batch, dropout_key: Key) -> dict[str, jax.Array]:
            keys = (None, None) if dropout_key is None else jax.random.split(dropout_key)
            hidden_BLD = encode(params, batch, keys[0])
            own = {'params': params['task_head']}
            return apply_head(own, hidden_BLD, batch, rngs=_rngs(keys[1]))

        def answers(params: Params, batch: Batch) -> dict[str, jax.Array]:
            hidden_BLD, own = encode(params, batch, None), {'params': params['task_head']}
            return apply_head(own, hidden_BLD, batch, method=module.search)

        return Head(init_head, outputs, answers)

    return Model(
        vocab_rows=rows,
        init=init,
        init_encoder=init_encoder,
        generate=generate,
        encode=encode,
        discriminate=discriminate,
        restore=restore,
        detect_and_select=detect_and_select,
        head=head,
    )


_TEXT = ('tokens', 'documents', 'positions', 'types')


def _text(batch: Batch) -> Batch:
    """What the networks read of a batch."""
    return {name: batch[name] for name in _TEXT}


def _blank() -> Batch:
    return {name: jnp.zeros((1, 2), jnp.int32) for name in _TEXT}


def _rngs(dropout_key: Key) -> dict[str, jax.Array]:
    return {} if dropout_key is None else {'dropout': dropout_key}
