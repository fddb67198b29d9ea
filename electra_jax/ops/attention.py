"""Multi-head attention that stays inside one document."""

import math

import jax
import jax.numpy as jnp

from electra_jax.ops.activations import softmax
from electra_jax.ops.dropout import dropout

_MASKED = -1e9  # finite, so that a row of nothing but padding has no NaN


def attention(
    query_BLHK: jax.Array,
    key_BSHK: jax.Array,
    value_BSHK: jax.Array,
    documents_BL: jax.Array,
    dropout_rate: float,
    dropout_key: jax.Array | None,
    dropout_bits: str,
) -> jax.Array:
    """softmax(Q K^T / sqrt(K)) V, each token attending to its own document only.

    Args:
        query_BLHK, key_BSHK, value_BSHK: compute dtype, with S = L.
        documents_BL: int32; padding (0) attends to padding, which nothing else sees.
        dropout_rate, dropout_key, dropout_bits: on the attention probabilities; see `dropout`.

    Returns:
        [B, L, H, K] in the compute dtype. The softmax is float32.
    """
    scale = 1 / math.sqrt(query_BLHK.shape[-1])
    scores_BHLS = jnp.einsum(
        'BLHK,BSHK->BHLS', query_BLHK * scale, key_BSHK, preferred_element_type=jnp.float32
    )
    same_BLS = documents_BL[:, :, None] == documents_BL[:, None, :]
    scores_BHLS = jnp.where(same_BLS[:, None], scores_BHLS, _MASKED)
    probs_BHLS = softmax(scores_BHLS)
    probs_BHLS = dropout(probs_BHLS, dropout_rate, dropout_key, dropout_bits)
    return jnp.einsum('BHLS,BSHK->BLHK', probs_BHLS.astype(value_BSHK.dtype), value_BSHK)
