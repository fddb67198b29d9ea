"""The networks as pure functions of their parameters; nothing else runs the flax modules."""

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from electra_jax.config.settings import ModelConfig
from electra_jax.core.batch import TEXT_ARRAYS, Batch
from electra_jax.model import images
from electra_jax.model.decoder import Encoder, TextHead
from electra_jax.model.electra import Electra
from electra_jax.model.task_heads import HEADS, HeadShape
from electra_jax.ops.vocab_softmax import SoftmaxInputs

Params = dict[str, Any]  # nested dict of float32 arrays
Key = jax.Array | None  # of dropout; None switches dropout off


class Head(NamedTuple):
    """A task's head on the discriminator's hidden states; its parameters are 'task_head'."""

    # key -> fresh float32 parameters of the head alone
    init: Callable[[jax.Array], Params]
    # params, batch, dropout_key -> what the head's loss needs, float32 arrays by name
    # (`model/task_heads.py`). A batch for spans also has 'allowed' [B, L], and 'start' [B] for the
    # reference's head; one for vectors has 'inside' [B, L].
    outputs: Callable[[Params, Batch, Key], dict[str, jax.Array]]
    # params, batch -> the outputs for prediction, without dropout
    answers: Callable[[Params, Batch], dict[str, jax.Array]]


class Model(NamedTuple):
    """The networks of a configuration; the methods of `Electra` describe the results."""

    vocab_rows: int  # V, the vocabulary padded to the model's multiple
    # key, networks (keys of `NETWORKS`) -> fresh float32 parameters of them
    init: Callable[[jax.Array, Sequence[str]], Params]
    # networks -> the shapes of what `init` makes, in half the time
    shapes: Callable[[Sequence[str]], Params]
    # The others: params, batch, the method's own arguments (masked_BP None: every position),
    # dropout_key -> its result.
    generate: Callable[[Params, Batch, jax.Array | None, Key], SoftmaxInputs]
    encode: Callable[[Params, Batch, Key], jax.Array]
    discriminate: Callable[[Params, Batch, Key], jax.Array]
    restore: Callable[
        [Params, Batch, jax.Array | None, bool, Key], tuple[SoftmaxInputs, jax.Array | None]
    ]
    detect_and_select: Callable[
        [Params, Batch, jax.Array, jax.Array, Key], tuple[jax.Array, jax.Array]
    ]
    head: Callable[[HeadShape], Head]


# Networks -> what runs each once, so that flax makes its parameters. All have their heads but the
# encoder, which is the discriminator's.
NETWORKS: dict[str, Callable[[Electra, Batch, jax.Array], Any]] = {
    'encoder': lambda electra, batch, masked_BP: electra.encode(batch),
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


def two_keys(dropout_key: Key) -> tuple[Key, Key]:
    """Dropout keys of two networks, both None without dropout."""
    if dropout_key is None:
        return None, None
    keys = jax.random.split(dropout_key)
    return keys[0], keys[1]


def bind(model: ModelConfig, vocab_size: int) -> Model:
    """The networks of a configuration.

    Args:
        model: sizes, block and how to compute.
        vocab_size: tokens of the tokenizer, unpadded.
    """
    rows = vocab_rows(model, vocab_size)
    electra = Electra(model, vocab_size, rows)
    # Parameters do not depend on how attention is computed: no kernel is compiled to make them.
    plain = Electra(dataclasses.replace(model, attention='xla'), vocab_size, rows)

    def run_all(networks: Sequence[str], electra: Electra) -> None:
        for network in networks:
            NETWORKS[network](electra, _blank(model), jnp.zeros((1, 1), jnp.int32))

    def init(key: jax.Array, networks: Sequence[str]) -> Params:
        return plain.init({'params': key}, method=lambda electra: run_all(networks, electra))[
            'params'
        ]

    def shapes(networks: Sequence[str]) -> Params:
        def make(key: jax.Array) -> Params:
            # Not as an initialization, in which a scan is traced twice for the numbers drawn.
            _, made = plain.apply(
                {'params': {}},
                method=lambda electra: run_all(networks, electra),
                mutable=['params'],
                rngs={'params': key},
            )
            return made['params']

        return jax.eval_shape(make, jax.random.key(0))

    def pure(method: Callable) -> Callable[..., Any]:
        def run(params: Params, batch: Batch, *arguments: Any) -> Any:
            *others, dropout_key = arguments
            read = {name: batch[name] for name in TEXT_ARRAYS}
            if model.image_size is not None and images.PIXELS in batch:
                read[images.PIXELS] = batch[images.PIXELS]
            return _apply(electra, params, dropout_key, read, *others, method=method)

        return run

    def words(params: Params) -> jax.Array:
        return _apply(electra, params, None, method=Electra.discriminator_words)

    def head(shape: HeadShape) -> Head:
        encode = pure(Electra.encode)
        if shape.is_apart and model.attention == 'cudnn':  # which knows one text a row
            slower = dataclasses.replace(model, attention='xla')
            encode = bind(slower, vocab_size).encode
        if shape.decoder is None:
            return _head(model, encode, shape)
        reader = Encoder(encode, pure(Electra.embed_for_discriminator), words)
        made = TextHead(model, vocab_size, rows, shape.decoder, reader)
        return Head(made.init, made.outputs, made.answers)

    return Model(
        vocab_rows=rows,
        init=init,
        shapes=shapes,
        generate=pure(Electra.generate),
        encode=pure(Electra.encode),
        discriminate=pure(Electra.discriminate),
        restore=pure(Electra.restore),
        detect_and_select=pure(Electra.detect_and_select),
        head=head,
    )


def _head(model: ModelConfig, encode: Callable[..., jax.Array], shape: HeadShape) -> Head:
    """A head that scores what the encoder has read."""
    module = HEADS[shape.form, shape.style](model, shape)

    def init(key: jax.Array) -> Params:
        blank_BLD = jnp.zeros((1, 2, model.hidden_size))
        batch = {
            **_blank(model),
            'allowed': jnp.ones((1, 2)),
            'start': jnp.zeros(1, jnp.int32),
            'inside': jnp.ones((1, 2), jnp.int32),
        }
        return module.init({'params': key}, blank_BLD, batch).get('params', {})

    def outputs(params: Params, batch: Batch, dropout_key: Key) -> dict[str, jax.Array]:
        encoder_key, head_key = two_keys(dropout_key)
        hidden_BLD = encode(params, batch, encoder_key)
        return _apply(module, params.get('task_head', {}), head_key, hidden_BLD, batch)

    def answers(params: Params, batch: Batch) -> dict[str, jax.Array]:
        hidden_BLD = encode(params, batch, None)
        return _apply(
            module, params.get('task_head', {}), None, hidden_BLD, batch, method=module.search
        )

    return Head(init, outputs, answers)


def _apply(module: Any, params: Params, dropout_key: Key, *arguments: Any, **how: Any) -> Any:
    rngs = {} if dropout_key is None else {'dropout': dropout_key}
    return module.apply({'params': params}, *arguments, rngs=rngs, **how)


def _blank(model: ModelConfig) -> Batch:
    batch = {name: jnp.zeros((1, 2), jnp.int32) for name in TEXT_ARRAYS}
    if model.image_size is None:
        return batch
    shape = (1, model.image_size, model.image_size, images.COLOURS)
    return {**batch, images.PIXELS: jnp.zeros(shape, jnp.uint8)}
