"""A decoder that writes a text of its own about what an encoder has read.

Its layers are the encoder's with attention to the encoder's states between the two sublayers, so
that its parameters can start from those of an encoder of the same width.
"""

# Q: hypotheses of a row; R: tokens of an answer; S also: slots of a cache.

import dataclasses
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from flax import linen as nn

from electra_jax.config import shapes
from electra_jax.config.settings import ModelConfig
from electra_jax.config.shapes import EncoderShape
from electra_jax.core.batch import Batch
from electra_jax.core.dims import constrain, lift
from electra_jax.core.errors import ConfigError
from electra_jax.model import pointer
from electra_jax.model.embeddings import Embeddings
from electra_jax.model.encoder import (
    REMAT_POLICIES,
    Attention,
    Block,
    Layer,
    Positions,
    draws_numbers,
    widened,
)
from electra_jax.model.heads import SoftmaxHead
from electra_jax.model.layers import Dense, make_norm, truncated_normal
from electra_jax.model.pointer import Pointed, Pointer
from electra_jax.ops import rotary, vocab_head
from electra_jax.ops.attention import among
from electra_jax.ops.decoding import Rows, Search, Steps, search, slots
from electra_jax.ops.dropout import Drop
from electra_jax.ops.sight import Sight
from electra_jax.ops.vocab_softmax import SoftmaxInputs, token_logits, vocab_logits

Params = dict[str, Any]


@dataclasses.dataclass(frozen=True)
class DecoderShape:
    """What a decoder is like, and how it answers."""

    like: str  # 'discriminator' or 'generator': whose width and layers it has
    num_layers: int | None  # None: as many as that network
    tied: bool  # whether it reads and writes with the discriminator's embeddings
    copies: bool  # whether it may also repeat tokens that were read: `model.pointer`
    how: Search


class Cache(NamedTuple):
    """What a layer need not compute again, in the order in which products read it fastest."""

    key_BHKS: jax.Array  # of the answer's tokens so far
    value_BHSK: jax.Array
    memory_key_BHKS: jax.Array  # of what the encoder has read
    memory_value_BHSK: jax.Array


class Given(NamedTuple):
    """What all layers are given."""

    positions: Positions  # of the answer's tokens
    memory_BSM: jax.Array | None  # the encoder's states; None: the cache has what is needed
    real_BS: jax.Array  # which of them are no padding
    source_BS: jax.Array | None  # tokens, -1: not to be copied; None: nothing is copied
    seen_BQS: jax.Array | None  # the slots of a cache that each hypothesis sees, with its own
    slot: jax.Array | None  # of the cache: the first one that new tokens are written to


class CachedAttention(Attention):
    """Self-attention of an answer: of all tokens to those before, or of new ones to a cache."""

    @nn.compact
    def __call__(  # type: ignore[override]
        self, x_BLD: jax.Array, given: Given, cache: Cache | None
    ) -> tuple[jax.Array, jax.Array | None, jax.Array | None]:
        """[B, L, D] -> [B, L, D]; with a cache L is Q, and its keys and values are returned."""
        if cache is None:
            return super().__call__(x_BLD, given.positions), None, None
        assert given.seen_BQS is not None and given.slot is not None
        query_BQHK, key_BQHK, value_BQHK = self.operands(x_BLD, given.positions)
        # First written and then read: only so is it plain to XLA that nothing need be copied.
        write = jax.lax.dynamic_update_slice_in_dim
        key_BHKS = write(cache.key_BHKS, _keys(key_BQHK), given.slot, axis=3)
        value_BHSK = write(cache.value_BHSK, _values(value_BQHK), given.slot, axis=2)
        context_BQHK = among(query_BQHK, key_BHKS, value_BHSK, given.seen_BQS, Drop())
        return self.dense('output', 'BLHK,HKD->BLD')(context_BQHK), key_BHKS, value_BHSK


def _keys(x_BSHK: jax.Array) -> jax.Array:
    return jnp.transpose(x_BSHK, (0, 2, 3, 1))


def _values(x_BSHK: jax.Array) -> jax.Array:
    return jnp.swapaxes(x_BSHK, 1, 2)


