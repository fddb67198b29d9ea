"""The generator's softmax over the vocabulary: loss, accuracy and a sample at masked positions.

The P x V logits are float32 and exist only while they are used: the backward pass computes them
again from the features instead of keeping them (they are by far the largest tensor of a step).
"""

import functools
from typing import NamedTuple

import jax
import jax.numpy as jnp

_PADDING_LOGIT = -1e9  # of rows that only pad the vocabulary: never sampled, never predicted
_DISALLOWED = 1000.0  # taken off the logit of a token that must not be sampled
BLOCK = 128  # vocabulary rows per block of the two-stage sampler


class Prediction(NamedTuple):
    """What the head says of each masked position."""

    loss_BP: jax.Array  # float32, -log p(target), nats
    best_BP: jax.Array  # int32, the most probable token
    sampled_BP: jax.Array  # int32, a draw from softmax(logits / temperature)
    normalizer_BP: jax.Array  # float32, log-sum-exp of the logits; carries no gradient


def vocab_logits(
    features_BPE: jax.Array, table_VE: jax.Array, bias_V: jax.Array, vocab_size: int
) -> jax.Array:
    """Float32 logits [B, P, V]; rows at or above `vocab_size` are padding and cannot win."""
    logits_BPV = jnp.einsum(
        'BPE,VE->BPV', features_BPE, table_VE, preferred_element_type=jnp.float32
    )
    logits_BPV += bias_V.astype(jnp.float32)
    return jnp.where(jnp.arange(table_VE.shape[0]) < vocab_size, logits_BPV, _PADDING_LOGIT)


def predict(
    features_BPE: jax.Array,
    table_VE: jax.Array,
    bias_V: jax.Array,
    targets_BP: jax.Array,
    noise: tuple[jax.Array, ...],
    temperature: jax.Array | float,
    vocab_size: int,
    disallow_target: bool = False,
) -> Prediction:
    """Cross-entropy, arg max and sample in one pass; only the loss carries a gradient.

    Args:
        features_BPE: output of the generator's head, compute dtype.
        table_VE: the shared word embeddings, V padded.
        bias_V: one output bias per vocabulary row.
        targets_BP: int32, the original tokens.
        noise: uniforms in (0, 1) for `sample`; none: the arg max stands for the sample.
        temperature: of the sample only, never of the loss.
        vocab_size: rows of the table that are real tokens.
        disallow_target: whether the sample is never the target.
    """
    plain = isinstance(temperature, float | int) and temperature == 1
    divisor = None if plain else jnp.asarray(temperature, jnp.float32)
    arrays = (features_BPE, table_VE, bias_V, targets_BP, noise, divisor)
    return Prediction(*_predict(*arrays, vocab_size, disallow_target))


@functools.partial(jax.custom_vjp, nondiff_argnums=(6, 7))
def _predict(*arguments):
    return _forward(*arguments)[0]


def _forward(
    features_BPE, table_VE, bias_V, targets_BP, noise, divisor, vocab_size, disallow_target
):
    logits_BPV = vocab_logits(features_BPE, table_VE, bias_V, vocab_size)
    blocks_BPXY, highest_BPX, mass_BPX = in_blocks(logits_BPV)
    normalizer_BP = jax.nn.logsumexp(mass_BPX, axis=-1)
    target_logit_BP = jnp.take_along_axis(logits_BPV, targets_BP[..., None], axis=-1)[..., 0]
    best_BP = pick(blocks_BPXY, highest_BPX)
    if divisor is not None or disallow_target:
        logits_BPV = logits_BPV if divisor is None else logits_BPV / divisor
        if disallow_target:
            logits_BPV -= _DISALLOWED * _is_target(targets_BP, table_VE)
        blocks_BPXY, _, mass_BPX = in_blocks(logits_BPV)
    sampled_BP = sample(blocks_BPXY, mass_BPX, noise) if noise else best_BP
    outputs = (normalizer_BP - target_logit_BP, best_BP, sampled_BP, normalizer_BP)
    return outputs, (features_BPE, table_VE, bias_V, targets_BP, normalizer_BP)


def _is_target(targets_BP, table_VE):
    return jnp.arange(table_VE.shape[0]) == targets_BP[..., None]


