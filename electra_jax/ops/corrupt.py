"""Masking and corruption as pure functions of their random draws (ELECTRA section 3.1).

Every function takes its draws as arguments, so a test or another implementation can use the same
ones; `objectives/draws.py` makes them from keys.
"""

import math
from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp


class Masked(NamedTuple):
    """The positions of each row that were drawn, in P slots of which some may be unused."""

    positions_BP: jax.Array  # int32, 0 in an unused slot
    weights_BP: jax.Array  # float32, 1 where a slot is used, otherwise 0


def maskable(
    tokens_BL: jax.Array, documents_BL: jax.Array, special_ids: tuple[int, ...]
) -> jax.Array:
    """Which positions may be masked, bool [B, L]: real tokens that are not special."""
    allowed = documents_BL > 0  # 0 is padding
    for special in special_ids:
        allowed &= tokens_BL != special
    return allowed


# ceil(0.15 * 20) must be 3, though 0.15 * 20 is a little more than 3 in floating point.
_ROUNDING = 1e-4


def max_distinct(mask_rate: float, row_length: int) -> int:
    """P: masked positions of a full row, ceil(rate * L) as in the paper.

    >>> max_distinct(0.15, 128)
    20
    """
    return math.ceil(mask_rate * row_length - _ROUNDING)


def choose_distinct(
    scores_BL: jax.Array,
    maskable_BL: jax.Array,
    documents_BL: jax.Array,
    mask_rate: jax.Array | float,
    P: int,
) -> Masked:
    """Draws ceil(rate * n) distinct positions of each row, n its number of real tokens.

    At most the maskable ones are drawn. Special tokens count as real ones, as in the paper. The
    maskable tokens of largest scores win (the first of equal ones), which with uniform numbers is a
    draw without replacement.
    """
    real_B = jnp.sum(documents_BL > 0, axis=-1)
    wanted_B = jnp.ceil(mask_rate * real_B - _ROUNDING).astype(jnp.int32)
    wanted_B = jnp.minimum(wanted_B, jnp.sum(maskable_BL, axis=-1))
    _, positions_BP = jax.lax.top_k(jnp.where(maskable_BL, scores_BL, -jnp.inf), P)
    used_BP = jnp.arange(P)[None] < wanted_B[:, None]
    return Masked(jnp.where(used_BP, positions_BP, 0), used_BP.astype(jnp.float32))


def max_reference(mask_rate: float, row_length: int) -> int:
    """P of the reference, which leaves room for a little more than rate * L.

    >>> max_reference(0.15, 128), max_reference(0.15, 512), max_reference(0.25, 512)
    (19, 79, 130)
    """
    return int((mask_rate + 0.005) * row_length)


def choose_reference(
    noise_BP: jax.Array,
    maskable_BL: jax.Array,
    documents_BL: jax.Array,
    mask_rate: jax.Array | float,
    P: int,
) -> Masked:
    """Draws round(rate * n) positions with replacement (electra, pretrain_helpers.py).

    Halves round to even; at least one is drawn, unless nothing is maskable; positions may repeat.
    """
    count_B = jnp.sum(maskable_BL, axis=-1)
    real_B = jnp.sum(documents_BL > 0, axis=-1).astype(jnp.float32)
    wanted_B = jnp.clip(jnp.round(real_B * mask_rate), 1, P)
    used_BP = (jnp.arange(P)[None] < wanted_B[:, None]) & (count_B[:, None] > 0)
    rank_BP = jnp.minimum((noise_BP * count_B[:, None]).astype(jnp.int32), count_B[:, None] - 1)
    # The maskable token of rank r stands where their running count first exceeds r.
    running_BL = jnp.cumsum(maskable_BL, axis=-1)
    positions_BP = jnp.sum(running_BL[:, None, :] <= rank_BP[..., None], axis=-1)
    return Masked(jnp.where(used_BP, positions_BP, 0), used_BP.astype(jnp.float32))


class PositionRule(NamedTuple):
    """One way of drawing the positions to mask."""

    slots: Callable[[float, int], int]  # mask rate, L -> P
    noise_shape: Callable[[int, int, int], tuple[int, ...]]  # B, L, P -> shape of the uniforms
    # Scores or noise of that shape, and the other arguments of `choose_distinct`.
    choose: Callable[..., Masked]


POSITION_RULES: dict[str, PositionRule] = {
    'distinct': PositionRule(max_distinct, lambda B, L, P: (B, L), choose_distinct),
    'reference': PositionRule(max_reference, lambda B, L, P: (B, P), choose_reference),
}


def write_tokens(tokens_BL: jax.Array, masked: Masked, new_BP: jax.Array) -> jax.Array:
    """`tokens_BL` with `new_BP` at the positions of the used slots.

    Where several slots write to one position it is given the mean of their values, rounded down
    for integers, as in the reference: with distinct positions that never happens.

    >>> one = Masked(jnp.array([[2, 0]]), jnp.array([[1.0, 0.0]]))
    >>> write_tokens(jnp.array([[5, 6, 7]]), one, jnp.array([[9, 9]])).tolist()
    [[5, 6, 9]]
    >>> twice = Masked(jnp.array([[2, 2]]), jnp.array([[1.0, 1.0]]))
    >>> write_tokens(jnp.array([[5, 6, 7]]), twice, jnp.array([[3, 8]])).tolist()
    [[5, 6, 5]]
    """
    count_BL = count_writes(tokens_BL, masked)
    sum_BL = _add_at(jnp.zeros_like(tokens_BL), masked, new_BP)
    several_BL = jnp.maximum(count_BL, 1)
    whole = jnp.issubdtype(tokens_BL.dtype, jnp.integer)
    mean_BL = sum_BL // several_BL if whole else sum_BL / several_BL
    return jnp.where(count_BL > 0, mean_BL, tokens_BL)


def count_writes(tokens_BL: jax.Array, masked: Masked) -> jax.Array:
    """How many of the used slots point at each position, int32 [B, L]."""
    zeros_BL = jnp.zeros(tokens_BL.shape, jnp.int32)
    return _add_at(zeros_BL, masked, jnp.ones(masked.positions_BP.shape, jnp.int32))


def _add_at(x_BL: jax.Array, masked: Masked, new_BP: jax.Array) -> jax.Array:
    rows_B1 = jnp.arange(x_BL.shape[0])[:, None]
    nowhere = x_BL.shape[1]  # out of bounds, dropped
    targets_BP = jnp.where(masked.weights_BP > 0, masked.positions_BP, nowhere)
    return x_BL.at[rows_B1, targets_BP].add(new_BP.astype(x_BL.dtype), mode='drop')


def mask_tokens(
    tokens_BL: jax.Array, masked: Masked, keep_BP: jax.Array, mask_id: int
) -> jax.Array:
    """The generator's input: [MASK] where a drawn slot does not keep its token.

    A position drawn twice is masked if either draw does not keep it, as in the reference.
    """
    changed = masked._replace(weights_BP=(masked.weights_BP > 0) & ~keep_BP)
    masked_BL = count_writes(tokens_BL, changed) > 0
    return jnp.where(masked_BL, mask_id, tokens_BL)


def corrupt(
    tokens_BL: jax.Array, masked: Masked, sampled_BP: jax.Array
) -> tuple[jax.Array, jax.Array]:
    """The discriminator's input: the text with the generator's samples at the drawn positions.

    Also returns where samples were written, bool [B, L], whether or not they hit the original.
    """
    corrupted_BL = write_tokens(tokens_BL, masked, sampled_BP)
    return corrupted_BL, count_writes(tokens_BL, masked) > 0
