"""LayerNorm whose backward pass keeps its input alone, in the dtype that it came in."""

import functools

import jax
import jax.numpy as jnp


@functools.partial(jax.custom_vjp, nondiff_argnums=(3, 4))
def layer_norm(
    x: jax.Array, scale_D: jax.Array, bias_D: jax.Array, epsilon: float, dtype: jnp.dtype
) -> jax.Array:
    """(x - mean) / sqrt(variance + epsilon) * scale + bias over the last dimension.

    What JAX would derive keeps several float32 arrays of x's size; the statistics are cheap to
    compute again, and the memory traffic is not.

    Args:
        x: [..., D], any float dtype; statistics are float32.
        scale_D, bias_D: float32.
        epsilon: added to the variance.
        dtype: of the result.

    >>> layer_norm(jnp.array([1., 3.]), jnp.ones(2), jnp.zeros(2), 0.0, jnp.float32).tolist()
    [-1.0, 1.0]
    """
    normal, _ = _normalize(x, epsilon)
    return (normal * scale_D + bias_D).astype(dtype)


def _normalize(x, epsilon):
    """x at mean 0 and variance 1, float32, and what it was multiplied with."""
    x = x.astype(jnp.float32)
    centred = x - jnp.mean(x, axis=-1, keepdims=True)
    variance = jnp.mean(jnp.square(centred), axis=-1, keepdims=True)
    factor = jax.lax.rsqrt(variance + epsilon)
    return centred * factor, factor


def _forward(x, scale_D, bias_D, epsilon, dtype):
    return layer_norm(x, scale_D, bias_D, epsilon, dtype), (x, scale_D, bias_D)


def _backward(epsilon, dtype, kept, grad):
    del dtype
    x, scale_D, bias_D = kept
    normal, factor = _normalize(x, epsilon)
    grad = grad.astype(jnp.float32)
    inner = grad * scale_D
    along = jnp.mean(inner * normal, axis=-1, keepdims=True)
    grad_x = factor * (inner - jnp.mean(inner, axis=-1, keepdims=True) - normal * along)
    rows = tuple(range(x.ndim - 1))
    grad_scale_D = jnp.sum(grad * normal, axis=rows)
    grad_bias_D = jnp.sum(grad, axis=rows)
    return (
        grad_x.astype(x.dtype),
        grad_scale_D.astype(scale_D.dtype),
        grad_bias_D.astype(bias_D.dtype),
    )


layer_norm.defvjp(_forward, _backward)
