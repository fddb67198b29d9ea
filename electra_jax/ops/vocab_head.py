"""The generator's softmax over the vocabulary: loss, accuracy and a sample at masked positions.

The logits [B, P, V] would be by far the largest array of a training step, so they exist only while
they are used: the backward pass computes them again from the features. With chunks = 1 all of them
are computed at once (`_whole`, `_whole_gradients`), which is fastest where memory is plenty, as on
a CPU. With chunks = n it is one n-th of them at a time (`ops/vocab_chunks.py`).
"""

import functools
from typing import Any

import jax
import jax.numpy as jnp

from electra_jax.ops import vocab_chunks
from electra_jax.ops.vocab_softmax import (
    DISALLOWED,
    How,
    Noise,
    Prediction,
    SoftmaxInputs,
    in_blocks,
    is_target,
    pick,
    sample,
    vocab_logits,
)


def predict(
    softmax: SoftmaxInputs,
    targets_BP: jax.Array,
    noise: Noise,
    temperature: jax.Array | float,
    vocab_size: int,
    disallow_target: bool = False,
    chunks: int = 1,
) -> Prediction:
    """Cross-entropy, arg max and sample in one pass; only the loss carries a gradient.

    Args:
        softmax: of the network.
        targets_BP: int32, the original tokens.
        noise: uniforms in [0, 1), by which `vocab_softmax.sample` or its form in chunks draws;
            none: the arg max stands for the sample.
        temperature: of the sample only, never of the loss.
        vocab_size: rows of the table that are real tokens.
        disallow_target: whether the sample is never the target.
        chunks: the number of slices in which the logits are computed, a divisor of 128. The
            results do not depend on it: the same noise draws the same tokens.
    """
    plain = isinstance(temperature, float | int) and temperature == 1
    divisor = None if plain else jnp.asarray(temperature, jnp.float32)
    how = How(vocab_size, disallow_target, chunks)
    return _predict(how, softmax, targets_BP, noise, divisor)


@functools.partial(jax.custom_vjp, nondiff_argnums=(0,))
def _predict(
    how: How, softmax: SoftmaxInputs, targets_BP: jax.Array, noise: Noise, divisor: jax.Array | None
) -> Prediction:
    form = _whole if how.chunks == 1 else vocab_chunks.predict
    return form(how, softmax, targets_BP, noise, divisor)


_Kept = tuple[SoftmaxInputs, jax.Array, jax.Array]  # softmax, targets_BP, normalizer_BP


def _forward(
    how: How, softmax: SoftmaxInputs, targets_BP: jax.Array, *rest: Any
) -> tuple[Prediction, _Kept]:
    prediction = _predict(how, softmax, targets_BP, *rest)
    return prediction, (softmax, targets_BP, prediction.normalizer_BP)


def _backward(how: How, kept: _Kept, grads: Prediction) -> tuple[SoftmaxInputs, None, None, None]:
    form = _whole_gradients if how.chunks == 1 else vocab_chunks.gradients
    grad = form(how, *kept, grads.loss_BP.astype(jnp.float32))  # samples carry no gradient
    return jax.tree.map(lambda g, x: g.astype(x.dtype), grad, kept[0]), None, None, None


_predict.defvjp(_forward, _backward)


def _whole(
    how: How, softmax: SoftmaxInputs, targets_BP: jax.Array, noise: Noise, divisor: jax.Array | None
) -> Prediction:
    logits_BPV = vocab_logits(softmax, how.vocab_size)
    blocks_BPXY, highest_BPX, mass_BPX = in_blocks(logits_BPV)
    normalizer_BP = jax.nn.logsumexp(mass_BPX, axis=-1)
    target_logit_BP = jnp.take_along_axis(logits_BPV, targets_BP[..., None], axis=-1)[..., 0]
    best_BP = pick(blocks_BPXY, highest_BPX)
    if divisor is not None or how.disallow_target:
        logits_BPV = logits_BPV if divisor is None else logits_BPV / divisor
        if how.disallow_target:
            logits_BPV -= DISALLOWED * is_target(targets_BP, logits_BPV)
        blocks_BPXY, _, mass_BPX = in_blocks(logits_BPV)
    sampled_BP = sample(blocks_BPXY, mass_BPX, noise) if noise else best_BP
    return Prediction(normalizer_BP - target_logit_BP, best_BP, sampled_BP, normalizer_BP)


def _whole_gradients(
    how: How,
    softmax: SoftmaxInputs,
    targets_BP: jax.Array,
    normalizer_BP: jax.Array,
    grad_BP: jax.Array,
) -> SoftmaxInputs:
    features_BPE, table_VE, _ = softmax
    logits_BPV = vocab_logits(softmax, how.vocab_size)
    # d loss / d logits = softmax - one hot; the incoming gradient is applied to the small sides.
    error_BPV = jnp.exp(logits_BPV - normalizer_BP[..., None]) - is_target(targets_BP, logits_BPV)
    grad_bias_V = jnp.einsum('BP,BPV->V', grad_BP, error_BPV)
    error_BPV = error_BPV.astype(features_BPE.dtype)
    grad_features_BPE = grad_BP[..., None] * jnp.einsum('BPV,VE->BPE', error_BPV, table_VE)
    weighted_BPE = (grad_BP[..., None] * features_BPE).astype(features_BPE.dtype)
    grad_table_VE = jnp.einsum(
        'BPV,BPE->VE', error_BPV, weighted_BPE, preferred_element_type=jnp.float32
    )
    return SoftmaxInputs(grad_features_BPE, grad_table_VE, grad_bias_V)
