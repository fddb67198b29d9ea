"""Multi-head attention that stays inside one document."""

import math
from collections.abc import Callable

import jax
import jax.numpy as jnp

from electra_jax.ops.activations import softmax
from electra_jax.ops.dropout import dropout

_MASKED = -1e9  # finite, so that a row of nothing but padding has no NaN

# Which tokens of its document a token sees, by their places: (its own [L, 1], theirs [S]).
SIGHTS: dict[str, Callable[[jax.Array, jax.Array], jax.Array | bool]] = {
    'document': lambda own_L1, other_S: True,
    'before': lambda own_L1, other_S: other_S <= own_L1,
    'after': lambda own_L1, other_S: other_S >= own_L1,
}


def visible(documents_BL: jax.Array, sight: str) -> jax.Array:
    """Who sees whom: bool [B, L, S]; padding (document 0) sees padding, which nothing else does.

    >>> visible(jnp.array([[1, 1, 0]]), 'before').astype(int).tolist()
    [[[1, 0, 0], [1, 1, 0], [0, 0, 1]]]
    """
    places_L = jnp.arange(documents_BL.shape[1])
    same_BLS = documents_BL[:, :, None] == documents_BL[:, None, :]
    return same_BLS & SIGHTS[sight](places_L[:, None], places_L)


def attention(
    query_BLHK: jax.Array,
    key_BSHK: jax.Array,
    value_BSHK: jax.Array,
    visible_BLS: jax.Array,
    dropout_rate: float,
    dropout_key: jax.Array | None,
    dropout_bits: str,
) -> jax.Array:
    """softmax(Q K^T / sqrt(K)) V, each token attending to what it sees.

    Args:
        query_BLHK, key_BSHK, value_BSHK: compute dtype, with S = L.
        visible_BLS: bool, from `visible`.
        dropout_rate, dropout_key, dropout_bits: on the attention probabilities; see `dropout`.

    Returns:
        [B, L, H, K] in the compute dtype. The softmax is float32.
    """
    scale = 1 / math.sqrt(query_BLHK.shape[-1])
    scores_BHLS = jnp.einsum(
        'BLHK,BSHK->BHLS', query_BLHK * scale, key_BSHK, preferred_element_type=jnp.float32
    )
    scores_BHLS = jnp.where(visible_BLS[:, None], scores_BHLS, _MASKED)
    probs_BHLS = softmax(scores_BHLS)
    probs_BHLS = dropout(probs_BHLS, dropout_rate, dropout_key, dropout_bits)
    return jnp.einsum('BHLS,BSHK->BLHK', probs_BHLS.astype(value_BSHK.dtype), value_BSHK)
