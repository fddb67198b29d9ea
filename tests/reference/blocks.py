"""BERT's layers in NumPy, each with its derivative written out by hand.

Every layer returns `(value, pull)`. `pull(gradients, d_value)` adds to `gradients`, a dict by
variable name, what reaches the layer's own variables, and returns what reaches its input. Variables
are a flat dict by TensorFlow name; `scope` is the part of the name that a layer stands under.
Letters: B rows, L tokens, S tokens seen, D width, H heads, K head width, P masked slots, V tokens
of the vocabulary, X any leading shape.
"""

import math
from collections.abc import Callable

import numpy as np
from scipy.special import erf

Variables = dict[str, np.ndarray]  # float64, by TensorFlow name
Pull = Callable[[Variables, np.ndarray], np.ndarray]

LAYER_NORM_EPSILON = 1e-12
MASKED_SCORE = -10000.0  # added to the score of a key that may not be seen


def add(gradients: Variables, name: str, value: np.ndarray) -> None:
    """Adds to a variable's gradient; a variable used twice gets both contributions."""
    gradients[name] = gradients.get(name, 0.0) + value


def dense(variables: Variables, scope: str, x_XD: np.ndarray) -> tuple[np.ndarray, Pull]:
    """x W + b."""
    kernel, bias = variables[f'{scope}/kernel'], variables[f'{scope}/bias']

    def pull(gradients: Variables, d_y: np.ndarray) -> np.ndarray:
        rows_x, rows_d = x_XD.reshape(-1, x_XD.shape[-1]), d_y.reshape(-1, d_y.shape[-1])
        add(gradients, f'{scope}/kernel', rows_x.T @ rows_d)
        add(gradients, f'{scope}/bias', rows_d.sum(axis=0))
        return d_y @ kernel.T

    return x_XD @ kernel + bias, pull


def layer_norm(variables: Variables, scope: str, x_XD: np.ndarray) -> tuple[np.ndarray, Pull]:
    """gamma (x - mean) / sqrt(variance + 1e-12) + beta, over the last axis."""
    gamma_D, beta_D = variables[f'{scope}/gamma'], variables[f'{scope}/beta']
    centred = x_XD - x_XD.mean(axis=-1, keepdims=True)
    spread = np.sqrt((centred**2).mean(axis=-1, keepdims=True) + LAYER_NORM_EPSILON)
    normal = centred / spread

    def pull(gradients: Variables, d_y: np.ndarray) -> np.ndarray:
        leading = tuple(range(d_y.ndim - 1))
        add(gradients, f'{scope}/gamma', (d_y * normal).sum(axis=leading))
        add(gradients, f'{scope}/beta', d_y.sum(axis=leading))
        d_normal = d_y * gamma_D
        # The mean and the variance move with every element of the row.
        along = normal * (d_normal * normal).mean(axis=-1, keepdims=True)
        return (d_normal - d_normal.mean(axis=-1, keepdims=True) - along) / spread

    return normal * gamma_D + beta_D, pull


def gelu(x: np.ndarray) -> tuple[np.ndarray, Pull]:
    """x Phi(x), with the error function rather than its tanh approximation."""
    phi = 0.5 * (1.0 + erf(x / math.sqrt(2.0)))
    density = np.exp(-0.5 * x**2) / math.sqrt(2.0 * math.pi)

    def pull(gradients: Variables, d_y: np.ndarray) -> np.ndarray:
        del gradients
        return d_y * (phi + x * density)

    return x * phi, pull


def log_softmax(logits_XV: np.ndarray) -> np.ndarray:
    """log p over the last axis, without overflow."""
    shifted = logits_XV - logits_XV.max(axis=-1, keepdims=True)
    return shifted - np.log(np.exp(shifted).sum(axis=-1, keepdims=True))


