"""GELU, GeGLU and softmax whose backward passes keep their inputs or results alone."""

import math

import jax
import jax.numpy as jnp


@jax.custom_vjp
def gelu(x: jax.Array) -> jax.Array:
    """The exact GELU, x * Phi(x), by the error function, as BERT and ELECTRA use it.

    >>> round(float(gelu(jnp.array(1.0))), 5)
    0.84134
    """
    wide = x.astype(jnp.float32)  # in bfloat16 the tail below -3 would be lost
    return (wide * _normal_cdf(wide)).astype(x.dtype)


def _normal_cdf(x: jax.Array) -> jax.Array:
    return 0.5 * (1.0 + jax.lax.erf(x * math.sqrt(0.5)))


def _gelu_forward(x: jax.Array) -> tuple[jax.Array, jax.Array]:
    return gelu(x), x


def _gelu_backward(x: jax.Array, grad: jax.Array) -> tuple[jax.Array]:
    # Phi and its density again from x, rather than stored: cheaper than the memory traffic.
    wide = x.astype(jnp.float32)
    density = jnp.exp(-0.5 * wide * wide) * (1.0 / math.sqrt(2.0 * math.pi))
    return ((grad * (_normal_cdf(wide) + wide * density)).astype(x.dtype),)


gelu.defvjp(_gelu_forward, _gelu_backward)


@jax.custom_vjp
def geglu(gate: jax.Array, value: jax.Array) -> jax.Array:
    """gelu(gate) * value; keeps these two and no product of theirs (Shazeer 2020)."""
    return gelu(gate) * value


_Pair = tuple[jax.Array, jax.Array]  # gate, value


def _geglu_forward(gate: jax.Array, value: jax.Array) -> tuple[jax.Array, _Pair]:
    return geglu(gate, value), (gate, value)


def _geglu_backward(kept: _Pair, grad: jax.Array) -> _Pair:
    gate, value = kept
    (grad_gate,) = _gelu_backward(gate, grad * value)
    return grad_gate, grad * gelu(gate)


geglu.defvjp(_geglu_forward, _geglu_backward)


@jax.custom_vjp
def softmax(scores: jax.Array) -> jax.Array:
    """softmax over the last dimension; the backward pass needs nothing but its result."""
    powers = jnp.exp(scores - jnp.max(scores, axis=-1, keepdims=True))
    return powers / jnp.sum(powers, axis=-1, keepdims=True)


def _softmax_forward(scores: jax.Array) -> tuple[jax.Array, jax.Array]:
    probs = softmax(scores)
    return probs, probs


def _softmax_backward(probs: jax.Array, grad: jax.Array) -> tuple[jax.Array]:
    return (probs * (grad - jnp.sum(probs * grad, axis=-1, keepdims=True)),)


softmax.defvjp(_softmax_forward, _softmax_backward)
