"""Generator and discriminator around one embedding block; docs/design.md: why Flax Linen."""

import dataclasses

import jax
import jax.numpy as jnp
from flax import linen as nn

from electra_jax.config import shapes
from electra_jax.config.settings import ModelConfig
from electra_jax.core.batch import Batch
from electra_jax.core.dims import constrain
from electra_jax.model import images
from electra_jax.model.embeddings import Embeddings
from electra_jax.model.encoder import Encoder, Stack
from electra_jax.model.heads import DiscriminatorHead, LogitHead, SoftmaxHead, WordHead
from electra_jax.ops.vocab_softmax import SoftmaxInputs


class Electra(nn.Module):
    """Both networks (ELECTRA figure 2); each method runs one of them on a batch.

    Objectives call the pure functions that `model.bind` makes of these methods: params first,
    dropout_key last.

    A batch has tokens, documents, positions and types, int32 [B, L] each. Documents are 0 on
    padding and otherwise number the documents of a row, which do not see each other. A model of
    images may have them in a batch, too (`model.images`); results are about the text alone.
    """

    model: ModelConfig
    vocab_size: int  # tokens
    vocab_rows: int  # V, padded

    def setup(self) -> None:
        """Names all networks and heads; flax makes parameters only of those that run."""
        model, V = self.model, self.vocab_rows
        E, generator_E = model.embedding_size, shapes.generator_embedding_size(model)
        self.embeddings = Embeddings(model, self.vocab_size, V, E)
        self.generator_embeddings = Embeddings(model, self.vocab_size, V, generator_E)
        self.embedding_delta = Embeddings(model, self.vocab_size, V, E, is_delta=True)

        shape = shapes.generator_shape(model)
        self.generator = Encoder(model, shape)
        self.generator_ltr = Encoder(model, shape, 'before')
        self.generator_rtl = Encoder(model, shape, 'after')
        self.generator_head = SoftmaxHead(model, generator_E, V)

        shape = shapes.discriminator_shape(model)
        self.discriminator = Encoder(model, shape)
        self.discriminator_head = DiscriminatorHead(model)
        self.language_head = SoftmaxHead(model, E, V)
        # The higher, the more surely the original (ELECTRA section 3.4, All-Tokens MLM).
        self.copy_gate = LogitHead(model)
        self.detector = Stack(model, dataclasses.replace(shape, num_layers=1))
        self.selection_head = WordHead(model, E)

    def generate(self, batch: Batch, masked_BP: jax.Array | None) -> SoftmaxInputs:
        """The generator's softmax at the masked positions only (None: everywhere)."""
        if self.model.generator == 'tied':
            hidden_BLD = self.encode(batch)
        elif self.model.generator == 'two_tower':
            hidden_BLD = self._two_towers(batch)
        else:
            hidden_BLD, _ = self._run(self.generator, self._embed_for_generator(batch), batch)
            hidden_BLD = images.text_alone(hidden_BLD, batch)
        features_BPE, bias_V = self.generator_head(_at(hidden_BLD, masked_BP))
        word_VE = self._embeddings_of_generator().tables().word_VE
        return SoftmaxInputs(features_BPE, word_VE.astype(features_BPE.dtype), bias_V)

    def encode(self, batch: Batch) -> jax.Array:
        """The discriminator's last hidden states [B, L, D], in the compute dtype."""
        hidden_BLD, _ = self._run(self.discriminator, self.embed_for_discriminator(batch), batch)
        return images.text_alone(hidden_BLD, batch)

    def discriminate(self, batch: Batch) -> jax.Array:
        """Logits [B, L], float32: has this token been replaced?"""
        return self.discriminator_head(self.encode(batch))

    def restore(
        self, batch: Batch, masked_BP: jax.Array | None, gated: bool
    ) -> tuple[SoftmaxInputs, jax.Array | None]:
        """The discriminator's encoder naming the original tokens (Replace and All-Tokens MLM).

        Returns:
            As `generate`, and the copy gate's logits [B, L] in float32 (None if not `gated`).
        """
        hidden_BLD = self.encode(batch)
        gate_BL = self.copy_gate(hidden_BLD) if gated else None
        features_BPE, bias_V = self.language_head(_at(hidden_BLD, masked_BP))
        word_VE = self.discriminator_words().astype(features_BPE.dtype)
        return SoftmaxInputs(features_BPE, word_VE, bias_V), gate_BL

    def detect_and_select(
        self, batch: Batch, masked_BP: jax.Array, candidates_BPA: jax.Array
    ) -> tuple[jax.Array, jax.Array]:
        """Which tokens were replaced, and which of a few words each one was (TEAMS).

        The two tasks share all but the last layer (TEAMS section 3.3). The encoder that is kept
        after training is the one that selects words; the detector's last layer goes with its head.

        Returns:
            Logits, float32: replaced? [B, L], and of each candidate [B, P, A].
        """
        embedded_BLE = self.embed_for_discriminator(batch)
        hidden_BLD, shared_BLD = self._run(self.discriminator, embedded_BLE, batch)
        detected_BLD, _ = self._run(self.detector, shared_BLD, batch)
        replaced_BL = self.discriminator_head(images.text_alone(detected_BLD, batch))
        features_BPE = self.selection_head(_at(images.text_alone(hidden_BLD, batch), masked_BP))
        words_BPAE = self.discriminator_words()[candidates_BPA].astype(features_BPE.dtype)
        selected_BPA = jnp.einsum(
            'BPE,BPAE->BPA', features_BPE, words_BPAE, preferred_element_type=jnp.float32
        )
        return replaced_BL, selected_BPA

    def _two_towers(self, batch: Batch) -> jax.Array:
        """What is left of each token and what is right of it, [B, L, 2 D]."""
        x_BLE = self._embed_for_generator(batch)
        left_BLD, right_BLD = (
            images.text_alone(self._run(tower, x_BLE, batch)[0], batch)
            for tower in (self.generator_ltr, self.generator_rtl)
        )
        towers = (jnp.roll(left_BLD, 1, axis=1), jnp.roll(right_BLD, -1, axis=1))
        return jnp.concatenate(towers, axis=-1)

    def _run(self, layers: Stack, x_BLD: jax.Array, batch: Batch) -> tuple[jax.Array, jax.Array]:
        """The results of layers for what `Embeddings` makes of a batch, patches included."""
        return layers(x_BLD, images.with_patches(self.model, batch))

    def _embeddings_of_generator(self) -> Embeddings:
        untied = self.model.embedding_sharing == 'untied'
        return self.generator_embeddings if untied else self.embeddings

    def _embed_for_generator(self, batch: Batch) -> jax.Array:
        return self._embeddings_of_generator()(batch)

    def embed_for_discriminator(self, batch: Batch) -> jax.Array:
        """What the discriminator reads, [B, L, E] in the compute dtype."""
        if self.model.embedding_sharing == 'disentangled':
            # `Embeddings` lets no gradient through to `base`.
            return self.embedding_delta(batch, base=self.embeddings.tables())
        return self.embeddings(batch)

    def discriminator_words(self) -> jax.Array:
        """The discriminator's word vectors [V, E], float32."""
        word_VE = self.embeddings.tables().word_VE
        if self.model.embedding_sharing == 'disentangled':
            return jax.lax.stop_gradient(word_VE) + self.embedding_delta.tables().word_VE
        return word_VE


def _at(hidden_BLD: jax.Array, masked_BP: jax.Array | None) -> jax.Array:
    """The states at some positions only, [B, P, D]; None: at all."""
    if masked_BP is not None:
        hidden_BLD = jnp.take_along_axis(hidden_BLD, masked_BP[..., None], axis=1)
    return constrain(hidden_BLD, 'BPD')
