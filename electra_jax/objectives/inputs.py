"""What every masked objective starts from: a batch, its random draws, and its loss weights."""

from collections.abc import Mapping
from typing import NamedTuple

import jax
import jax.numpy as jnp

from electra_jax.config.schema import ObjectiveConfig
from electra_jax.ops import corrupt, vocab_head
from electra_jax.tokenizers.api import SpecialIds

Batch = Mapping[str, jax.Array]


class Inputs(NamedTuple):
    """One batch made ready; every array leads with B, so a batch can be cut into parts.

    The shares sum to one over the whole global batch: a loss is then a plain sum over rows, and
    the parts of a batch add up to exactly the whole.
    """

    batch: Batch  # int32 [B, L] each: tokens, documents, positions, types
    masked_BP: jax.Array  # int32, drawn positions
    weights_BP: jax.Array  # float32, 1 where a slot is used
    keep_BP: jax.Array  # bool, drawn positions that keep their token in the generator's input
    noise: tuple[jax.Array, ...]  # uniforms in (0, 1) for vocab_head.sample
    masked_share_BP: jax.Array  # float32, weights over their global sum
    token_share_BL: jax.Array  # float32, real tokens over their global number

    @property
    def targets_BP(self) -> jax.Array:
        """int32, the original tokens at the drawn positions."""
        return jnp.take_along_axis(self.batch['tokens'], self.masked_BP, axis=1)


def from_draws(
    batch: Batch,
    masked_BP: jax.Array,
    weights_BP: jax.Array,
    keep_BP: jax.Array,
    noise: tuple[jax.Array, ...],
) -> Inputs:
    """Inputs from draws that are given, to compare numbers with another implementation."""
    real_BL = (batch['documents'] > 0).astype(jnp.float32)
    return Inputs(
        dict(batch),
        masked_BP,
        weights_BP,
        keep_BP,
        noise,
        masked_share_BP=weights_BP / (jnp.sum(weights_BP) + 1e-6),
        token_share_BL=real_BL / (jnp.sum(real_BL) + 1e-6),
    )


def draw(
    settings: ObjectiveConfig,
    special: SpecialIds,
    vocab_rows: int,
    batch: Batch,
    keys: Mapping[str, jax.Array],
) -> Inputs:
    """Makes a batch's draws from keys (streams 'positions', 'keep' and 'sample').

    The draws depend on the keys and on the place of a row in the global batch, not on the mesh.
    """
    tokens_BL, documents_BL = batch['tokens'], batch['documents']
    B, L = tokens_BL.shape
    never = (special.pad, special.cls, special.sep, special.mask)
    candidates_BL = corrupt.candidates(tokens_BL, documents_BL, never)
    noise_BL = jax.random.uniform(keys['positions'], (B, L))
    masked_BP, weights_BP = corrupt.choose_positions(
        noise_BL, candidates_BL, documents_BL, settings.mask_rate
    )
    P = masked_BP.shape[1]
    keep_BP = jax.random.uniform(keys['keep'], (B, P)) < settings.keep_rate
    shapes = vocab_head.noise_shapes(B, P, vocab_rows, settings.sampler)
    noise = tuple(
        jax.random.uniform(jax.random.fold_in(keys['sample'], i), shape)
        for i, shape in enumerate(shapes)
    )
    return from_draws(batch, masked_BP, weights_BP, keep_BP, noise)


def masked_batch(inputs: Inputs, special: SpecialIds) -> Batch:
    """The generator's input: the batch with [MASK] at the drawn positions."""
    masked_BL = corrupt.mask_tokens(
        inputs.batch['tokens'], inputs.masked_BP, inputs.weights_BP, inputs.keep_BP, special.mask
    )
    return {**inputs.batch, 'tokens': masked_BL}
