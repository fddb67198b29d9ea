"""The embedding block that generator and discriminator share, its LayerNorm included."""

import jax
import jax.numpy as jnp
from flax import linen as nn

from electra_jax.config.schema import ModelConfig
from electra_jax.core.dims import constrain
from electra_jax.model.layers import LayerNorm, truncated_normal


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
        self.position_LE = self.param('position', init, (self.model.max_positions, E))
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
