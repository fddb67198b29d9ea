"""Generator and discriminator around one embedding block."""

import jax
import jax.numpy as jnp
from flax import linen as nn

from electra_jax.config.presets import discriminator_shape, generator_shape
from electra_jax.config.schema import ModelConfig
from electra_jax.core.dims import constrain
from electra_jax.model.embeddings import Embeddings
from electra_jax.model.encoder import Encoder
from electra_jax.model.heads import DiscriminatorHead, GeneratorHead


class Electra(nn.Module):
    """Both networks (ELECTRA figure 2); each method runs one of them.

    Tokens, documents, positions and types are int32 [B, L]; `documents_BL` is 0 on padding and
    otherwise numbers the documents of a row, which never see each other.
    """

    model: ModelConfig
    vocab_rows: int  # V, padded
    dtype: jnp.dtype

    def setup(self):
        """Builds both networks; parameters of one that is never run are not made."""
        self.embeddings = Embeddings(self.model, self.vocab_rows, self.dtype)
        self.generator = Encoder(self.model, generator_shape(self.model), self.dtype)
        self.generator_head = GeneratorHead(self.model, self.vocab_rows, self.dtype)
        self.discriminator = Encoder(self.model, discriminator_shape(self.model), self.dtype)
        self.discriminator_head = DiscriminatorHead(self.model, self.dtype)

    def generate(
        self,
        tokens_BL: jax.Array,
        documents_BL: jax.Array,
        positions_BL: jax.Array,
        types_BL: jax.Array,
        masked_BP: jax.Array,
    ) -> tuple[jax.Array, jax.Array, jax.Array]:
        """The generator up to its softmax, at the masked positions only.

        Returns:
            features_BPE in the compute dtype, the word table [V, E] and the output bias [V].
        """
        x_BLE = self.embeddings(tokens_BL, positions_BL, types_BL)
        hidden_BLD = self.generator(x_BLE, documents_BL)
        hidden_BPD = jnp.take_along_axis(hidden_BLD, masked_BP[..., None], axis=1)
        features_BPE, bias_V = self.generator_head(constrain(hidden_BPD, 'BPD'))
        return features_BPE, self.embeddings.table(), bias_V

    def encode(
        self,
        tokens_BL: jax.Array,
        documents_BL: jax.Array,
        positions_BL: jax.Array,
        types_BL: jax.Array,
    ) -> jax.Array:
        """The discriminator's last hidden states [B, L, D], in the compute dtype."""
        x_BLE = self.embeddings(tokens_BL, positions_BL, types_BL)
        return self.discriminator(x_BLE, documents_BL)

    def discriminate(
        self,
        tokens_BL: jax.Array,
        documents_BL: jax.Array,
        positions_BL: jax.Array,
        types_BL: jax.Array,
    ) -> jax.Array:
        """Logits [B, L], float32: has this token been replaced?"""
        hidden_BLD = self.encode(tokens_BL, documents_BL, positions_BL, types_BL)
        return self.discriminator_head(hidden_BLD)
