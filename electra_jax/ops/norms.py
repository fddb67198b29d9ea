"""LayerNorm and RMSNorm whose backward pass keeps their input alone, in the dtype that it has."""

import functools

import jax
import jax.numpy as jnp


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
        bias_D: float32; None: nothing is added.
        epsilon: added to the mean square.
        centred: take the mean away first (LayerNorm), or not (RMSNorm).
        dtype: of the result; statistics are float32.

    >>> normalize(jnp.array([1.0, 3.0]), jnp.ones(2), None, 0.0, True, jnp.float32).tolist()
    [-1.0, 1.0]
    """
    return _forward(x, scale_D, bias_D, epsilon, centred, dtype)[0]


def _forward(x, scale_D, bias_D, epsilon, centred, dtype):
    wide = x.astype(jnp.float32)
    mean = jnp.mean(wide, axis=-1, keepdims=True) if centred else jnp.zeros((), jnp.float32)
    spread = jnp.mean(jnp.square(wide - mean), axis=-1, keepdims=True)
    inverse = jax.lax.rsqrt(spread + epsilon)
    y = (wide - mean) * inverse * scale_D
    y = y if bias_D is None else y + bias_D
    return y.astype(dtype), (x, scale_D, bias_D, mean, inverse)


def _backward(epsilon, centred, dtype, kept, grad):
    x, scale_D, bias_D, mean, inverse = kept
    grad = grad.astype(jnp.float32)
    normal = (x.astype(jnp.float32) - mean) * inverse
    rows = tuple(range(x.ndim - 1))
    grad_scale_D = jnp.sum(grad * normal, axis=rows)
    grad_bias_D = None if bias_D is None else jnp.sum(grad, axis=rows)
    scaled = grad * scale_D
    along = normal * jnp.mean(scaled * normal, axis=-1, keepdims=True)
    level = jnp.mean(scaled, axis=-1, keepdims=True) if centred else 0.0
    return ((scaled - level - along) * inverse).astype(x.dtype), grad_scale_D, grad_bias_D


normalize.defvjp(_forward, _backward)
