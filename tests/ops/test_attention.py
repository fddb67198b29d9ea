"""Attention against plain NumPy, its walls between documents, and kernels against the formula."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from electra_jax.ops import flash
from electra_jax.ops.attention import attention, local
from electra_jax.ops.dropout import Drop
from electra_jax.ops.sight import Operands, Sight
from tests.support.attention import assert_same, random_documents, vectors

B, L, H, K = 2, 6, 3, 4


def attend(q, k, v, documents_BL):
    return attention('xla', Operands(q, k, v, documents_BL), Sight(), Drop())


def test_equals_the_formula_within_a_document():
    q, k, v = vectors((B, L, H, K))
    out = attend(q, k, v, jnp.ones((B, L), jnp.int32))
    scores = np.einsum('blhk,bshk->bhls', np.float64(q), np.float64(k)) / K**0.5
    probs = np.exp(scores) / np.exp(scores).sum(-1, keepdims=True)
    np.testing.assert_allclose(out, np.einsum('bhls,bshk->blhk', probs, v), atol=1e-6)


def test_a_document_feels_nothing_of_its_neighbour_or_of_padding():
    q, k, v = vectors((B, L, H, K))
    documents_BL = jnp.array([[1, 1, 2, 2, 2, 0]] * B)

    def first_document(k, v):
        return jnp.sum(attend(q, k, v, documents_BL)[:, :2] ** 2)

    for grad in jax.grad(first_document, argnums=(0, 1))(k, v):
        assert np.all(np.asarray(grad[:, 2:]) == 0)
        assert np.all(np.abs(np.asarray(grad[:, :2])).sum(axis=-1) > 0)


def test_a_row_of_padding_is_finite():
    q, k, v = vectors((B, L, H, K))
    assert np.isfinite(attend(q, k, v, jnp.zeros((B, L), jnp.int32))).all()


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

    # What a query of padding sees does not matter.
    texts_BL = (random_documents(2, 128) > 0).astype(jnp.int32)
    assert_same(
        in_float32, (2, 128, 2, 64), Sight(side), documents_BL=texts_BL, counts=texts_BL, atol=2e-2
    )


@pytest.mark.skipif(jax.default_backend() != 'gpu', reason='cuDNN needs a GPU')
@pytest.mark.parametrize('sight', [Sight(), Sight('before'), Sight('after', 30)], ids=str)
def test_cudnn_with_a_mask_equals_the_plain_form_also_between_documents(sight):
    def in_float32(operands, sight):
        half = (x.astype(jnp.bfloat16) for x in operands[:3])
        operands = Operands(*half, operands.documents_BL)
        return flash.cudnn_mask(operands, sight).astype(jnp.float32)

    assert_same(in_float32, (2, 128, 2, 64), sight, atol=2e-2)


@pytest.mark.parametrize('sight', [Sight(), Sight('after', 2)], ids=str)
def test_the_mask_that_cudnn_is_given_is_who_sees_whom(sight, monkeypatch):
    """The same call without cuDNN, which needs a GPU."""
    usual = jax.nn.dot_product_attention

    def anywhere(query, key, value, implementation, **arguments):
        assert implementation == 'cudnn' and query.shape[1] % 2 == 0
        return usual(query, key, value, implementation='xla', **arguments)

    monkeypatch.setattr(jax.nn, 'dot_product_attention', anywhere)
    with jax.numpy_rank_promotion('allow'):  # the library's function may
        assert_same(flash.cudnn_mask, (2, 99, 2, 16), sight)


def test_a_kernel_without_dropout_refuses_it():
    drop = Drop(0.1, jax.random.key(0), 'hash')
    operands = Operands(*vectors((B, L, H, K)), jnp.ones((B, L), jnp.int32))
    with pytest.raises(AssertionError, match='splash attention has no dropout'):
        attention('splash', operands, Sight(), drop)
