"""Masking and corruption as pure functions of their random draws (ELECTRA section 3.1).

Everything here is told which draws to use, so a test or another implementation can be given the
same ones; `objectives/` makes them from keys.
"""

import jax
import jax.numpy as jnp


def max_masked(mask_rate: float, row_length: int) -> int:
    """P: masked positions of a full row, ceil(rate * L) as in the paper.

    >>> max_masked(0.15, 128)
    20
    """
    return int(-(-(mask_rate * row_length - _ROUNDING) // 1))


# ceil(0.15 * 20) must be 3, though 0.15 * 20 is a little more than 3 in floating point.
_ROUNDING = 1e-4


def candidates(tokens_BL: jax.Array, documents_BL: jax.Array, special_ids: tuple[int, ...]):
    """Which positions may be masked: real tokens that are not special.

    Args:
        tokens_BL: int32 token ids.
        documents_BL: int32; 0 is padding.
        special_ids: ids that are never masked ([CLS], [SEP], [MASK], [PAD]).

    Returns:
        bool [B, L].
    """
    allowed = documents_BL > 0
    for special in special_ids:
        allowed &= tokens_BL != special
    return allowed


def choose_positions(
    noise_BL: jax.Array, candidates_BL: jax.Array, documents_BL: jax.Array, mask_rate: float
) -> tuple[jax.Array, jax.Array]:
    """Draws ceil(rate * n) distinct positions of each row, n its number of real tokens.

    Args:
        noise_BL: float32 uniforms; the rows' largest values among the candidates win, which is a
            uniform draw without replacement.
        candidates_BL: bool, positions that may be drawn.
        documents_BL: int32; 0 is padding.
        mask_rate: share of a row's real tokens, special ones counted in as in the paper.

    Returns:
        positions_BP: int32, distinct where the weight is 1, and 0 where it is 0.
        weights_BP: float32, 1 for a drawn position and 0 for an unused slot.
    """
    P = max_masked(mask_rate, noise_BL.shape[-1])
    real_B = jnp.sum(documents_BL > 0, axis=-1)
    wanted_B = jnp.ceil(mask_rate * real_B - _ROUNDING).astype(jnp.int32)
    wanted_B = jnp.minimum(wanted_B, jnp.sum(candidates_BL, axis=-1))
    _, positions_BP = jax.lax.top_k(jnp.where(candidates_BL, noise_BL, -1.0), P)
    used_BP = jnp.arange(P) < wanted_B[:, None]
    return jnp.where(used_BP, positions_BP, 0), used_BP.astype(jnp.float32)


def write_tokens(
    tokens_BL: jax.Array, positions_BP: jax.Array, weights_BP: jax.Array, new_BP: jax.Array
) -> jax.Array:
    """`tokens_BL` with `new_BP` at the drawn positions; unused slots write nothing.

    >>> write_tokens(jnp.array([[5, 6, 7]]), jnp.array([[2, 0]]), jnp.array([[1., 0.]]),
    ...              jnp.array([[9, 9]])).tolist()
    [[5, 6, 9]]
    """
    B, L = tokens_BL.shape
    rows_B1 = jnp.arange(B)[:, None]
    nowhere = L  # out of bounds, dropped
    targets_BP = jnp.where(weights_BP > 0, positions_BP, nowhere)
    return tokens_BL.at[rows_B1, targets_BP].set(new_BP, mode='drop')


def mask_tokens(
    tokens_BL: jax.Array,
    positions_BP: jax.Array,
    weights_BP: jax.Array,
    keep_BP: jax.Array,
    mask_id: int,
) -> jax.Array:
    """The generator's input: [MASK] at the drawn positions, except where `keep_BP` is true."""
    original_BP = jnp.take_along_axis(tokens_BL, positions_BP, axis=1)
    new_BP = jnp.where(keep_BP, original_BP, mask_id)
    return write_tokens(tokens_BL, positions_BP, weights_BP, new_BP)


def corrupt(
    tokens_BL: jax.Array, positions_BP: jax.Array, weights_BP: jax.Array, sampled_BP: jax.Array
) -> tuple[jax.Array, jax.Array]:
    """The discriminator's input and labels.

    Args:
        tokens_BL: int32, the original text.
        positions_BP: int32, from `choose_positions`.
        weights_BP: float32, likewise.
        sampled_BP: int32, the generator's samples.

    Returns:
        corrupted_BL: int32, the text with the samples written in.
        is_fake_BL: bool; a sample that hits the original token is not fake (section 2).
    """
    corrupted_BL = write_tokens(tokens_BL, positions_BP, weights_BP, sampled_BP)
    return corrupted_BL, corrupted_BL != tokens_BL
