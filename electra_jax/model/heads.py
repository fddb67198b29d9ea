"""What stands on the two encoders: features for the softmax, and one logit a token."""

import jax
import jax.numpy as jnp
from flax import linen as nn

from electra_jax.config.settings import ModelConfig
from electra_jax.model.layers import Dense, Norm, truncated_normal
from electra_jax.ops.activations import gelu


class WordHead(nn.Module):
    """Dense to the embedding width, GELU, LayerNorm: to be compared with word vectors."""

    model: ModelConfig
    width: int  # E of those vectors

    @nn.compact
    def __call__(self, hidden_BPD: jax.Array) -> jax.Array:
        """Features [B, P, E] in the compute dtype."""
        return _features(self.model, self.width, hidden_BPD)


class SoftmaxHead(nn.Module):
    """A word head with one bias per token; the softmax itself is in ops/vocab_head."""

    model: ModelConfig
    width: int  # E of the word vectors
    vocab_rows: int  # V, padded

    @nn.compact
    def __call__(self, hidden_BPD: jax.Array) -> tuple[jax.Array, jax.Array]:
        """Features [B, P, E] in the compute dtype, and the output bias [V] in float32."""
        bias_V = self.param('output_bias', nn.initializers.zeros_init(), (self.vocab_rows,))
        return _features(self.model, self.width, hidden_BPD), bias_V


def _features(model: ModelConfig, E: int, hidden_BPD: jax.Array) -> jax.Array:
    sizes = {'D': hidden_BPD.shape[-1], 'E': E}
    init = truncated_normal(model.init_stddev)
    y_BPE = Dense('BPD,DE->BPE', sizes, model, init, name='dense')(hidden_BPD)
    return Norm(model, name='norm')(gelu(y_BPE))


class CopyGate(nn.Module):
    """One logit a token: how surely it is the original (ELECTRA section 3.4, All-Tokens MLM)."""

    model: ModelConfig

    @nn.compact
    def __call__(self, hidden_BLD: jax.Array) -> jax.Array:
        """Logits [B, L] in float32."""
        return _logit(self.model, hidden_BLD)


class DiscriminatorHead(nn.Module):
    """Dense, GELU, and one logit a token: the higher, the more surely replaced."""

    model: ModelConfig

    @nn.compact
    def __call__(self, hidden_BLD: jax.Array) -> jax.Array:
        """Logits [B, L] in float32."""
        D = hidden_BLD.shape[-1]
        init = truncated_normal(self.model.init_stddev)
        dense = Dense('BLD,DF->BLF', {'D': D, 'F': D}, self.model, init, name='dense')
        return _logit(self.model, gelu(dense(hidden_BLD)))


def _logit(model: ModelConfig, x_BLD: jax.Array) -> jax.Array:
    sizes = {'D': x_BLD.shape[-1], 'C': 1}
    glorot = nn.initializers.glorot_uniform()
    output = Dense('BLD,DC->BLC', sizes, model, glorot, name='output')
    return output(x_BLD)[..., 0].astype(jnp.float32)
