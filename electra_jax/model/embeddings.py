"""The embedding block that generator and discriminator share, its LayerNorm included."""

import jax
import jax.numpy as jnp
from flax import linen as nn

from electra_jax.config.schema import ModelConfig
from electra_jax.core.dims import constrain
from electra_jax.model.layers import LayerNorm, truncated_normal


def sinusoids(key: jax.Array, shape: tuple[int, int]) -> jax.Array:
    """sin and cos of the position at E / 2 wavelengths from 2 pi to 10,000 x 2 pi, [L, E]."""
    del key
    L, E = shape
    wavelengths = 10_000.0 ** (jnp.arange((E + 1) // 2) / ((E + 1) // 2))
    angles = jnp.arange(L)[:, None] / wavelengths
    return jnp.concatenate([jnp.sin(angles), jnp.cos(angles)], axis=1)[:, :E]


def _scaled_sinusoids(init: nn.initializers.Initializer) -> nn.initializers.Initializer:
    """Sinusoids with the deviation that `init` would give."""

    def make(key: jax.Array, shape: tuple[int, int]) -> jax.Array:
        return sinusoids(key, shape) * (jnp.std(init(key, shape)) * 2**0.5)

    return make


# How the learned position table starts. Neighbours in a sinusoidal one are already related, so
# attention to a token at a fixed distance is found in fewer steps.
POSITION_INITS = {'normal': lambda init: init, 'sinusoidal': _scaled_sinusoids}


class Embeddings(nn.Module):
    """Word, position and type vectors summed and normalized (ELECTRA section 3.2)."""

    model: ModelConfig
    vocab_rows: int  # V, padded
    dtype: jnp.dtype

    def setup(self):
        """Makes the three tables and the shared LayerNorm."""
        init = truncated_normal(self.model.init_stddev)
        E = self.model.embedding_size
        self.word_VE = self.param('word', init, (self.vocab_rows, E))
        self.position_LE = self.param(
            'position',
            POSITION_INITS[self.model.position_init](init),
            (self.model.max_positions, E),
        )
        self.type_TE = self.param('type', init, (self.model.type_vocab_size, E))
        self.norm = LayerNorm(self.model.layer_norm_epsilon, self.dtype)

    def __call__(
        self, tokens_BL: jax.Array, positions_BL: jax.Array, types_BL: jax.Array
    ) -> jax.Array:
        """[B, L, E] in the compute dtype; each network adds its own dropout."""
        x_BLE = self.word_VE[tokens_BL]
        x_BLE += self.position_LE[positions_BL]
        x_BLE += self.type_TE[types_BL]
        return self.norm(constrain(x_BLE, 'BLE'))

    def table(self) -> jax.Array:
        """The word table [V, E], which the generator's softmax uses again."""
        return self.word_VE
