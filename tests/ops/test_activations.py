"""GELU and softmax against their formulas, gradients included."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import special

from electra_jax.ops.activations import gelu, softmax


# The largest error allowed at a value v is relative * |v| + absolute.
@pytest.mark.parametrize(
    ('dtype', 'relative', 'absolute'), [('float32', 1e-6, 1e-6), ('bfloat16', 0.005, 1e-6)]
)
def test_gelu_is_exact_also_in_the_tail(dtype, relative, absolute):
    x = jnp.linspace(-5, 5, 401).astype(dtype)
    wide = np.asarray(x, np.float64)
    expected = wide * special.ndtr(wide)
    np.testing.assert_allclose(
        np.asarray(gelu(x), np.float64), expected, rtol=relative, atol=absolute
    )
    slope = jax.vmap(jax.grad(gelu))(x)
    density = np.exp(-(wide**2) / 2) / np.sqrt(2 * np.pi)
    np.testing.assert_allclose(
        np.asarray(slope, np.float64),
        special.ndtr(wide) + wide * density,
        rtol=relative,
        atol=max(relative, absolute),
    )


def test_softmax_and_its_gradient_are_jaxs():
    scores = 3 * jax.random.normal(jax.random.key(0), (4, 7))
    weights = jax.random.normal(jax.random.key(1), (4, 7))
    np.testing.assert_allclose(softmax(scores), jax.nn.softmax(scores), rtol=1e-5)
    ours, theirs = (
        jax.grad(lambda s, f=f: jnp.sum(weights * f(s)))(scores) for f in (softmax, jax.nn.softmax)
    )
    np.testing.assert_allclose(ours, theirs, atol=1e-6)
