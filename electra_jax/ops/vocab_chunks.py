"""Loss, best token and sample from some of the vocabulary's logits at a time.

    V = X Y tokens            member 0   1   2  ..  127
                     block 0  [ token 0   1   2  ..  127 ]
                     block 1  [ token 128 ..             ]
                      ..      [  chunk 0  |  chunk 1 | ..]   a chunk is a slice of every block's
                     block X-1[           |          |   ]   members, so a table sharded by blocks
                                                             stays where it is

The numbers of each block are updated chunk after chunk (`_Running`), as in an online softmax.
"""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from electra_jax.core.dims import constrain, lift
from electra_jax.ops.vocab_softmax import (
    BLOCK,
    DISALLOWED,
    PADDING_LOGIT,
    How,
    Noise,
    Prediction,
    SoftmaxInputs,
    gumbel,
    token_logits,
)


class _Running(NamedTuple):
    """Statistics of each block of the vocabulary [B, P, X] over the members seen so far."""

    highest_BPX: jax.Array  # float32, the largest logit
    sum_BPX: jax.Array  # float32, of exp(logit - highest)
    best_BPX: jax.Array  # int32, the member with the largest logit

    @classmethod
    def empty(cls, shape: tuple[int, ...]) -> '_Running':
        """Before the first member."""
        lowest = jnp.full(shape, -1e30)
        return cls(lowest, jnp.zeros(shape), jnp.zeros(shape, jnp.int32))

    def after(self, logits_BPYX: jax.Array, first: jax.Array) -> '_Running':
        """The statistics with the members from `first` on included."""
        here_BPX = jnp.max(logits_BPYX, axis=2)
        highest_BPX = jnp.maximum(self.highest_BPX, here_BPX)
        best_BPX = jnp.argmax(logits_BPYX, axis=2).astype(jnp.int32) + first
        added_BPX = jnp.sum(jnp.exp(logits_BPYX - highest_BPX[:, :, None]), axis=2)
        return _Running(
            highest_BPX,
            self.sum_BPX * jnp.exp(self.highest_BPX - highest_BPX) + added_BPX,
            jnp.where(here_BPX > self.highest_BPX, best_BPX, self.best_BPX),
        )

    def mass_BPX(self) -> jax.Array:
        """Log-sum-exp of each block's logits."""
        return self.highest_BPX + jnp.log(self.sum_BPX)

    def token_BP(self, score_BPX: jax.Array) -> jax.Array:
        """The best member of the block with the highest score, as a token, int32."""
        block_BP = jnp.argmax(score_BPX, axis=-1)
        member_BP = jnp.take_along_axis(self.best_BPX, block_BP[..., None], axis=-1)[..., 0]
        return (block_BP * BLOCK + member_BP).astype(jnp.int32)


