"""Tokens to rows: the two layouts, as lists of segments that are then written out at once.

Both layouts only decide where slices of the token stream go, from the number of tokens in each line
of each document; the stream is all lines in order. `lay_out` moves all tokens with a few NumPy
calls. No token is ever left out.
"""

import random
from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np

from electra_jax.config import settings
from electra_jax.data import records
from electra_jax.tokenizers import api


class Segment(NamedTuple):
    """A slice of a token stream and its position in the rows."""

    row: int
    column: int  # of its first token
    start: int  # index of its first token in the stream
    length: int  # its number of tokens
    span: int  # its span number, from 1; the [SEP] after it belongs to the span
    has_cls: int  # 1 where a [CLS] before it belongs to the span, else 0


def segment_rows(
    documents: Sequence[Sequence[int]], config: settings.DataConfig, rng: random.Random
) -> list[Segment]:
    """The layout 'segments': `[CLS] a [SEP] b [SEP]`, after build_pretraining_dataset.py:52-95.

    Lines of one document are collected until they reach a target length, then shared between a
    and b. Two things differ from the reference: what does not fit goes on in the next row
    instead of being dropped, and once b has begun no later line goes back into a, so a row is
    always consecutive text.
    """
    table: list[Segment] = []
    target = config.row_length
    row = start = 0
    for lines in documents:
        waiting: list[int] = []  # line lengths collected for the next row
        total = 0
        for number, length in enumerate(lines, 1):
            waiting.append(length)
            total += length
            while total >= target or (total and number == len(lines)):
                first, second = _shares(waiting, config, target, rng)
                table.append(Segment(row, 1, start, first, 1, 1))
                if second:
                    table.append(Segment(row, first + 2, start + first, second, 2, 0))
                row, start, total = row + 1, start + first + second, total - first - second
                waiting = _after(waiting, first + second)
                target = _next_target(config, rng)
    return table


def _next_target(config: settings.DataConfig, rng: random.Random) -> int:
    """Tokens that the next row aims for: a full row, or now and then a random shorter one."""
    short = rng.random() < config.short_row_rate
    return rng.randint(5, config.row_length) if short else config.row_length


def _shares(
    lines: Sequence[int], config: settings.DataConfig, target: int, rng: random.Random
) -> tuple[int, int]:
    """How many tokens of `lines` go into segments a and b of the next row."""
    row_length = config.row_length
    # The reference's 100000: segment a may take everything.
    whole = rng.random() < config.one_segment_rate
    first_target = row_length if whole else (target - 3) // 2
    first = 0
    for length in lines:
        fits = first == 0 or first + length < first_target
        if not fits and not (first < first_target and (whole or rng.random() < 0.5)):
            break
        first += length
    first = min(first, row_length - 2)
    return first, min(sum(lines) - first, max(row_length - 3 - first, 0))


def _after(lines: Sequence[int], used: int) -> list[int]:
    """What is left of `lines` (lengths) once the first `used` tokens are gone."""
    for i, length in enumerate(lines):
        if used < length:
            return [length - used, *lines[i + 1 :]]
        used -= length
    return []


def packed_rows(
    documents: Sequence[Sequence[int]], config: settings.DataConfig, rng: random.Random
) -> list[Segment]:
    """The layout 'packed': whole pieces `[CLS] piece [SEP]` of several documents in a row.

    A document is cut into pieces of at most L - 2 tokens; pieces go, longest first, into the
    fullest row that still has room (best fit decreasing). Nothing is drawn.
    """
    del rng
    room = config.row_length - 2
    pieces: list[tuple[int, int]] = []  # start, length
    start = 0
    for lines in documents:
        end = start + sum(lines)
        pieces += [(first, min(room, end - first)) for first in range(start, end, room)]
        start = end
    pieces.sort(key=lambda piece: -piece[1])  # stable: equal lengths stay in text order
    table: list[Segment] = []
    open_rows: dict[int, list[int]] = {}  # columns free -> rows with that many
    sizes = 0  # bit n is set where open_rows[n] is not empty
    used: list[int] = []  # spans in each row
    for start, length in pieces:
        needed = length + 2
        fitting = sizes >> needed
        if fitting:
            free = needed + (fitting & -fitting).bit_length() - 1
            row = open_rows[free].pop()
            if not open_rows[free]:
                sizes ^= 1 << free
        else:
            free, row = config.row_length, len(used)
            used.append(0)
        used[row] += 1
        table.append(Segment(row, config.row_length - free + 1, start, length, used[row], 1))
        free -= needed
        if free > 2 and used[row] < records.MAX_SPAN:
            open_rows.setdefault(free, []).append(row)
            sizes |= 1 << free
    return table


def pair_rows(
    documents: Sequence[Sequence[int]], config: settings.DataConfig, rng: random.Random
) -> list[Segment]:
    """Texts about images: `[CLS] text [SEP]`, what does not fit in further rows of its own.

    Nothing is drawn. Rows are in the order of the documents.
    """
    del rng
    room, start = config.row_length - 2, 0
    table: list[Segment] = []
    for lines in documents:
        end = start + sum(lines)
        for first in range(start, end, room):
            table.append(Segment(len(table), 1, first, min(room, end - first), 1, 1))
        start = end
    return table


# data.layout -> what decides where tokens go.
LAYOUTS: dict[
    str, Callable[[Sequence[Sequence[int]], settings.DataConfig, random.Random], list[Segment]]
] = {'segments': segment_rows, 'packed': packed_rows}


def lay_out(
    stream: np.ndarray, table: Sequence[Segment], dtype: np.dtype, special: api.SpecialIds
) -> np.ndarray:
    """Writes slices of a stream of token ids, int32 [T], into rows [R] of `records.row_dtype`.

    The segments of `table` fill the rows from 0 on; special tokens are put around them.
    """
    if not table:
        return np.zeros(0, dtype)
    row, column, start, length, span, has_cls = np.array(table).T
    rows = np.zeros(row.max() + 1, dtype)
    tokens = np.full(rows['tokens'].size, special.pad, rows['tokens'].dtype)
    spans = np.zeros(tokens.shape, np.uint8)
    first = row * rows['tokens'].shape[1] + column
    tokens[_ranges(first, length)] = stream[_ranges(start, length)]
    tokens[first[has_cls == 1] - 1] = special.cls
    tokens[first + length] = special.sep
    covered = length + has_cls + 1
    spans[_ranges(first - has_cls, covered)] = np.repeat(span.astype(np.uint8), covered)
    rows['tokens'] = tokens.reshape(rows['tokens'].shape)
    rows['spans'] = spans.reshape(rows['spans'].shape)
    return rows


def _ranges(starts: np.ndarray, lengths: np.ndarray) -> np.ndarray:
    """`starts[0], ..., starts[0] + lengths[0] - 1, starts[1], ...` as one array."""
    before = np.cumsum(lengths) - lengths
    ranges: np.ndarray = np.arange(lengths.sum()) + np.repeat(starts - before, lengths)
    return ranges
