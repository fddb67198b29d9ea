"""Rows of a split in batches of a few fixed shapes, in an order that is a function of the seed.

Goals: a program is compiled once for each shape and never again; a short row pays for few
positions; each row is seen once an epoch; nothing but (seed, epoch) decides the order.
"""

from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

import numpy as np

SMALLEST = 16  # tokens of the shortest shape to train on


class Batch(NamedTuple):
    """Which rows stand together, and how long their arrays are."""

    rows: np.ndarray  # at most batch_size of them
    row_length: int


def _coarse(row_length: int) -> list[int]:
    """Powers of two: few programs, where compiling is dear."""
    sizes = [SMALLEST]
    while sizes[-1] < row_length:
        sizes.append(2 * sizes[-1])
    return sizes


def _fine(row_length: int) -> list[int]:
    """Steps of 8, and of a quarter from 64 on: little padding, where computing is dear."""
    sizes = [16]
    while sizes[-1] < row_length:
        power = 1 << (sizes[-1].bit_length() - 1)
        sizes.append(sizes[-1] + max(8, power // 4))
    return sizes


# Name -> lengths that rows may be padded to; the last one is too long or just right.
GRIDS: dict[str, Callable[[int], list[int]]] = {'coarse': _coarse, 'fine': _fine}


def shapes(
    lengths: np.ndarray, row_length: int, multiple: int, bucketing: bool, grid: str = 'coarse'
) -> list[int]:
    """Row lengths that batches are padded to: those of a grid, and `row_length`.

    Only those that some row needs.

    Args:
        lengths: of the rows.
        row_length: of the longest row there may be.
        multiple: each must divide by it (mesh axis 'sequence').
        bucketing: False: `row_length` alone.
        grid: a key of `GRIDS`.

    >>> shapes(np.array([5, 40, 12]), 128, 1, True)
    [16, 64]
    >>> shapes(np.array([5, 40, 30, 66]), 128, 1, True, 'fine')
    [16, 32, 40, 80]
    """
    sizes = [size for size in GRIDS[grid](row_length) if size < row_length and bucketing]
    sizes = [size for size in sizes if size % multiple == 0]
    sizes.append(row_length)
    bucket = np.searchsorted(sizes, lengths)
    return [size for i, size in enumerate(sizes) if (bucket == i).any()]


def permutation(count: int, seed: int, epoch: int) -> np.ndarray:
    """The order of `count` rows in an epoch.

    Sorted raw bits of Philox, whose stream NumPy promises never to change.
    """
    bits = np.random.Philox(np.random.SeedSequence((seed, epoch))).random_raw(count)
    return np.argsort(bits, kind='stable')


def epoch(
    lengths: np.ndarray, sizes: Sequence[int], batch_size: int, seed: int, number: int
) -> list[Batch]:
    """The batches of one epoch: ceil(rows / batch_size) of them, each row in one.

    Rows of one shape stand together in random order. What is left over of a shape goes into the
    next longer one, so at most one batch is not full. The batches come in random order, too.

    Args:
        lengths: of the rows.
        sizes: from `shapes`, of these rows or of more.
        batch_size: rows of a batch.
        seed: of the run.
        number: of the epoch, from 0.
    """
    order = permutation(len(lengths), seed, number)
    bucket = np.searchsorted(sizes, lengths[order])
    made, left = [], np.zeros(0, np.int64)
    for i, size in enumerate(sizes):
        rows = np.concatenate([left, order[bucket == i]])
        full = len(rows) // batch_size * batch_size
        made += [Batch(rows[at : at + batch_size], size) for at in range(0, full, batch_size)]
        left = rows[full:]
    if len(left):
        longest = int(np.searchsorted(sizes, lengths[left].max()))
        made.append(Batch(left, sizes[longest]))
    return [made[i] for i in permutation(len(made), seed, ~number & 0xFFFFFFFF)]


def endless(
    lengths: np.ndarray, sizes: Sequence[int], batch_size: int, seed: int
) -> Iterator[Batch]:
    """One epoch after another."""
    number = 0
    while True:
        yield from epoch(lengths, sizes, batch_size, seed, number)
        number += 1


def in_order(lengths: np.ndarray, sizes: Sequence[int], batch_size: int) -> list[Batch]:
    """All rows once, the shortest first, for evaluation.

    Only the first batch may not be full: there the empty rows are the shortest.
    """
    order = np.argsort(lengths, kind='stable')
    first = len(order) % batch_size
    parts = [order[:first]] if first else []
    parts += [order[at : at + batch_size] for at in range(first, len(order), batch_size)]
    fitting = np.searchsorted(sizes, [lengths[rows].max() for rows in parts])
    return [Batch(rows, sizes[i]) for rows, i in zip(parts, fitting, strict=True)]