class _Chunks(NamedTuple):
    """The vocabulary as blocks, read some members of every block at a time."""

    table_XYE: jax.Array
    bias_XY: jax.Array
    vocab_size: int
    members: int  # of a chunk

    @classmethod
    def of(cls, softmax: SoftmaxInputs, how: How) -> '_Chunks':
        """Blocks may be spread over devices: each device then has a share of each chunk."""
        E = softmax.table_VE.shape[-1]
        table_XYE = constrain(softmax.table_VE.reshape(-1, BLOCK, E), 'XYE')
        bias_XY = softmax.bias_V.astype(jnp.float32).reshape(-1, BLOCK)
        return cls(table_XYE, bias_XY, how.vocab_size, BLOCK // how.chunks)

    def rows(self, first: jax.Array) -> jax.Array:
        """The table's rows of the chunk from member `first` on, [X, Y, E]."""
        return jax.lax.dynamic_slice_in_dim(self.table_XYE, first, self.members, 1)

    def tokens(self, first: jax.Array) -> jax.Array:
        """Ids of the chunk's tokens, int32 [Y, X]."""
        blocks_X = jnp.arange(self.table_XYE.shape[0]) * BLOCK
        return (first + jnp.arange(self.members))[:, None] + blocks_X[None]

    def logits(self, features_BPE: jax.Array, first: jax.Array) -> jax.Array:
        """Float32 [B, P, Y, X]: the blocks last, which a TPU then reduces lane by lane."""
        logits_BPYX = jnp.einsum(
            'BPE,XYE->BPYX', features_BPE, self.rows(first), preferred_element_type=jnp.float32
        )
        logits_BPYX = constrain(logits_BPYX, 'BPYX')
        bias_XY = jax.lax.dynamic_slice_in_dim(self.bias_XY, first, self.members, 1)
        is_token_YX = self.tokens(first) < self.vocab_size
        return jnp.where(lift(is_token_YX, 4), logits_BPYX + lift(bias_XY.T, 4), PADDING_LOGIT)


def predict(
    how: How, softmax: SoftmaxInputs, targets_BP: jax.Array, noise: Noise, divisor: jax.Array | None
) -> Prediction:
    """The results at each position; `divisor` is the sample's temperature, if not 1."""
    vocabulary = _Chunks.of(softmax, how)
    empty = _Running.empty((*targets_BP.shape, vocabulary.table_XYE.shape[0]))
    changed = divisor is not None or how.disallow_target

    def update(running: tuple[_Running, ...], first: jax.Array) -> tuple[Any, None]:
        plain, tempered, noisy = running
        logits_BPYX = vocabulary.logits(softmax.features_BPE, first)
        plain = plain.after(logits_BPYX, first)
        if noise:
            if divisor is not None:
                logits_BPYX = logits_BPYX / divisor
            if how.disallow_target:
                is_target_BPYX = lift(vocabulary.tokens(first), 4) == targets_BP[..., None, None]
                logits_BPYX -= DISALLOWED * is_target_BPYX
            tempered = tempered.after(logits_BPYX, first) if changed else tempered
            # The noise inside a block is one for all blocks, so each may draw its member now.
            logits_BPYX += gumbel(_inner_noise(noise, first, vocabulary.members))
            noisy = noisy.after(logits_BPYX, first)
        return (plain, tempered, noisy), None

    firsts = jnp.arange(0, BLOCK, vocabulary.members)
    (plain, tempered, noisy), _ = jax.lax.scan(update, (empty, empty, empty), firsts)
    normalizer_BP = jax.nn.logsumexp(plain.mass_BPX(), axis=-1)
    target_logit_BP = token_logits(softmax, targets_BP)
    best_BP = plain.token_BP(plain.highest_BPX)
    sampled_BP = best_BP
    if noise:
        score_BPX = noisy.highest_BPX
        if len(noise) == 2:
            score_BPX = (tempered if changed else plain).mass_BPX() + gumbel(noise[0])
        sampled_BP = noisy.token_BP(score_BPX)
    return Prediction(normalizer_BP - target_logit_BP, best_BP, sampled_BP, normalizer_BP)


def _inner_noise(noise: Noise, first: jax.Array, members: int) -> jax.Array:
    """The uniforms of a chunk: one per token [B, P, Y, X], or one per member [B, P, Y, 1]."""
    if len(noise) == 1:
        noise_BPXY = noise[0].reshape(*noise[0].shape[:2], -1, BLOCK)
    else:
        noise_BPXY = noise[1][:, :, None]
    return jax.lax.dynamic_slice_in_dim(noise_BPXY, first, members, 3).swapaxes(2, 3)


def gradients(
    how: How,
    softmax: SoftmaxInputs,
    targets_BP: jax.Array,
    normalizer_BP: jax.Array,
    grad_BP: jax.Array,
) -> SoftmaxInputs:
    """What the loss's gradient `grad_BP` is for features, table and bias."""
    features_BPE, table_VE, bias_V = softmax
    vocabulary = _Chunks.of(softmax, how)
    weighted_BPE = (grad_BP[..., None] * features_BPE).astype(features_BPE.dtype)

    def add(totals: tuple[jax.Array, ...], first: jax.Array) -> tuple[Any, None]:
        grad_features_BPE, grad_table_XYE, grad_bias_XY = totals
        logits_BPYX = vocabulary.logits(features_BPE, first)
        error_BPYX = jnp.exp(logits_BPYX - normalizer_BP[..., None, None])
        error_BPYX -= lift(vocabulary.tokens(first), 4) == targets_BP[..., None, None]
        bias_XY = jnp.einsum('BP,BPYX->XY', grad_BP, error_BPYX)
        error_BPYX = error_BPYX.astype(features_BPE.dtype)
        grad_features_BPE += jnp.einsum(
            'BPYX,XYE->BPE', error_BPYX, vocabulary.rows(first), preferred_element_type=jnp.float32
        )
        table_XYE = jnp.einsum(
            'BPYX,BPE->XYE', error_BPYX, weighted_BPE, preferred_element_type=jnp.float32
        ).astype(table_VE.dtype)
        put = jax.lax.dynamic_update_slice_in_dim
        grad_table_XYE = put(grad_table_XYE, table_XYE, first, 1)
        return (grad_features_BPE, grad_table_XYE, put(grad_bias_XY, bias_XY, first, 1)), None

    zeros = (
        jnp.zeros(features_BPE.shape),
        jnp.zeros_like(vocabulary.table_XYE),
        jnp.zeros_like(vocabulary.bias_XY),
    )
    totals, _ = jax.lax.scan(add, zeros, jnp.arange(0, BLOCK, vocabulary.members))
    grad_features_BPE, grad_table_XYE, grad_bias_XY = totals
    return SoftmaxInputs(
        grad_BP[..., None] * grad_features_BPE,
        grad_table_XYE.reshape(table_VE.shape),
        grad_bias_XY.reshape(bias_V.shape),
    )