def _backward(vocab_size, disallow_target, residuals, grads):
    del disallow_target  # samples carry no gradient
    features_BPE, table_VE, bias_V, targets_BP, normalizer_BP = residuals
    grad_BP = grads[0].astype(jnp.float32)
    logits_BPV = vocab_logits(features_BPE, table_VE, bias_V, vocab_size)
    # d loss / d logits = softmax - one hot; the incoming gradient is applied to the small sides.
    error_BPV = jnp.exp(logits_BPV - normalizer_BP[..., None]) - _is_target(targets_BP, table_VE)
    grad_bias_V = jnp.einsum('BP,BPV->V', grad_BP, error_BPV)
    error_BPV = error_BPV.astype(features_BPE.dtype)
    grad_features_BPE = grad_BP[..., None] * jnp.einsum('BPV,VE->BPE', error_BPV, table_VE)
    weighted_BPE = (grad_BP[..., None] * features_BPE).astype(features_BPE.dtype)
    grad_table_VE = jnp.einsum(
        'BPV,BPE->VE', error_BPV, weighted_BPE, preferred_element_type=jnp.float32
    )
    return (
        grad_features_BPE.astype(features_BPE.dtype),
        grad_table_VE.astype(table_VE.dtype),
        grad_bias_V.astype(bias_V.dtype),
        None,
        None,
        None,
    )


_predict.defvjp(_forward, _backward)


def token_logits(
    features_BPE: jax.Array, table_VE: jax.Array, bias_V: jax.Array, tokens_BP: jax.Array
) -> jax.Array:
    """The logits of one token at each position, float32 [B, P], without the others."""
    words_BPE = table_VE[tokens_BP].astype(features_BPE.dtype)
    logits_BP = jnp.einsum(
        'BPE,BPE->BP', features_BPE, words_BPE, preferred_element_type=jnp.float32
    )
    return logits_BP + bias_V.astype(jnp.float32)[tokens_BP]


def sample_others(
    features_BPE: jax.Array,
    table_VE: jax.Array,
    bias_V: jax.Array,
    targets_BP: jax.Array,
    noise_BPV: jax.Array,
    count: int,
    vocab_size: int,
) -> jax.Array:
    """Different tokens than the target, drawn from the softmax without replacement.

    Args:
        features_BPE, table_VE, bias_V, targets_BP, vocab_size: as for `predict`.
        noise_BPV: uniforms in (0, 1); the largest logits plus Gumbel noise win.
        count: how many.

    Returns:
        int32 [B, P, C] with C = count; carries no gradient.
    """
    logits_BPV = vocab_logits(features_BPE, table_VE, bias_V, vocab_size) + gumbel(noise_BPV)
    logits_BPV = jnp.where(_is_target(targets_BP, table_VE), 2 * _PADDING_LOGIT, logits_BPV)
    return jax.lax.top_k(jax.lax.stop_gradient(logits_BPV), count)[1].astype(jnp.int32)


def noise_shapes(B: int, P: int, V: int, sampler: str) -> tuple[tuple[int, ...], ...]:
    """Shapes of the uniforms that `sample` needs: one per token, or one per block and member."""
    return {
        'gumbel': ((B, P, V),),
        'blocks': ((B, P, V // BLOCK), (B, P, BLOCK)),
    }[sampler]


def in_blocks(logits_BPV: jax.Array) -> tuple[jax.Array, jax.Array, jax.Array]:
    """The logits as blocks [B, P, X, Y], with each block's maximum and log-sum-exp [B, P, X]."""
    blocks_BPXY = logits_BPV.reshape(*logits_BPV.shape[:-1], -1, BLOCK)
    highest_BPX = jnp.max(blocks_BPXY, axis=-1)
    sums_BPX = jnp.sum(jnp.exp(blocks_BPXY - highest_BPX[..., None]), axis=-1)
    return blocks_BPXY, highest_BPX, highest_BPX + jnp.log(sums_BPX)


def sample(blocks_BPXY: jax.Array, mass_BPX: jax.Array, noise: tuple[jax.Array, ...]) -> jax.Array:
    """An exact draw from softmax(logits) by the Gumbel-max trick.

    Args:
        blocks_BPXY: float32 logits, from `in_blocks`.
        mass_BPX: their log-sum-exps.
        noise: uniforms in (0, 1), shaped as `noise_shapes` says. One array: Gumbel noise for
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
    """Gumbel noise by the reference's formula, -ln(-ln(u + 1e-9) + 1e-9), in float32.

    >>> round(float(gumbel(jnp.array(0.5))), 5)
    0.36651
    """
    return -jnp.log(-jnp.log(uniform.astype(jnp.float32) + 1e-9) + 1e-9)
