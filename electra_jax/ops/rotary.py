"""Rotary positions: queries and keys turned by angles that grow with the position."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np


class Rotation(NamedTuple):
    """How far each pair of numbers is turned, float32 [B, L, K / 2]."""

    cos: jax.Array
    sin: jax.Array


def rotation(positions_BL: jax.Array, K: int, base: float, length: int | None = None) -> Rotation:
    """The turns of each position: pair i of K / 2 by position * base ** (-2 i / K).

    Positions begin at 0 in each document, so they are below L, or below `length` if it is given.
    """
    # A constant: XLA fuses what it can compute into each use, and would compute these sines again
    # for every head of every layer.
    frequency = base ** (-np.arange(0, K, 2) / K)
    angle = np.arange(length or positions_BL.shape[1])[:, None] * frequency
    cos, sin = (jnp.asarray(f(angle), jnp.float32) for f in (np.cos, np.sin))
    # A position of L or more would be an error of the caller's: NaN, not the last one's turn.
    return Rotation(*(x.at[positions_BL].get(mode='fill', fill_value=jnp.nan) for x in (cos, sin)))


def rotate(x_BLHK: jax.Array, by: Rotation) -> jax.Array:
    """Turns number i together with number i + K / 2; same dtype.

    The product of a query and a key so turned depends on their distance alone (RoFormer, section
    3.2.2).
    """
    cos, sin = (part[:, :, None] for part in by)
    first, second = jnp.split(x_BLHK.astype(jnp.float32), 2, axis=-1)
    turned = (first * cos - second * sin, second * cos + first * sin)
    return jnp.concatenate(turned, axis=-1).astype(x_BLHK.dtype)
