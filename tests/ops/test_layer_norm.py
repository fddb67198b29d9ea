"""LayerNorm against what JAX derives from its formula."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from electra_jax.ops.layer_norm import layer_norm

KEYS = jax.random.split(jax.random.key(0), 4)
X_BLD = 3 * jax.random.normal(KEYS[0], (2, 5, 64)) + 1
SCALE_D, BIAS_D = 1 + 0.3 * jax.random.normal(KEYS[1], (64,)), jax.random.normal(KEYS[2], (64,))
WEIGHT_BLD = jax.random.normal(KEYS[3], X_BLD.shape)


def formula(x, scale_D, bias_D, epsilon, dtype):
    x = x.astype(jnp.float32)
    mean, variance = jnp.mean(x, -1, keepdims=True), jnp.var(x, -1, keepdims=True)
    return ((x - mean) / jnp.sqrt(variance + epsilon) * scale_D + bias_D).astype(dtype)


@pytest.mark.parametrize(('dtype', 'tolerance'), [(jnp.float32, 1e-5), (jnp.bfloat16, 0.03)])
def test_value_and_gradients_equal_the_formula(dtype, tolerance):
    def loss(norm, x, scale_D, bias_D):
        return jnp.sum(WEIGHT_BLD * norm(x.astype(dtype), scale_D, bias_D, 1e-6, dtype))

    arguments = (X_BLD, SCALE_D, BIAS_D)
    ours, theirs = (
        jax.value_and_grad(lambda *a, norm=norm: loss(norm, *a), (0, 1, 2))(*arguments)
        for norm in (layer_norm, formula)
    )
    np.testing.assert_allclose(ours[0], theirs[0], rtol=tolerance)
    for grad, expected in zip(ours[1], theirs[1], strict=True):
        np.testing.assert_allclose(grad, expected, rtol=tolerance, atol=tolerance)


def test_the_backward_pass_keeps_one_array_in_the_dtype_it_came_in():
    _, backward = jax.vjp(
        lambda x: layer_norm(x, SCALE_D, BIAS_D, 1e-6, jnp.bfloat16), X_BLD.astype(jnp.bfloat16)
    )
    kept = [x for x in jax.tree.leaves(backward) if getattr(x, 'shape', ()) == X_BLD.shape]
    assert [x.dtype for x in kept] == [jnp.bfloat16]
