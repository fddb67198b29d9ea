"""Operands of attention, and its forms compared."""

import functools

import jax
import jax.numpy as jnp
import numpy as np

from electra_jax.ops.attention import plain
from electra_jax.ops.dropout import Drop
from electra_jax.ops.sight import Operands

PLAIN = functools.partial(plain, drop=Drop())


def vectors(shape):
    """Queries, keys and values, [B, L, H, K] each."""
    keys = jax.random.split(jax.random.key(0), 3)
    return [jax.random.normal(key, shape) for key in keys]


def random_documents(rows, length, each=4):
    """Rows of documents of random lengths, with padding behind them; the last row all padding."""
    random = np.random.default_rng(0)
    documents = np.zeros((rows, length), np.int32)
    for row in range(rows - 1):
        ends = np.sort(random.choice(np.arange(1, length), each, replace=False))
        for number, (start, end) in enumerate(zip([0, *ends[:-1]], ends, strict=True), 1):
            documents[row, start:end] = number
    return jnp.asarray(documents)


def assert_same(kernel, shape, sight, *, form=PLAIN, documents_BL=None, counts=True, atol=1e-5):
    """Values and gradients of `kernel` are those of `form`, where a query counts [B, L]."""
    arrays = vectors(shape)
    documents_BL = random_documents(*shape[:2]) if documents_BL is None else documents_BL
    weights = jax.random.normal(jax.random.key(1), shape)
    weights *= jnp.broadcast_to(counts, shape[:2])[:, :, None, None]

    def run(attend):
        def total(q, k, v):
            out = attend(Operands(q, k, v, documents_BL), sight)
            return jnp.sum(weights * out), out * (weights != 0)

        (_, out), grads = jax.value_and_grad(total, (0, 1, 2), has_aux=True)(*arrays)
        return [out, *grads]

    for ours, theirs in zip(run(kernel), run(form), strict=True):
        np.testing.assert_allclose(ours, theirs, atol=atol)