class MemoryAttention(Block):
    """Attention of an answer's tokens to the states of the encoder."""

    memory_size: int

    @nn.compact
    def __call__(
        self, x_BLD: jax.Array, given: Given, cache: Cache | None
    ) -> tuple[jax.Array, jax.Array, jax.Array]:
        """[B, L, D] -> [B, L, D]; also the keys and values of the memory, to be kept."""
        query_BLHK = self.normalized('query', self.dense('query', 'BLD,DHK->BLHK')(x_BLD))
        if cache is None:
            key_BSHK, value_BSHK = (self.of_memory(name, given) for name in ('key', 'value'))
            key_BHKS, value_BHSK = _keys(self.normalized('key', key_BSHK)), _values(value_BSHK)
        else:
            key_BHKS, value_BHSK = cache.memory_key_BHKS, cache.memory_value_BHSK
        seen_BLS = jnp.broadcast_to(
            given.real_BS[:, None], (*query_BLHK.shape[:2], given.real_BS.shape[1])
        )
        context_BLHK = among(
            constrain(query_BLHK, 'BLHK'),
            constrain(key_BHKS, 'BHKS'),
            constrain(value_BHSK, 'BHSK'),
            seen_BLS,
            self.drop_probs(),
        )
        y_BLD = self.dense('output', 'BLHK,HKD->BLD')(constrain(context_BLHK, 'BLHK'))
        return y_BLD, key_BHKS, value_BHSK

    def of_memory(self, name: str, given: Given) -> jax.Array:
        """Keys or values of the memory, [B, S, H, K]."""
        assert given.memory_BSM is not None
        shape = self.shape
        sizes = {'M': self.memory_size, 'H': shape.num_heads, 'K': shape.head_size}
        init, biased = truncated_normal(self.model.init_stddev), self.model.biases
        dense = Dense('BSM,MHK->BSHK', sizes, self.model, init, biased, name=name)
        return dense(given.memory_BSM)


class DecoderLayer(Layer):
    """Attention to the answer so far, attention to the memory, and feed-forward."""

    memory_size: int

    @nn.compact
    def __call__(  # type: ignore[override]
        self, x_BLD: jax.Array, cache: Cache | None, given: Given
    ) -> tuple[jax.Array, tuple[jax.Array | None, ...]]:
        """One step of the scan: the carried activations, and keys and values to be kept."""
        model, shape = self.model, self.shape
        own = CachedAttention(model, shape, self.sight, name='attention')
        memory = MemoryAttention(model, shape, self.memory_size, name='memory_attention')
        kept: list[jax.Array | None] = []

        def keeping(attend: Callable) -> Callable[[jax.Array], jax.Array]:
            def run(y_BLD: jax.Array) -> jax.Array:
                y_BLD, *new = attend(y_BLD, given, cache)
                kept.extend(new)
                return y_BLD

            return run

        x_BLD = self.sublayer('attention', x_BLD, keeping(own))
        x_BLD = self.sublayer('memory_attention', x_BLD, keeping(memory))
        x_BLD = self.sublayer('feed_forward', x_BLD, self.make_feed_forward())
        return constrain(x_BLD, 'BLD'), tuple(kept)


class Decoded(NamedTuple):
    """What a decoder computes."""

    softmax: SoftmaxInputs  # of the token after each one
    pointed: Pointed | None  # None: it copies nothing
    kept: tuple[jax.Array | None, ...]  # what a cache is made of


