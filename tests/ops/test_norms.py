"""LayerNorm and RMSNorm: values and gradients of the formula differentiated step by step."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from electra_jax.ops.norms import normalize

EPSILON = 1e-3


def formula(x, scale, bias, centred):
    x = x - jnp.mean(x, -1, keepdims=True) if centred else x
    normal = x / jnp.sqrt(jnp.mean(x**2, -1, keepdims=True) + EPSILON)
    return normal * scale[None, None] + (0 if bias is None else bias[None, None])


@pytest.mark.parametrize('centred', [True, False])
@pytest.mark.parametrize('biased', [True, False])
def test_values_and_gradients_are_those_of_the_formula(centred, biased):
    keys = jax.random.split(jax.random.key(0), 4)
    x, weights = (jax.random.normal(key, (3, 5, 8)) + 1 for key in keys[:2])
    scale, bias = (jax.random.normal(key, (8,)) for key in keys[2:])
    bias = bias if biased else None

    def ours(x, scale, bias):
        y = normalize(x, scale, bias, EPSILON, centred, jnp.float32)
        return jnp.sum(weights * y), y

    def plain(x, scale, bias):
        y = formula(x, scale, bias, centred)
        return jnp.sum(weights * y), y

    results = [
        jax.value_and_grad(f, (0, 1, 2), has_aux=True)(x, scale, bias) for f in (ours, plain)
    ]
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=2e-5, atol=2e-5), *results)


def test_half_precision_goes_in_and_out_and_nothing_wider_is_kept():
    x = jax.random.normal(jax.random.key(0), (4, 64, 128)).astype(jnp.bfloat16)
    ones = jnp.ones(128)
    y, backward = jax.vjp(
        lambda x, scale: normalize(x, scale, None, EPSILON, True, jnp.bfloat16), x, ones
    )
    assert y.dtype == jnp.bfloat16 and backward(y)[0].dtype == jnp.bfloat16
    large = [leaf for leaf in jax.tree.leaves(backward) if leaf.size >= x.size]
    assert [leaf.dtype for leaf in large] == [jnp.bfloat16]