def self_attention(
    variables: Variables, scope: str, x_BLD: np.ndarray, allowed_BLS: np.ndarray, num_heads: int
) -> tuple[np.ndarray, Pull]:
    """softmax(Q K^T / sqrt(K) - 10000 where not allowed) V, before the output projection.

    A query that may see nothing has 10000 taken from all its scores alike, which cancels: it
    attends over the whole row. Only padding is ever in that position.
    """
    B, L, D = x_BLD.shape
    heads = (B, L, num_heads, D // num_heads)
    scale = 1.0 / math.sqrt(D // num_heads)
    query, pull_query = dense(variables, f'{scope}/query', x_BLD)
    key, pull_key = dense(variables, f'{scope}/key', x_BLD)
    value, pull_value = dense(variables, f'{scope}/value', x_BLD)
    query_BLHK, key_BSHK, value_BSHK = (a.reshape(heads) for a in (query, key, value))
    scores_BHLS = np.einsum('BLHK,BSHK->BHLS', query_BLHK, key_BSHK) * scale
    scores_BHLS = scores_BHLS + (1.0 - allowed_BLS[:, None]) * MASKED_SCORE
    probs_BHLS = np.exp(log_softmax(scores_BHLS))
    context_BLHK = np.einsum('BHLS,BSHK->BLHK', probs_BHLS, value_BSHK)

    def pull(gradients: Variables, d_context_BLD: np.ndarray) -> np.ndarray:
        d_context_BLHK = d_context_BLD.reshape(heads)
        d_value = np.einsum('BHLS,BLHK->BSHK', probs_BHLS, d_context_BLHK)
        d_probs_BHLS = np.einsum('BLHK,BSHK->BHLS', d_context_BLHK, value_BSHK)
        mean_BHL1 = (d_probs_BHLS * probs_BHLS).sum(axis=-1, keepdims=True)
        d_scores_BHLS = probs_BHLS * (d_probs_BHLS - mean_BHL1) * scale
        d_query = np.einsum('BHLS,BSHK->BLHK', d_scores_BHLS, key_BSHK)
        d_key = np.einsum('BHLS,BLHK->BSHK', d_scores_BHLS, query_BLHK)
        return (
            pull_query(gradients, d_query.reshape(B, L, D))
            + pull_key(gradients, d_key.reshape(B, L, D))
            + pull_value(gradients, d_value.reshape(B, L, D))
        )

    return context_BLHK.reshape(B, L, D), pull


def layer(
    variables: Variables, scope: str, x_BLD: np.ndarray, allowed_BLS: np.ndarray, num_heads: int
) -> tuple[np.ndarray, Pull]:
    """One layer of the encoder: norm(x + attention(x)), then norm(x + feed_forward(x))."""
    inner = f'{scope}/attention'
    context, pull_context = self_attention(
        variables, f'{inner}/self', x_BLD, allowed_BLS, num_heads
    )
    attended, pull_attended = dense(variables, f'{inner}/output/dense', context)
    middle, pull_middle = layer_norm(variables, f'{inner}/output/LayerNorm', x_BLD + attended)
    up, pull_up = dense(variables, f'{scope}/intermediate/dense', middle)
    active, pull_active = gelu(up)
    down, pull_down = dense(variables, f'{scope}/output/dense', active)
    y_BLD, pull_y = layer_norm(variables, f'{scope}/output/LayerNorm', middle + down)

    def pull(gradients: Variables, d_y_BLD: np.ndarray) -> np.ndarray:
        d_middle = pull_y(gradients, d_y_BLD)
        d_active = pull_down(gradients, d_middle)
        d_middle = d_middle + pull_up(gradients, pull_active(gradients, d_active))
        d_x_BLD = pull_middle(gradients, d_middle)
        return d_x_BLD + pull_context(gradients, pull_attended(gradients, d_x_BLD))

    return y_BLD, pull


def token_cross_entropy(
    logits_XV: np.ndarray, targets_X: np.ndarray, weights_X: np.ndarray
) -> tuple[float, Callable[[float], np.ndarray]]:
    """sum(w * -log p(target)) / (sum(w) + 1e-6), and its gradient times a number."""
    log_probs_XV = log_softmax(logits_XV)
    chosen_XV = np.arange(logits_XV.shape[-1]) == targets_X[..., None]
    share_X = weights_X / (weights_X.sum() + 1e-6)
    loss = -(share_X * (log_probs_XV * chosen_XV).sum(axis=-1)).sum()

    def pull(d_loss: float) -> np.ndarray:
        return d_loss * share_X[..., None] * (np.exp(log_probs_XV) - chosen_XV)

    return loss, pull


def binary_cross_entropy(
    logits_BL: np.ndarray, labels_BL: np.ndarray, weights_BL: np.ndarray
) -> tuple[float, Callable[[float], np.ndarray]]:
    """sum(w * -log p(label)) / (sum(w) + 1e-6) of a sigmoid, and its gradient times a number."""
    losses_BL = np.logaddexp(0.0, logits_BL) - logits_BL * labels_BL
    share_BL = weights_BL / (weights_BL.sum() + 1e-6)
    probs_BL = 1.0 / (1.0 + np.exp(-logits_BL))

    def pull(d_loss: float) -> np.ndarray:
        return d_loss * share_BL * (probs_BL - labels_BL)

    return (share_BL * losses_BL).sum(), pull
