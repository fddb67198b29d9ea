"""Masking and corruption: exact counts, distinct positions, true labels."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from electra_jax.ops import corrupt
from tests.conftest import SPECIAL, random_batch

NEVER = (SPECIAL.pad, SPECIAL.cls, SPECIAL.sep, SPECIAL.mask)


def choose(batch, rate=0.15, seed=0):
    candidates_BL = corrupt.candidates(batch['tokens'], batch['documents'], NEVER)
    noise_BL = jax.random.uniform(jax.random.key(seed), batch['tokens'].shape)
    return corrupt.choose_positions(noise_BL, candidates_BL, batch['documents'], rate)


@pytest.mark.parametrize('rate', [0.15, 0.25, 0.5])
def test_draws_the_exact_number_of_distinct_ordinary_tokens(rate):
    batch = random_batch(B=16, L=64)
    positions_BP, weights_BP = choose(batch, rate)
    for row in range(16):
        drawn = np.asarray(positions_BP[row])[np.asarray(weights_BP[row]) > 0]
        real = int((batch['documents'][row] > 0).sum())
        assert len(drawn) == int(np.ceil(rate * real - 1e-4))
        assert len(set(drawn)) == len(drawn)
        assert not np.isin(batch['tokens'][row, drawn], NEVER).any()
        assert (batch['documents'][row, drawn] > 0).all()


def test_every_candidate_is_as_likely_as_another():
    batch = {name: x[:1].repeat(4000, 0) for name, x in random_batch(L=16).items()}
    positions_BP, weights_BP = choose(batch, 0.15)
    counts = np.bincount(np.asarray(positions_BP)[np.asarray(weights_BP) > 0], minlength=16)
    assert counts[0] == counts[15] == 0  # [CLS], [SEP]
    expected = counts.sum() / 14
    chi_square = ((counts[1:15] - expected) ** 2 / expected).sum()
    assert chi_square < 34.5  # 0.1 % level at 13 degrees of freedom


def test_a_row_of_padding_draws_nothing():
    batch = {name: np.zeros((2, 16), np.int32) for name in ('tokens', 'documents')}
    _, weights_BP = choose(batch)
    assert float(weights_BP.sum()) == 0


def test_a_row_with_fewer_candidates_than_wanted_draws_them_all():
    tokens = np.array([[SPECIAL.cls, 9, SPECIAL.sep] + [SPECIAL.cls, SPECIAL.sep] * 6], np.int32)
    batch = {'tokens': tokens, 'documents': np.ones_like(tokens)}
    positions_BP, weights_BP = choose(batch, 0.5)
    assert float(weights_BP.sum()) == 1 and int(positions_BP[0, 0]) == 1


def test_unused_slots_write_nothing_not_even_at_position_zero():
    tokens_BL = jnp.array([[7, 8, 9]])
    out = corrupt.write_tokens(
        tokens_BL, jnp.array([[0, 1]]), jnp.array([[0.0, 1.0]]), jnp.array([[5, 6]])
    )
    assert out.tolist() == [[7, 6, 9]]


def test_kept_positions_stay_in_the_generators_input():
    tokens_BL = jnp.array([[7, 8, 9]])
    where = (jnp.array([[1, 2]]), jnp.ones((1, 2)))
    out = corrupt.mask_tokens(tokens_BL, *where, jnp.array([[True, False]]), SPECIAL.mask)
    assert out.tolist() == [[7, 8, SPECIAL.mask]]


def test_a_sample_that_hits_the_original_is_not_fake():
    tokens_BL = jnp.array([[7, 8, 9]])
    where = (jnp.array([[1, 2]]), jnp.ones((1, 2)))
    corrupted_BL, is_fake_BL = corrupt.corrupt(tokens_BL, *where, jnp.array([[8, 5]]))
    assert corrupted_BL.tolist() == [[7, 8, 5]]
    assert is_fake_BL.tolist() == [[False, False, True]]


@pytest.mark.parametrize(
    ('rate', 'L', 'expected'), [(0.15, 128, 20), (0.15, 20, 3), (0.25, 512, 128)]
)
def test_most_positions_of_a_row(rate, L, expected):
    assert corrupt.max_masked(rate, L) == expected
