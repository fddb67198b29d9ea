"""Masking and corruption: exact counts, distinct positions, true labels."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from electra_jax.ops import corrupt
from tests.support.configs import SPECIAL, random_batch

NEVER = (SPECIAL.pad, SPECIAL.cls, SPECIAL.sep, SPECIAL.mask)


def choose(batch, rate=0.15, seed=0):
    maskable_BL = corrupt.maskable(batch['tokens'], batch['documents'], NEVER)
    noise_BL = jax.random.uniform(jax.random.key(seed), batch['tokens'].shape)
    P = corrupt.max_distinct(rate, batch['tokens'].shape[1])
    return corrupt.choose_distinct(noise_BL, maskable_BL, batch['documents'], rate, P)


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
    where = corrupt.Masked(jnp.array([[0, 1]]), jnp.array([[0.0, 1.0]]))
    out = corrupt.write_tokens(tokens_BL, where, jnp.array([[5, 6]]))
    assert out.tolist() == [[7, 6, 9]]


def test_kept_positions_stay_in_the_generators_input():
    tokens_BL = jnp.array([[7, 8, 9]])
    where = corrupt.Masked(jnp.array([[1, 2]]), jnp.ones((1, 2)))
    out = corrupt.mask_tokens(tokens_BL, where, jnp.array([[True, False]]), SPECIAL.mask)
    assert out.tolist() == [[7, 8, SPECIAL.mask]]


def test_a_sample_that_hits_the_original_is_written_all_the_same():
    tokens_BL = jnp.array([[7, 8, 9]])
    where = corrupt.Masked(jnp.array([[1, 2]]), jnp.ones((1, 2)))
    corrupted_BL, written_BL = corrupt.corrupt(tokens_BL, where, jnp.array([[8, 5]]))
    assert corrupted_BL.tolist() == [[7, 8, 5]]
    assert written_BL.tolist() == [[False, True, True]]


@pytest.mark.parametrize(
    ('rate', 'L', 'expected'), [(0.15, 128, 20), (0.15, 20, 3), (0.25, 512, 128)]
)
def test_most_positions_of_a_row(rate, L, expected):
    assert corrupt.max_distinct(rate, L) == expected


def reference_draws(batch, rate=0.15, seed=0):
    B, L = batch['tokens'].shape
    rule = corrupt.POSITION_RULES['reference']
    P = rule.slots(rate, L)
    noise = jax.random.uniform(jax.random.key(seed), rule.noise_shape(B, L, P))
    maskable_BL = corrupt.maskable(batch['tokens'], batch['documents'], NEVER)
    return rule.choose(noise, maskable_BL, batch['documents'], rate, P)


def test_the_reference_draws_with_replacement_as_often_as_it_says():
    """Unique positions of a full row of 128 tokens: 17.7 on average of 19 draws (simulated)."""
    batch = random_batch(B=2000, L=128)
    positions_BP, weights_BP = (np.asarray(x) for x in reference_draws(batch))
    full = weights_BP[:-1].sum(axis=1)
    assert (full == 19).all()
    unique = [len(set(row)) for row in positions_BP[:-1]]
    assert np.mean(unique) == pytest.approx(17.7, abs=0.1)
    tokens = np.take_along_axis(batch['tokens'], positions_BP, axis=1)
    assert not np.isin(tokens[weights_BP > 0], NEVER).any()


def test_every_candidate_of_the_reference_is_as_likely_as_another():
    batch = {name: x[:1].repeat(4000, 0) for name, x in random_batch(L=16).items()}
    positions_BP, weights_BP = reference_draws(batch)
    counts = np.bincount(np.asarray(positions_BP)[np.asarray(weights_BP) > 0], minlength=16)
    assert counts[0] == counts[15] == 0
    expected = counts.sum() / 14
    assert ((counts[1:15] - expected) ** 2 / expected).sum() < 34.5


@pytest.mark.parametrize(('real', 'drawn'), [(110, 16), (130, 19), (90, 14), (3, 1), (0, 0)])
def test_the_reference_rounds_halves_to_even_and_draws_at_least_once(real, drawn):
    documents_BL = (np.arange(128) < real).astype(np.int32)[None]
    tokens_BL = np.full((1, 128), 9, np.int32)
    _, weights_BP = reference_draws({'tokens': tokens_BL, 'documents': documents_BL})
    assert int(weights_BP.sum()) == drawn


def test_a_position_drawn_twice_is_masked_once_and_given_the_mean_of_its_samples():
    tokens_BL = jnp.array([[7, 8, 9]])
    where = corrupt.Masked(jnp.array([[1, 1, 2]]), jnp.ones((1, 3)))
    keep_BP = jnp.array([[True, False, True]])
    assert corrupt.mask_tokens(tokens_BL, where, keep_BP, 4).tolist() == [[7, 4, 9]]
    corrupted_BL, written_BL = corrupt.corrupt(tokens_BL, where, jnp.array([[20, 31, 9]]))
    assert corrupted_BL.tolist() == [[7, 25, 9]]
    assert written_BL.tolist() == [[False, True, True]]