class Decoder(nn.Module):
    """Embeddings, the layers, and features that are compared with word vectors."""

    model: ModelConfig
    shape: EncoderShape
    vocab_size: int
    vocab_rows: int  # V, padded
    tied: bool
    copies: bool

    @nn.compact
    def __call__(
        self,
        target: Batch,
        embedded_BLE: jax.Array | None,
        word_VE: jax.Array | None,
        given: Given,
        cache: Cache | None,
    ) -> Decoded:
        """What decides on the token after each one.

        Args:
            target: tokens, documents, positions and types, [B, L] each.
            embedded_BLE: the tokens' embeddings; None where the decoder has its own.
            word_VE: the word vectors; None where the decoder has its own.
            given: memory, positions and what is seen.
            cache: stacked over the layers; None: the tokens are all there are.
        """
        model, D, E = self.model, self.shape.hidden_size, self.model.embedding_size
        if not self.tied:
            of_text = dataclasses.replace(model, image_size=None)
            own = Embeddings(of_text, self.vocab_size, self.vocab_rows, E, name='embeddings')
            embedded_BLE, word_VE = own(target), own.tables().word_VE
        assert embedded_BLE is not None and word_VE is not None
        x_BLD = constrain(widened(model, embedded_BLE, D), 'BLD')
        x_BLD, kept = self.layers(answering=cache is not None)(x_BLD, cache, given)
        if model.norm == 'pre':
            x_BLD = make_norm(model, 'norm')(x_BLD)
        pointed = None
        if self.copies:
            assert given.memory_BSM is not None and given.source_BS is not None
            pointed = Pointer(model, name='pointer')(x_BLD, given.memory_BSM, given.source_BS)
        features_BLE, bias_V = SoftmaxHead(model, E, self.vocab_rows, name='language_head')(x_BLD)
        softmax = SoftmaxInputs(features_BLE, word_VE.astype(features_BLE.dtype), bias_V)
        return Decoded(softmax, pointed, kept)

    def layers(self, answering: bool) -> nn.Module:
        """The scan over layers; a decoder has no local ones.

        To answer it is unrolled: a loop would copy the cache and the parameters of each layer for
        each token.
        """
        layer: type[nn.Module] = DecoderLayer
        keeps, N = REMAT_POLICIES[self.model.remat].keeps, self.shape.num_layers
        if keeps is not None:
            layer = nn.remat(layer, policy=keeps, prevent_cse=False)
        scanned = nn.scan(
            layer,
            variable_axes={'params': 0},
            split_rngs={'params': True, 'dropout': True},
            in_axes=(0, nn.broadcast),
            length=N,
            unroll=N if answering else max(1, min(self.model.scan_unroll, N)),
            check_constancy_invariants=draws_numbers(self),
        )
        memory_size = self.model.hidden_size
        return scanned(self.model, self.shape, Sight('before'), memory_size, name='layers')


# ---------------------------------------------------------------------------------------------
# As pure functions


class Encoder(NamedTuple):
    """What a decoder needs of the network that reads, as functions of all parameters."""

    encode: Callable[[Params, Batch, jax.Array | None], jax.Array]
    embed: Callable[[Params, Batch, jax.Array | None], jax.Array]
    words: Callable[[Params], jax.Array]


def shape_of(model: ModelConfig, decoder: DecoderShape) -> EncoderShape:
    """The sizes of a decoder's layers."""
    of = {'discriminator': shapes.discriminator_shape, 'generator': shapes.generator_shape}
    like = of[decoder.like](model)
    return dataclasses.replace(like, num_layers=decoder.num_layers or like.num_layers)


def _grow(cache: list[Cache], slots: int) -> list[Cache]:
    """A cache with so many slots."""

    def wider(x: jax.Array, axis: int) -> jax.Array:
        new = [(0, slots - size if i == axis else 0) for i, size in enumerate(x.shape)]
        return jnp.pad(x, new)

    return [
        layer._replace(key_BHKS=wider(layer.key_BHKS, 3), value_BHSK=wider(layer.value_BHSK, 2))
        for layer in cache
    ]


def _apart(stacked: Any) -> list[Any]:
    """A tree of arrays for each layer, of one of arrays for all."""
    count = len(jax.tree.leaves(stacked)[0])
    return [jax.tree.map(lambda x, n=n: x[n], stacked) for n in range(count)]


def _stacked(layers: list[Any]) -> Any:
    """The reverse; XLA computes neither where layers are unrolled."""
    return jax.tree.map(lambda *of_layers: jnp.stack(of_layers), *layers)


