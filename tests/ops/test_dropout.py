"""Dropout: its rate, its gradient, and bits that look random."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from electra_jax.ops.dropout import BITS, _element_number, _seeded, dropout, mix

SHAPE = (64, 128, 32)


@pytest.mark.parametrize('bits', sorted(BITS))
def test_drops_at_the_rate_and_scales_the_rest(bits):
    y = np.asarray(dropout(jnp.ones(SHAPE), 0.1, jax.random.key(1), bits))
    assert set(np.unique(y)) == {0.0, np.float32(1 / 0.9)}
    assert abs((y == 0).mean() - 0.1) < 4 * (0.09 / y.size) ** 0.5


@pytest.mark.parametrize('bits', sorted(BITS))
def test_the_gradient_passes_where_the_value_did(bits):
    x = jnp.ones(SHAPE)
    key = jax.random.key(2)
    y = dropout(x, 0.3, key, bits)
    grad = jax.grad(lambda x: jnp.sum(dropout(x, 0.3, key, bits)))(x)
    np.testing.assert_array_equal(grad, y)


@pytest.mark.parametrize('bits', sorted(BITS))
def test_masks_of_two_keys_and_of_neighbours_are_independent(bits):
    a, b = (
        np.asarray(dropout(jnp.ones(SHAPE), 0.5, jax.random.key(seed), bits)) > 0 for seed in (3, 4)
    )
    limit = 4 / a.size**0.5  # four standard deviations of a correlation
    pairs = [(a, b), (a[:, :, 1:], a[:, :, :-1]), (a[:, 1:], a[:, :-1]), (a[1:], a[:-1])]
    for one, other in pairs:
        assert abs(np.corrcoef(one.ravel(), other.ravel())[0, 1]) < limit * 1.1


def test_every_bit_of_the_hash_is_fair():
    words = np.asarray(BITS['hash'](jax.random.key(5), (1 << 16,)))
    for bit in range(32):
        assert abs(((words >> bit) & 1).mean() - 0.5) < 4 * 0.5 / 256
    assert len(np.unique(words)) > 65_500  # a good mixer hardly collides


@pytest.mark.parametrize('shape', [(2**20, 2**14), (3, 2**17, 5, 2**13), (2**31, 2**3, 2**20)])
def test_no_two_elements_of_a_huge_array_share_their_bits(shape):
    """Looked at without making it: elements that are 2**32 and more apart."""
    random = np.random.default_rng(0)
    indices = [random.integers(0, size, 4096) for size in shape]
    numbers = set(zip(*(index.tolist() for index in indices), strict=True))
    low, high = _element_number(shape, [jnp.asarray(index, jnp.uint32) for index in indices])
    pairs = set(zip(np.asarray(low).tolist(), np.asarray(high).tolist(), strict=True))
    assert len(pairs) == len(numbers)
    words = np.asarray(mix(_seeded(jax.random.key(0), low, high)))
    same_low = np.asarray(
        mix(_seeded(jax.random.key(0), low * 0, jnp.arange(4096, dtype=jnp.uint32)))
    )
    for bits in (words, same_low):
        assert len(np.unique(bits)) > 4090
        for bit in range(32):
            assert abs(((bits >> bit) & 1).mean() - 0.5) < 5 * 0.5 / 64


def test_an_array_that_fits_32_bits_is_numbered_in_order():
    low, high = _element_number((3, 4), list(jnp.indices((3, 4)).astype(jnp.uint32)))
    assert high is None and low.reshape(-1).tolist() == list(range(12))


def test_no_key_means_no_dropout():
    x = jnp.arange(6.0)
    assert dropout(x, 0.5, None, 'hash') is x
