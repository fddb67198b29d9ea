"""Attention against plain NumPy, its walls between documents, and kernels against the formula."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from electra_jax.ops import flash
from electra_jax.ops.attention import Drop, attention, local, plain
from electra_jax.ops.sight import Operands, Sight

B, L, H, K = 2, 6, 3, 4


def inputs(shape=(B, L, H, K)):
    keys = jax.random.split(jax.random.key(0), 3)
    return [jax.random.normal(key, shape) for key in keys]


def attend(q, k, v, documents_BL):
    return attention('xla', Operands(q, k, v, documents_BL), Sight(), Drop())


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


def random_documents(rows: int, length: int) -> jax.Array:
    """Rows of documents of random lengths, with padding behind them; the last row all padding."""
    random = np.random.default_rng(0)
    documents = np.zeros((rows, length), np.int32)
    for row in range(rows - 1):
        ends = np.sort(random.choice(np.arange(1, length), 4, replace=False))
        for number, (start, end) in enumerate(zip([0, *ends[:-1]], ends, strict=True), 1):
            documents[row, start:end] = number
    return jnp.asarray(documents)


def assert_same(kernel, shape, sight, one_document=False, atol=1e-5):
    """Values and gradients of `kernel` are those of the plain form."""
    arrays, documents_BL = inputs(shape), random_documents(*shape[:2])
    weights = jax.random.normal(jax.random.key(1), shape)
    if one_document:  # what a query of padding sees does not matter
        documents_BL = (documents_BL > 0).astype(jnp.int32)
        weights *= documents_BL[:, :, None, None]

    def run(attend):
        def total(q, k, v):
            out = attend(Operands(q, k, v, documents_BL), sight)
            return jnp.sum(weights * out), out * (weights != 0)

        (_, out), grads = jax.value_and_grad(total, (0, 1, 2), has_aux=True)(*arrays)
        return [out, *grads]

    for ours, theirs in zip(run(kernel), run(functools.partial(plain, drop=Drop())), strict=True):
        np.testing.assert_allclose(ours, theirs, atol=atol)


LOCAL = [Sight(side, window) for side in ('document', 'before', 'after') for window in (5, 20)]


@pytest.mark.parametrize('sight', LOCAL, ids=str)
def test_local_attention_equals_the_plain_form(sight):
    assert_same(functools.partial(local, drop=Drop()), (3, 77, 2, 8), sight)


# 100 is filled up to one block, 256 is one and 640 are several.
@pytest.mark.parametrize(
    ('sight', 'length'),
    [
        (Sight(), 100),
        (Sight('before'), 256),
        (Sight('after'), 256),
        (Sight('document', 30), 640),
        pytest.param(Sight('before', 30), 256, marks=pytest.mark.slow),
        pytest.param(Sight('after', 200), 640, marks=pytest.mark.slow),
        pytest.param(Sight(), 640, marks=pytest.mark.slow),
    ],
    ids=str,
)
def test_splash_equals_the_plain_form(sight, length):
    with jax.numpy_rank_promotion('allow'):  # the library's kernel may
        assert_same(functools.partial(flash.splash, interpret=True), (2, length, 1, 64), sight)


@pytest.mark.parametrize('side', ['document', 'before', 'after'])
def test_triton_equals_the_plain_form(side):
    with jax.numpy_rank_promotion('allow'):  # the library's kernel may
        assert_same(functools.partial(flash.triton, interpret=True), (2, 100, 1, 16), Sight(side))


@pytest.mark.skipif(jax.default_backend() != 'gpu', reason='cuDNN needs a GPU')
@pytest.mark.parametrize('side', ['document', 'before'])
def test_cudnn_equals_the_plain_form(side):
    def in_float32(operands, sight):
        half = (x.astype(jnp.bfloat16) for x in operands[:3])
        return flash.cudnn(Operands(*half, operands.documents_BL), sight).astype(jnp.float32)

    assert_same(in_float32, (2, 128, 2, 64), Sight(side), one_document=True, atol=2e-2)


def test_only_the_plain_form_drops_probabilities():
    drop = Drop(0.1, jax.random.key(0), 'hash')
    operands = Operands(*inputs(), jnp.ones((B, L), jnp.int32))
    with pytest.raises(AssertionError, match='splash attention has no dropout'):
        attention('splash', operands, Sight(), drop)
