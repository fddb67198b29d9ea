"""Attention for TPUs that drops inside its kernel, interpreted, against the XLA form."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from electra_jax.ops import mosaic
from electra_jax.ops.attention import attention
from electra_jax.ops.dropout import Drop, counter
from electra_jax.ops.sight import Operands, Sight
from tests.support.attention import assert_same, random_documents, vectors

DROP = Drop(0.3, jax.random.key(7), 'hash')
KERNEL = functools.partial(mosaic.mosaic, interpret=True)
slow = functools.partial(pytest.param, marks=pytest.mark.slow)


# Lengths of one block, filled up to one, and several; heads that share tiles of lanes, fill one,
# lie across two, and of which there are too few to fill one. 3 W < L: the XLA form has blocks.
@pytest.mark.parametrize(
    ('shape', 'sight', 'each', 'rate'),
    [
        ((2, 100, 2, 64), Sight(), 4, 0.3),
        slow((2, 128, 3, 16), Sight('before'), 1, 0.3),
        slow((2, 128, 1, 128), Sight('after', 60), 4, 0.3),
        slow((2, 384, 4, 64), Sight('document', 50), 4, 0.3),
        slow((2, 640, 1, 64), Sight(), 3, 0.3),
        slow((2, 640, 1, 64), Sight('document', 150), 3, 0.3),
        slow((2, 640, 1, 64), Sight('before', 30), 3, 0.3),
        slow((2, 640, 1, 64), Sight('after'), 3, 0.3),
        slow((1, 1280, 1, 8), Sight('document', 270), 3, 0.3),
        slow((2, 256, 2, 80), Sight('document', 85), 3, 0.3),
        slow((2, 256, 2, 64), Sight('document', 20), 3, 0.0),
    ],
    ids=str,
)
def test_equals_the_form_that_keeps_probabilities(shape, sight, each, rate):
    drop = DROP._replace(rate=rate)
    form = functools.partial(attention, 'xla', drop=drop)
    documents_BL = random_documents(*shape[:2], each)
    kernel = functools.partial(KERNEL, drop=drop)
    assert_same(kernel, shape, sight, form=form, documents_BL=documents_BL)


@pytest.mark.parametrize('sight', [Sight(), slow(Sight('document', 30))], ids=str)
def test_drops_the_same_elements_bit_for_bit(sight):
    """Values that are one-hot show every probability."""
    query_BLHK, key_BSHK, _ = vectors((2, 128, 2, 128))
    one_hot = jnp.broadcast_to(jnp.eye(128)[None, :, None], (2, 128, 2, 128))
    operands = Operands(query_BLHK, key_BSHK, one_hot, random_documents(2, 128))
    ours, theirs = KERNEL(operands, sight, DROP), attention('xla', operands, sight, DROP)
    np.testing.assert_array_equal(ours == 0, theirs == 0)
    undropped = attention('xla', operands, sight, Drop())
    assert 0.25 < np.mean(theirs[undropped > 0] == 0) < 0.35


@pytest.mark.parametrize(
    ('sight', 'shape'),
    [
        (Sight(), (1024, 512, 12)),
        (Sight(), (40_000, 512, 12)),  # more than 32 bits number: rows have an upper word
        (Sight(), (3, 2**15, 16)),  # and here heads have
        (Sight('document', 64), (3000, 500, 12)),
    ],
)
def test_numbers_are_those_of_the_dropped_array(sight, shape):
    B, L, H = shape
    words_BHO, steps_L = mosaic.numbers(sight, DROP, shape)
    random = np.random.default_rng(0)
    row, head, query = (random.integers(0, size, 1000) for size in (B, H, L))
    if sight.window is None:
        key, inner = random.integers(0, L, 1000), (L, L)
        indices = [row, head, query, key]
    else:
        W = sight.window
        u = random.integers(0, 3 * W, 1000)
        inner, key = (-(-L // W), W, 3 * W), (query // W - 1) * W + u
        indices = [row, head, query // W, query % W, u]
    expected = counter(DROP.key, (B, H, *inner), [jnp.asarray(i, jnp.uint32) for i in indices])
    words = words_BHO[row, head]
    low = words[:, 0] + steps_L[query] + key.astype(np.uint32)
    np.testing.assert_array_equal(low, expected.low)
    np.testing.assert_array_equal(words[:, 1], jnp.broadcast_to(expected.seed, (1000,)))
    np.testing.assert_array_equal(words[:, 2], jnp.broadcast_to(expected.between, (1000,)))


def test_other_bits_than_the_hash_are_refused():
    operands = Operands(*vectors((1, 8, 1, 8)), jnp.ones((1, 8), jnp.int32))
    with pytest.raises(AssertionError, match='no threefry dropout'):
        KERNEL(operands, Sight(), DROP._replace(bits='threefry'))
