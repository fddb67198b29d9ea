"""Losses of classes, and the area under the discriminator's ROC curve from histograms."""

import jax
import jax.numpy as jnp
import numpy as np


def sigmoid_cross_entropy(logits: jax.Array, labels: jax.Array) -> jax.Array:
    """-log p(label) of independent binary predictions, in float32 (ELECTRA equation 4).

    >>> float(sigmoid_cross_entropy(jnp.array(0.0), jnp.array(True)))
    0.6931471824645996
    """
    logits = logits.astype(jnp.float32)
    return jnp.logaddexp(0.0, logits) - logits * labels.astype(jnp.float32)


def softmax_cross_entropy(logits: jax.Array, labels: jax.Array) -> jax.Array:
    """-log p(label) of one of C classes.

    Args:
        logits: [..., C].
        labels: integers from 0 to C - 1 [...].

    >>> float(softmax_cross_entropy(jnp.zeros(2), jnp.array(1)))
    0.6931471824645996
    """
    chosen = jnp.take_along_axis(logits, labels[..., None], axis=-1)[..., 0]
    return jax.nn.logsumexp(logits, axis=-1) - chosen


# Scores are binned by logit; beyond these bounds a probability differs from 0 or 1 by 1e-7.
BINS = 8192
_LIMIT = 16.0


def score_histogram(logits: jax.Array, weights: jax.Array) -> jax.Array:
    """Weights added up in `BINS` equal bins of the logit, float32: additive over batches."""
    position = (logits.astype(jnp.float32) + _LIMIT) * (BINS / (2 * _LIMIT))
    index = jnp.clip(position, 0, BINS - 1).astype(jnp.int32)
    return jnp.zeros(BINS).at[index.reshape(-1)].add(weights.astype(jnp.float32).reshape(-1))


def area_under_curve(positive: np.ndarray, negative: np.ndarray) -> float:
    """ROC AUC from the histograms of both classes; scores in one bin count half.

    >>> area_under_curve(np.array([0., 1.]), np.array([1., 0.]))
    1.0
    >>> area_under_curve(np.array([1., 1.]), np.array([1., 1.]))
    0.5
    """
    positive, negative = np.asarray(positive, np.float64), np.asarray(negative, np.float64)
    pairs = positive.sum() * negative.sum()
    if pairs == 0:
        return float('nan')
    below = np.cumsum(negative) - negative
    return float(np.sum(positive * (below + 0.5 * negative)) / pairs)
