"""Attention against plain NumPy, and its walls between documents."""

import jax
import jax.numpy as jnp
import numpy as np

from electra_jax.ops.attention import attention, visible

B, L, H, K = 2, 6, 3, 4


def inputs():
    keys = jax.random.split(jax.random.key(0), 3)
    return [jax.random.normal(key, (B, L, H, K)) for key in keys]


def attend(q, k, v, documents_BL):
    return attention(q, k, v, visible(documents_BL, 'document'), 0.0, None, 'hash')


def test_equals_the_formula_within_a_document():
    q, k, v = inputs()
    out = attend(q, k, v, jnp.ones((B, L), jnp.int32))
    scores = np.einsum('blhk,bshk->bhls', np.float64(q), np.float64(k)) / K**0.5
    probs = np.exp(scores) / np.exp(scores).sum(-1, keepdims=True)
    np.testing.assert_allclose(out, np.einsum('bhls,bshk->blhk', probs, v), atol=1e-6)


def test_a_document_feels_nothing_of_its_neighbour_or_of_padding():
    q, k, v = inputs()
    documents_BL = jnp.array([[1, 1, 2, 2, 2, 0]] * B)

    def first_document(k, v):
        return jnp.sum(attend(q, k, v, documents_BL)[:, :2] ** 2)

    for grad in jax.grad(first_document, argnums=(0, 1))(k, v):
        assert np.all(np.asarray(grad[:, 2:]) == 0)
        assert np.all(np.abs(np.asarray(grad[:, :2])).sum(axis=-1) > 0)


def test_a_row_of_padding_is_finite():
    q, k, v = inputs()
    assert np.isfinite(attend(q, k, v, jnp.zeros((B, L), jnp.int32))).all()
