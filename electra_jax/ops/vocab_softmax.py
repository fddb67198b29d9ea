"""A softmax over the vocabulary whose logits are computed where they are used, and its samples.

The vocabulary is seen as X blocks of Y = 128 members: token v is member v % 128 of block v // 128.
For each block, the largest logit and the log-sum-exp of its logits [B, P, X] are all that is needed
for the loss (log-sum-exp over blocks), the most probable token (the best member of the best block)
and an exact sample: draw a block by its log-sum-exp, then a member inside it.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp

from electra_jax.core.dims import lift

PADDING_LOGIT = -1e9  # of rows that only pad the vocabulary: never sampled, never predicted
Noise = tuple[jax.Array, ...]  # uniforms in [0, 1), with the shapes of `noise_shapes`

BLOCK = 128  # members of a block
DISALLOWED = 1000.0  # taken off the logit of a token that must not be sampled


class SoftmaxInputs(NamedTuple):
    """A distribution over the vocabulary at each position, whose logits are not computed yet."""

    features_BPE: jax.Array  # compute dtype, a head's output
    table_VE: jax.Array  # compute dtype, the word embeddings, V padded
    bias_V: jax.Array  # float32

    def at(self, positions_BP: jax.Array) -> 'SoftmaxInputs':
        """The same at some of the positions."""
        features_BPE = jnp.take_along_axis(self.features_BPE, positions_BP[..., None], axis=1)
        return self._replace(features_BPE=features_BPE)


class How(NamedTuple):
    """What is fixed when a prediction is compiled; `vocab_head.predict` describes the fields."""

    vocab_size: int
    disallow_target: bool
    chunks: int


class Prediction(NamedTuple):
    """The results at each position."""

    loss_BP: jax.Array  # float32, -log p(target), nats
    best_BP: jax.Array  # int32, the most probable token
    sampled_BP: jax.Array  # int32, a draw from softmax(logits / temperature)
    normalizer_BP: jax.Array  # float32, log-sum-exp of the logits; carries no gradient


def vocab_logits(softmax: SoftmaxInputs, vocab_size: int) -> jax.Array:
    """Float32 logits [B, P, V]; rows at or above `vocab_size` are padding and cannot win."""
    features_BPE, table_VE, bias_V = softmax
    logits_BPV = jnp.einsum(
        'BPE,VE->BPV', features_BPE, table_VE, preferred_element_type=jnp.float32
    )
    is_token_V = jnp.arange(table_VE.shape[0]) < vocab_size
    bias_V = jnp.where(is_token_V, bias_V.astype(jnp.float32), PADDING_LOGIT)
    return logits_BPV + lift(bias_V, 3)  # one pass, which the product makes where it can


def token_logits(softmax: SoftmaxInputs, tokens_BP: jax.Array) -> jax.Array:
    """The logits of one token at each position, float32 [B, P], without the others."""
    features_BPE, table_VE, bias_V = softmax
    words_BPE = table_VE[tokens_BP].astype(features_BPE.dtype)
    logits_BP = jnp.einsum(
        'BPE,BPE->BP', features_BPE, words_BPE, preferred_element_type=jnp.float32
    )
    return logits_BP + bias_V.astype(jnp.float32)[tokens_BP]


def sample_others(
    softmax: SoftmaxInputs, targets_BP: jax.Array, noise_BPV: jax.Array, count: int, vocab_size: int
) -> jax.Array:
    """Draws `count` tokens other than the target from the softmax, without replacement.

    Args:
        softmax, targets_BP, vocab_size: as for `vocab_head.predict`.
        noise_BPV: uniforms in [0, 1); the largest logits plus Gumbel noise win.
        count: A.

    Returns:
        int32 [B, P, A]; carries no gradient.
    """
    logits_BPV = vocab_logits(softmax, vocab_size) + gumbel(noise_BPV)
    logits_BPV = jnp.where(is_target(targets_BP, logits_BPV), 2 * PADDING_LOGIT, logits_BPV)
    return jax.lax.top_k(jax.lax.stop_gradient(logits_BPV), count)[1].astype(jnp.int32)


def is_target(targets_BP: jax.Array, logits_BPV: jax.Array) -> jax.Array:
    """Which token is the target, bool [B, P, V]."""
    return lift(jnp.arange(logits_BPV.shape[-1]), 3) == targets_BP[..., None]


def noise_shapes(B: int, P: int, V: int, sampler: str) -> tuple[tuple[int, ...], ...]:
    """Shapes of the uniforms that `sample` needs: one per token, or one per block and member."""
    return {'gumbel': ((B, P, V),), 'blocks': ((B, P, V // BLOCK), (B, P, BLOCK))}[sampler]


def in_blocks(logits_BPV: jax.Array) -> tuple[jax.Array, jax.Array, jax.Array]:
    """The logits as blocks [B, P, X, Y], with each block's maximum and log-sum-exp [B, P, X]."""
    blocks_BPXY = logits_BPV.reshape(*logits_BPV.shape[:-1], -1, BLOCK)
    highest_BPX = jnp.max(blocks_BPXY, axis=-1)
    sums_BPX = jnp.sum(jnp.exp(blocks_BPXY - highest_BPX[..., None]), axis=-1)
    return blocks_BPXY, highest_BPX, highest_BPX + jnp.log(sums_BPX)


def sample(blocks_BPXY: jax.Array, mass_BPX: jax.Array, noise: Noise) -> jax.Array:
    """An exact draw from softmax(logits) by the Gumbel-max trick.

    Args:
        blocks_BPXY: float32 logits, from `in_blocks`.
        mass_BPX: their log-sum-exps.
        noise: uniforms in [0, 1), with the shapes of `noise_shapes`. One array: Gumbel noise for
            every token, the reference's formula. Two: a block of the vocabulary is drawn by its
            log-sum-exp, then a token inside it; the same distribution for V / 128 + 128 uniforms
            instead of V.

    Returns:
        int32 [B, P].
    """
    if len(noise) == 1:
        logits_BPV = blocks_BPXY.reshape(noise[0].shape)
        return jnp.argmax(logits_BPV + gumbel(noise[0]), axis=-1).astype(jnp.int32)
    block_noise_BPX, inner_noise_BPY = noise
    return pick(blocks_BPXY, mass_BPX + gumbel(block_noise_BPX), gumbel(inner_noise_BPY))


def pick(
    blocks_BPXY: jax.Array, score_BPX: jax.Array, noise_BPY: jax.Array | float = 0.0
) -> jax.Array:
    """The token of the highest logit plus noise inside the block of the highest score, int32."""
    block_BP = jnp.argmax(score_BPX, axis=-1)
    inside_BPY = jnp.take_along_axis(blocks_BPXY, block_BP[..., None, None], axis=-2)[..., 0, :]
    member_BP = jnp.argmax(inside_BPY + noise_BPY, axis=-1)
    return (block_BP * BLOCK + member_BP).astype(jnp.int32)


def gumbel(uniform: jax.Array) -> jax.Array:
    """Gumbel noise by the reference's formula, -ln(-ln(u + 1e-9) + 1e-9), float32; finite at 0.

    >>> round(float(gumbel(jnp.array(0.5))), 5)
    0.36651
    """
    return -jnp.log(-jnp.log(uniform.astype(jnp.float32) + 1e-9) + 1e-9)
