"""Rotary positions: queries and keys turned by angles that grow with the position."""

from typing import NamedTuple

import jax
import jax.numpy as jnp


class Turns(NamedTuple):
    """How far each pair of numbers is turned, float32 [B, L, K / 2]."""

    cos: jax.Array
    sin: jax.Array


def turns(positions_BL: jax.Array, K: int, base: float) -> Turns:
    """The turns of each position: pair i of K / 2 by position * base ** (-2 i / K).

    Args:
        positions_BL: int32, from 0 in each document.
        K: width of a head, even.
        base: the slowest pair has a wavelength of about 2 pi times this.
    """
    frequency = base ** (-jnp.arange(0, K, 2, dtype=jnp.float32) / K)
    angle = positions_BL[..., None].astype(jnp.float32) * frequency
    return Turns(jnp.cos(angle), jnp.sin(angle))


def rotate(x_BLHK: jax.Array, by: Turns) -> jax.Array:
    """Turns number i together with number i + K / 2; same dtype.

    The product of a query and a key so turned depends on their distance alone (RoFormer, section
    3.2.2).
    """
    cos, sin = (part[:, :, None] for part in by)
    first, second = jnp.split(x_BLHK.astype(jnp.float32), 2, axis=-1)
    turned = (first * cos - second * sin, second * cos + first * sin)
    return jnp.concatenate(turned, axis=-1).astype(x_BLHK.dtype)
