"""Answers that repeat words of what was read: a pointer next to the softmax.

See, Liu and Manning 2017, section 2.2 (pointer-generator networks). The next token is, with a share
that the decoder chooses for each position, one of those that were read, and else one of the
vocabulary. A text and its answer have one vocabulary here, so that the two simply add up.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from flax import linen as nn

from electra_jax.config.settings import ModelConfig
from electra_jax.model.layers import Dense, truncated_normal

_TINY = 1e-30  # probabilities below this count as this, so that no gradient is infinite
_LOWEST = -1e9


class Pointed(NamedTuple):
    """Where the next token of each position may be copied from; float32."""

    log_own_BL: jax.Array  # log(1 - share)
    log_share_BL: jax.Array
    weight_BLS: jax.Array  # adds up to 1 over what may be copied, and is 0 elsewhere
    source_BS: jax.Array  # int32, the tokens


class Pointer(nn.Module):
    """One head of attention to the encoder's states, and the share of what is copied."""

    model: ModelConfig

    @nn.compact
    def __call__(self, x_BLD: jax.Array, memory_BSM: jax.Array, source_BS: jax.Array) -> Pointed:
        """Points at tokens that were read.

        Args:
            x_BLD: the decoder's last activations.
            memory_BSM: the encoder's states.
            source_BS: the token at each of them, int32; -1: it may not be copied.
        """
        D, M = x_BLD.shape[-1], memory_BSM.shape[-1]
        init = truncated_normal(self.model.init_stddev)
        query_BLM = Dense('BLD,DM->BLM', {'D': D, 'M': M}, self.model, init, name='query')(x_BLD)
        share = Dense('BLD,DC->BLC', {'D': D, 'C': 1}, self.model, init, name='share')
        logit_BL = share(x_BLD)[..., 0].astype(jnp.float32)
        score_BLS = jnp.einsum(
            'BLM,BSM->BLS', query_BLM, memory_BSM, preferred_element_type=jnp.float32
        )
        may_be_BLS = jnp.broadcast_to((source_BS >= 0)[:, None], score_BLS.shape)
        weight_BLS = jax.nn.softmax(jnp.where(may_be_BLS, score_BLS / M**0.5, _LOWEST))
        return Pointed(
            jax.nn.log_sigmoid(-logit_BL),
            jax.nn.log_sigmoid(logit_BL),
            jnp.where(may_be_BLS, weight_BLS, 0.0),
            source_BS,
        )


def loss(pointed: Pointed, softmax_loss_BL: jax.Array, tokens_BL: jax.Array) -> jax.Array:
    """-log p of given tokens, float32 [B, L], of the one that the softmax alone gives."""
    is_it_BLS = pointed.source_BS[:, None] == tokens_BL[..., None]
    copied_BL = jnp.sum(jnp.where(is_it_BLS, pointed.weight_BLS, 0.0), axis=-1)
    return -jnp.logaddexp(
        pointed.log_own_BL - softmax_loss_BL,
        pointed.log_share_BL + jnp.log(jnp.maximum(copied_BL, _TINY)),
    )


def log_probs(pointed: Pointed, logits_BLV: jax.Array) -> jax.Array:
    """Log-probabilities of all tokens, float32 [B, L, V], of the softmax's logits."""
    B, L, V = logits_BLV.shape
    rows, positions = jnp.arange(B)[:, None, None], jnp.arange(L)[None, :, None]
    # What may not be copied has a weight of 0: it may as well be token 0.
    at_BLS = jnp.maximum(pointed.source_BS, 0)[:, None]
    copied_BLV = jnp.zeros((B, L, V)).at[rows, positions, at_BLS].add(pointed.weight_BLS)
    return jnp.logaddexp(
        pointed.log_own_BL[..., None] + jax.nn.log_softmax(logits_BLV),
        pointed.log_share_BL[..., None] + jnp.log(jnp.maximum(copied_BLV, _TINY)),
    )
