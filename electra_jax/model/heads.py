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
        sizes = {'D': hidden_BPD.shape[-1], 'E': self.width}
        init = truncated_normal(self.model.init_stddev)
        dense = Dense('BPD,DE->BPE', sizes, self.model, init, name='dense')
        return Norm(self.model, name='norm')(gelu(dense(hidden_BPD)))


class SoftmaxHead(WordHead):
    """A word head with one bias per token; the softmax itself is in ops/vocab_head."""

    vocab_rows: int  # V, padded

    @nn.compact
    def __call__(  # type: ignore[override]  # two results
        self, hidden_BPD: jax.Array
    ) -> tuple[jax.Array, jax.Array]:
        """Features [B, P, E] in the compute dtype, and the output bias [V] in float32."""
        bias_V = self.param('output_bias', nn.initializers.zeros_init(), (self.vocab_rows,))
        return super().__call__(hidden_BPD), bias_V


class LogitHead(nn.Module):
    """One logit a token."""

    model: ModelConfig

    @nn.compact
    def __call__(self, hidden_BLD: jax.Array) -> jax.Array:
        """Logits [B, L] in float32."""
        sizes = {'D': hidden_BLD.shape[-1], 'C': 1}
        glorot = nn.initializers.glorot_uniform()
        output = Dense('BLD,DC->BLC', sizes, self.model, glorot, name='output')
        return output(hidden_BLD)[..., 0].astype(jnp.float32)


class DiscriminatorHead(LogitHead):
    """Dense, GELU, a norm where the model has one, and one logit a token: high if replaced."""

    @nn.compact
    def __call__(self, hidden_BLD: jax.Array) -> jax.Array:
        """Logits [B, L] in float32."""
        D = hidden_BLD.shape[-1]
        init = truncated_normal(self.model.init_stddev)
        dense = Dense('BLD,DF->BLF', {'D': D, 'F': D}, self.model, init, name='dense')
        x_BLF = gelu(dense(hidden_BLD))
        if self.model.discriminator_head_norm:
            x_BLF = Norm(self.model, name='norm')(x_BLF)
        return super().__call__(x_BLF)
