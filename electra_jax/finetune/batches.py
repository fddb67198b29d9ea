"""Rows of a split in batches of a few fixed shapes, in an order that is a function of the seed.

Goals: a program is compiled once for each shape and never again; a short row pays for few
positions; each row is seen once an epoch; nothing but (seed, epoch) decides the order.
"""

import itertools
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np

SMALLEST = 16  # tokens of the shortest shape to train on
FEW_ROWS = 1000  # fewer rows than these are answered sooner than more programs are compiled


class Batch(NamedTuple):
    """Which rows stand together, and how long their arrays are."""

    rows: np.ndarray  # at most batch_size of them
    row_length: int


def _grid(row_length: int, fine: bool) -> Iterator[int]:
    """Powers of two below `row_length`; or steps of 8, and of a quarter from 64 on."""
    size = SMALLEST
    while size < row_length:
        yield size
        power = 1 << (size.bit_length() - 1)
        size += max(8, power // 4) if fine else size


def shapes(
    lengths: np.ndarray,
    row_length: int,
    multiple: int,
    bucketing: bool,
    fine: bool = False,
    least: float = 0.0,
) -> list[int]:
    """Row lengths that batches are padded to, of those only that some row needs.

    All divide by `multiple` (mesh axis 'sequence'), and the longest is `row_length`, which stands
    alone without `bucketing`. `fine` means little padding, where computing costs more than
    compiling; otherwise there are few programs. The rows of a shape that has less than `least` of
    them go into the next longer one. Where the longest shape has less, and the one before it could
    be as long as the longest row for less than `least` rows more to compute, that one is.

    >>> shapes(np.array([5, 40, 12]), 128, 1, True)
    [16, 64]
    >>> shapes(np.array([5, 40, 30, 66]), 128, 1, True, fine=True)
    [16, 32, 40, 80]
    >>> shapes(np.array([5, 40, 30, 31, 66]), 128, 1, True, fine=True, least=1.5)
    [32, 80]
    >>> shapes(np.array([5, 12, 40, 30, 41, 70]), 128, 1, True, least=2)
    [16, 80]
    """
    grid = _grid(row_length, fine) if bucketing else ()
    sizes = [size for size in grid if size % multiple == 0] + [row_length]
    counts = np.bincount(np.searchsorted(sizes, lengths), minlength=len(sizes))
    chosen, rows, waiting, longest = [], [], 0, max(np.flatnonzero(counts), default=0)
    for i, count in enumerate(counts[: longest + 1]):
        waiting += count
        if waiting and (i == longest or waiting >= least):
            chosen.append(sizes[i])
            rows.append(waiting)
            waiting = 0
    if len(chosen) > 1 and rows[-1] < least:
        snugger = [size for size in _grid(row_length, fine=True) if size % multiple == 0]
        snug = next((size for size in snugger if size >= lengths.max()), row_length)
        if rows[-2] * (snug / chosen[-2] - 1) < least:
            chosen[-2:] = [snug]
    return chosen


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
    `sizes` come from `shapes`, of these rows or of more; epochs are numbered from 0.
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
    for number in itertools.count():
        yield from epoch(lengths, sizes, batch_size, seed, number)


def rows_of_few(count: int, batch_size: int, multiple: int) -> int:
    """Rows of the batches for `count` rows: `batch_size`, or fewer where they are enough.

    Each number of rows is compiled, so there are few: `multiple` times 1, 8, 64, ...

    >>> [rows_of_few(count, 32, 1) for count in (1, 2, 8, 9, 1000)]
    [1, 8, 8, 32, 32]
    """
    size = multiple
    while size < min(count, batch_size):
        size *= 8
    return min(size, batch_size)


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
