"""The order of rows and the shapes of batches."""

import numpy as np
import pytest

from electra_jax.finetune import batches, features
from electra_jax.finetune.features import Rows, ragged

LENGTHS = np.random.default_rng(0).integers(3, 129, 203)
SIZES = batches.shapes(LENGTHS, 128, 1, True)


def test_shapes_are_those_that_rows_need():
    assert SIZES == [16, 32, 64, 128]
    assert batches.shapes(np.array([10, 100]), 128, 1, True) == [16, 128]
    assert batches.shapes(np.array([10]), 128, 1, False) == [128]
    assert batches.shapes(np.array([10]), 96, 48, True) == [96]


def test_a_shape_of_few_rows_has_no_program_of_its_own():
    lengths = np.array([*[20] * 200, *[60] * 150, 70])
    assert batches.shapes(lengths, 128, 1, True) == [32, 64, 128]
    assert batches.shapes(lengths, 128, 1, True, least=96) == [32, 80]
    # Not where so many shorter rows would take much longer.
    assert batches.shapes(lengths, 128, 1, True, least=30) == [32, 64, 128]
    lengths[-1] = 128
    assert batches.shapes(lengths, 128, 1, True, least=96) == [32, 64, 128]
    few = np.array([*[10] * 95, *[20] * 300])
    assert batches.shapes(few, 128, 1, True, least=96) == [32]


@pytest.mark.parametrize('size', [1, 8, 32, 300])
def test_an_epoch_has_each_row_once_in_as_few_batches_as_there_can_be(size):
    made = batches.epoch(LENGTHS, SIZES, size, seed=1, number=0)
    assert sorted(np.concatenate([b.rows for b in made])) == list(range(203))
    assert len(made) == -(-203 // size)
    assert all(LENGTHS[b.rows].max() <= b.row_length for b in made)
    assert sum(len(b.rows) < size for b in made) <= 1


def test_most_rows_stand_with_rows_of_their_shape():
    made = batches.epoch(LENGTHS, SIZES, 8, seed=1, number=0)
    padded = sum(b.row_length * len(b.rows) for b in made)
    best = sum(SIZES[i] for i in np.searchsorted(SIZES, LENGTHS))
    assert padded < 1.05 * best


def test_the_order_follows_from_seed_and_epoch_alone():
    def order(seed, number):
        return [b.rows.tolist() for b in batches.epoch(LENGTHS, SIZES, 8, seed, number)]

    assert order(1, 0) == order(1, 0)
    assert order(1, 0) != order(1, 1) and order(1, 0) != order(2, 0)
    endless = batches.endless(LENGTHS, SIZES, 8, 1)
    first = [next(endless).rows.tolist() for _ in range(52)]
    assert first == order(1, 0) + order(1, 1)


RECORDED = [5, 6, 3, 7, 0, 1, 2, 4]


def test_the_order_does_not_change_with_versions():
    assert batches.permutation(8, 3, 1).tolist() == RECORDED


@pytest.mark.parametrize('size', [1, 8, 300])
def test_evaluation_sees_each_row_once_in_as_few_batches_as_there_can_be(size):
    made = batches.in_order(LENGTHS, SIZES, size)
    assert sorted(np.concatenate([b.rows for b in made])) == list(range(203))
    assert all(LENGTHS[b.rows].max() <= b.row_length for b in made)
    assert [len(b.rows) < size for b in made] == [203 % size > 0] + [False] * (len(made) - 1)


def test_a_fine_grid_pads_little():
    sizes = batches.shapes(LENGTHS, 128, 1, True, fine=True)
    made = batches.in_order(LENGTHS, sizes, 8)
    computed = sum(8 * b.row_length for b in made)
    assert len(sizes) <= 11 and LENGTHS.sum() < computed < 1.15 * LENGTHS.sum()
    assert batches.shapes(LENGTHS, 128, 48, True, fine=True) == [48, 96, 128]


def test_nothing_to_evaluate_is_no_batch():
    assert batches.in_order(np.zeros(0, np.int64), [], 8) == []


ROWS = Rows(
    ragged([np.array([2, 7, 3, 8, 3]), np.array([2, 9, 3])]),
    np.array([3, 3]),
    np.array([0, 1]),
    {'label': np.array([1, 0], np.int32)},
    {'labels': ragged([np.array([-1, 4, -1, 5, -1]), np.array([-1, 6, -1])])},
    fill=-1,
)


def test_a_batch_is_filled_up_with_rows_that_weigh_nothing():
    batch = features.to_batch(ROWS, [1, 0], 3, 6, pad_id=0)
    assert batch['tokens'].tolist() == [[2, 9, 3, 0, 0, 0], [2, 7, 3, 8, 3, 0], [0] * 6]
    assert batch['documents'].sum(1).tolist() == [3, 5, 0]
    assert batch['types'].tolist()[1] == [0, 0, 0, 1, 1, 0]
    assert batch['allowed'].tolist()[1] == [1, 0, 0, 1, 1, 0]
    assert batch['weight'].tolist() == [1, 1, 0] and batch['label'].tolist() == [0, 1, 0]
    assert batch['labels'].tolist()[0] == [-1, 6, -1, -1, -1, -1]
    assert batch['labels'].tolist()[2] == [-1] * 6
    assert batch['positions'].tolist()[0] == list(range(6))
