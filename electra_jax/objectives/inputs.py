"""What every objective starts from: a batch, its random draws, and its loss weights."""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from electra_jax.core.batch import Batch
from electra_jax.core.trees import Tree
from electra_jax.ops import corrupt
from electra_jax.ops.corrupt import Masked
from electra_jax.tokenizers.api import SpecialIds

Step = jax.Array | int


class Draws(NamedTuple):
    """All the randomness of a batch but dropout. Every array leads with B."""

    masked: Masked  # the drawn positions, also those that keep their token
    keep_BP: jax.Array  # bool, drawn positions that keep their token in the generator's input
    noise: tuple[jax.Array, ...]  # uniforms in [0, 1) for `vocab_head.predict`
    own_noise: tuple[jax.Array, ...] = ()  # what an objective draws for itself


class Inputs(NamedTuple):
    """One batch made ready; every array leads with B, so it can be cut into microbatches.

    The shares sum to one over the whole global batch: a loss is then a plain sum over rows, and
    the microbatches of a batch add up to exactly the whole.
    """

    batch: Batch  # int32 [B, L] each: tokens, documents, positions, types
    draws: Draws
    masked_share_BP: jax.Array  # float32, weights over their global sum
    token_share_BL: jax.Array  # float32, real tokens over their global number
    maskable_share_BL: jax.Array  # float32, tokens that may be masked, likewise

    @property
    def targets_BP(self) -> jax.Array:
        """int32, the original tokens at the drawn positions."""
        return self.at_masked(self.batch['tokens'])

    def at_masked(self, x_BL: jax.Array) -> jax.Array:
        """The values at the drawn positions, [B, P]."""
        return jnp.take_along_axis(x_BL, self.draws.masked.positions_BP, axis=1)


# batch, random keys by stream, step (None: evaluation), the objective's memory -> inputs. The draw
# of `objectives.given` takes no batch but a pair: a batch and the draws of it.
Draw = Callable[[Any, Mapping[str, jax.Array], Step | None, Tree], Inputs]


def maskable(batch: Batch, special: SpecialIds) -> jax.Array:
    """Which tokens may be masked, bool [B, L]."""
    never = (special.pad, special.cls, special.sep, special.mask)
    return corrupt.maskable(batch['tokens'], batch['documents'], never)


def from_draws(special: SpecialIds, batch: Batch, draws: Draws) -> Inputs:
    """Inputs from draws that are given."""
    return Inputs(
        dict(batch),
        draws,
        masked_share_BP=_shares(draws.masked.weights_BP),
        token_share_BL=_shares(batch['documents'] > 0),
        maskable_share_BL=_shares(maskable(batch, special)),
    )


def alone(inputs: Inputs) -> Inputs:
    """A microbatch with shares that sum to one over itself."""
    return inputs._replace(
        masked_share_BP=_shares(inputs.masked_share_BP > 0),
        token_share_BL=_shares(inputs.token_share_BL > 0),
        maskable_share_BL=_shares(inputs.maskable_share_BL > 0),
    )


def _shares(weights: jax.Array) -> jax.Array:
    weights = weights.astype(jnp.float32)
    # As the reference; so a batch without a single weight has shares of 0, not NaN.
    return weights / (jnp.sum(weights) + 1e-6)