class TextHead:
    """A decoder on an encoder: `init`, `outputs` and `answers` as `model.bind.Head` has them."""

    def __init__(
        self,
        model: ModelConfig,
        vocab_size: int,
        vocab_rows: int,
        decoder: DecoderShape,
        encoder: Encoder,
    ) -> None:
        longest = decoder.how.length
        if model.positions == 'learned' and longest > model.max_positions:
            raise ConfigError(
                f'config.task.decoder.target_length is {longest}, but config.model.max_positions '
                f'is {model.max_positions}: type '
                f'--config.task.decoder.target_length={model.max_positions}'
            )
        self.model, self.vocab_size, self.encoder = model, vocab_size, encoder
        self.tied, self.copies, self.how = decoder.tied, decoder.copies, decoder.how
        self.shape = shape_of(model, decoder)
        self.module = Decoder(model, self.shape, vocab_size, vocab_rows, self.tied, self.copies)
        self.vocab_rows = vocab_rows

    def init(self, key: jax.Array) -> Params:
        """Fresh parameters of the decoder alone."""
        model, blank = self.model, jnp.zeros((1, 2), jnp.int32)
        target = self._target(blank, blank, blank)
        one = blank[:, 0]
        read: Batch = {'tokens': blank, 'documents': blank, 'begin': one, 'end': one}
        given = self._given(target, jnp.zeros((1, 2, model.hidden_size)), read)
        E = model.embedding_size
        word_VE = jnp.zeros((self.vocab_rows, E))
        module = dataclasses.replace(self.module, model=dataclasses.replace(model, attention='xla'))
        return module.init({'params': key}, target, jnp.zeros((1, 2, E)), word_VE, given, None)[
            'params'
        ]

    def outputs(
        self, params: Params, batch: Batch, dropout_key: jax.Array | None
    ) -> dict[str, jax.Array]:
        """What the loss needs of each token of the true answer, float32 [B, R] each.

        'loss': -log p(token). 'above_mean': log p(token) less the mean log-probability that the
        softmax gives all tokens. 'real': 1 where there is a token. The batch has 'target', -1 where
        there is none, and 'begin' and 'end' [B].
        """
        keys: list[jax.Array | None] = [None, None, None]
        if dropout_key is not None:
            keys = list(jax.random.split(dropout_key, 3))
        memory_BSM = self.encoder.encode(params, batch, keys[0])
        target_BR = batch['target']
        real_BR = target_BR >= 0
        tokens_BR = jnp.maximum(target_BR, 0)
        read_BR = jnp.concatenate([batch['begin'][:, None], tokens_BR[:, :-1]], axis=1)
        position_BR = jnp.broadcast_to(lift(jnp.arange(target_BR.shape[1]), 2), target_BR.shape)
        target = self._target(read_BR, position_BR, real_BR.astype(jnp.int32))
        given = self._given(target, memory_BSM, batch)
        softmax, pointed, _ = self._run(params, target, given, None, keys[1:])
        found = vocab_head.predict(
            softmax, tokens_BR, (), 1.0, self.vocab_size, chunks=self.model.vocab_chunks
        )
        loss_BR = found.loss_BP
        above_BR = token_logits(softmax, tokens_BR) - self._mean_logits(softmax)
        if pointed is not None:
            loss_BR = pointer.loss(pointed, found.loss_BP, tokens_BR)
            above_BR += found.loss_BP - loss_BR
        return {
            'loss': loss_BR,
            'above_mean': above_BR,
            'real': real_BR.astype(jnp.float32),
        }

    def answers(self, params: Params, batch: Batch) -> dict[str, jax.Array]:
        """'tokens' [B, R] of the answer that is found, its end included, and its 'score' [B]."""
        how = self.how
        memory_BSM = self.encoder.encode(params, batch, None)
        cache = self._empty_cache(params, batch, memory_BSM)
        layers = _apart(params['task_head']['layers'])  # here, and not for each token

        def step(
            last_BQ: jax.Array, time: jax.Array, seen_BQS: jax.Array, cache: list[Cache]
        ) -> tuple[jax.Array, list[Cache]]:
            at_BQ = jnp.broadcast_to(time, last_BQ.shape)
            target = self._target(last_BQ, at_BQ, jnp.ones_like(last_BQ))
            given = self._given(target, memory_BSM if self.copies else None, batch)
            given = given._replace(seen_BQS=seen_BQS, slot=time * last_BQ.shape[1])
            own = {**params['task_head'], 'layers': _stacked(layers)}
            made = self._run({**params, 'task_head': own}, target, given, _stacked(cache))
            logits_BQV = vocab_logits(made.softmax, self.vocab_size)
            if made.pointed is not None:
                logits_BQV = pointer.log_probs(made.pointed, logits_BQV)
            return logits_BQV, _apart(Cache(*made.kept))  # type: ignore[arg-type]  # all are there

        rows = Rows(batch['begin'], batch['end'], batch['draw'], batch['weight'] > 0)
        found = search(Steps(step, _grow), cache, rows, how)
        return {'tokens': found.tokens_BR, 'score': found.score_B}

    def _empty_cache(self, params: Params, batch: Batch, memory_BSM: jax.Array) -> list[Cache]:
        """A cache without tokens of the answer; those of the memory are computed."""
        begin_BL = batch['begin'][:, None]
        target = self._target(begin_BL, jnp.zeros_like(begin_BL), jnp.ones_like(begin_BL))
        given = self._given(target, memory_BSM, batch)
        _, _, (_, _, key_NBHKS, value_NBHSK) = self._run(params, target, given, None)
        assert key_NBHKS is not None and value_NBHSK is not None
        N, B, H, K, _ = key_NBHKS.shape
        S, dtype = slots(self.how), key_NBHKS.dtype
        key_BHKS, value_BHSK = jnp.zeros((B, H, K, S), dtype), jnp.zeros((B, H, S, K), dtype)
        return [Cache(key_BHKS, value_BHSK, key_NBHKS[n], value_NBHSK[n]) for n in range(N)]

    def _run(
        self,
        params: Params,
        target: Batch,
        given: Given,
        cache: Cache | None,
        dropout_keys: Any = (None, None),
    ) -> Decoded:
        embedded_BLE, word_VE = None, None
        if self.tied:
            embedded_BLE = self.encoder.embed(params, target, dropout_keys[0])
            word_VE = self.encoder.words(params)
        rngs = {} if dropout_keys[1] is None else {'dropout': dropout_keys[1]}
        made: Any = self.module.apply(
            {'params': params['task_head']},
            target,
            embedded_BLE,
            word_VE,
            given,
            cache,
            rngs=rngs,
        )
        return made

    def _target(
        self, tokens_BL: jax.Array, positions_BL: jax.Array, documents_BL: jax.Array
    ) -> Batch:
        return {
            'tokens': tokens_BL,
            'positions': positions_BL,
            'documents': documents_BL,
            'types': jnp.zeros_like(tokens_BL),
        }

    def _given(self, target: Batch, memory_BSM: jax.Array | None, read: Batch) -> Given:
        rotations, model = {}, self.model
        real_BS, source_BS = read['documents'] > 0, None
        if self.copies:
            tokens_BS = read['tokens']
            is_word_BS = (tokens_BS != read['begin'][:, None]) & (tokens_BS != read['end'][:, None])
            source_BS = jnp.where(real_BS & is_word_BS, tokens_BS, -1)
        if model.positions == 'rotary':
            length = max(self.how.length, target['positions'].shape[1])
            rotations['global'] = rotary.rotation(
                target['positions'], self.shape.head_size, model.rotary_base, length
            )
        positions = Positions(target['documents'], rotations)
        return Given(positions, memory_BSM, real_BS, source_BS, None, None)

    def _mean_logits(self, softmax: SoftmaxInputs) -> jax.Array:
        """The mean over the vocabulary of each position's logits, without computing them."""
        features_BLE, table_VE, bias_V = softmax
        is_token_V = (jnp.arange(len(bias_V)) < self.vocab_size).astype(jnp.float32)
        weight_V = is_token_V / self.vocab_size
        mean_E = jnp.einsum('V,VE->E', weight_V, table_VE.astype(jnp.float32))
        mean_BL = jnp.einsum('BLE,E->BL', features_BLE.astype(jnp.float32), mean_E)
        return mean_BL + jnp.sum(weight_V * bias_V)
