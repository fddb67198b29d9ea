"""LayerNorm and RMSNorm whose backward pass keeps their input alone, in the dtype that it has."""

import functools
from typing import Any

import jax
import jax.numpy as jnp

from electra_jax.core.dims import lift


@functools.partial(jax.custom_vjp, nondiff_argnums=(3, 4, 5))
def normalize(
    x: jax.Array,
    scale_D: jax.Array,
    bias_D: jax.Array | None,
    epsilon: float,
    centred: bool,
    dtype: jnp.dtype,
) -> jax.Array:
    """Brings the last dimension to mean square 1, then scales and shifts it.

    Args:
        x: [..., D], any float dtype.
        scale_D: float32.
        bias_D: float32.
        epsilon: added to the mean square.
        centred: whether the mean is subtracted first (LayerNorm) or not (RMSNorm).
        dtype: of the result; statistics are float32.

    >>> normalize(jnp.array([1.0, 3.0]), jnp.ones(2), None, 0.0, True, jnp.float32).tolist()
    [-1.0, 1.0]
    """
    y = _normal(x, epsilon, centred)[0] * lift(scale_D, x.ndim)
    y = y if bias_D is None else y + lift(bias_D, x.ndim)
    return y.astype(dtype)


def _normal(x: jax.Array, epsilon: float, centred: bool) -> tuple[jax.Array, jax.Array]:
    """x at mean square 1 (and mean 0) in float32, and the factor that brought it there."""
    x = x.astype(jnp.float32)
    x = x - jnp.mean(x, axis=-1, keepdims=True) if centred else x
    inverse = jax.lax.rsqrt(jnp.mean(jnp.square(x), axis=-1, keepdims=True) + epsilon)
    return x * inverse, inverse


_Kept = tuple[jax.Array, jax.Array, jax.Array | None]  # x, scale_D, bias_D


def _forward(
    x: jax.Array, scale_D: jax.Array, bias_D: jax.Array | None, *how: Any
) -> tuple[jax.Array, _Kept]:
    return normalize(x, scale_D, bias_D, *how), (x, scale_D, bias_D)


def _backward(
    epsilon: float, centred: bool, _dtype: jnp.dtype, kept: _Kept, grad: jax.Array
) -> tuple[jax.Array, jax.Array, jax.Array | None]:
    x, scale_D, bias_D = kept
    # The statistics are cheap to compute again, and the memory traffic of keeping them is not.
    normal, inverse = _normal(x, epsilon, centred)
    grad = grad.astype(jnp.float32)
    rows = tuple(range(x.ndim - 1))
    grad_scale_D = jnp.sum(grad * normal, axis=rows)
    grad_bias_D = None if bias_D is None else jnp.sum(grad, axis=rows)
    scaled = grad * lift(scale_D, x.ndim)
    along = normal * jnp.mean(scaled * normal, axis=-1, keepdims=True)
    level = jnp.mean(scaled, axis=-1, keepdims=True) if centred else 0.0
    return ((scaled - level - along) * inverse).astype(x.dtype), grad_scale_D, grad_bias_D


normalize.defvjp(_forward, _backward)
