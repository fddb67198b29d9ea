"""Tokens to rows: the two layouts, as tables of segments that are then written out at once.

Both layouts only decide where slices of the token stream go (a `Segments` table); `lay_out`
moves all tokens with a few numpy calls. No token is ever left out.
"""

import dataclasses
import random
from collections.abc import Callable, Sequence

import numpy as np

from electra_jax.config import settings
from electra_jax.data import records
from electra_jax.tokenizers import api


@dataclasses.dataclass
class Segments:
    """Slices of a token stream and their places; entry i of every list is one segment.

    Attributes:
      row: row it goes to.
      column: column of its first token.
      start: index of its first token in the stream.
      length: its number of tokens.
      span: its span number, from 1; [SEP] follows it, and belongs to the span.
      has_cls: 1 where [CLS] precedes it, and belongs to the span.
      rows: rows in all.
    """

    row: list[int] = dataclasses.field(default_factory=list)
    column: list[int] = dataclasses.field(default_factory=list)
    start: list[int] = dataclasses.field(default_factory=list)
    length: list[int] = dataclasses.field(default_factory=list)
    span: list[int] = dataclasses.field(default_factory=list)
    has_cls: list[int] = dataclasses.field(default_factory=list)
    rows: int = 0

    def add(self, row: int, column: int, start: int, length: int, span: int, has_cls: int) -> None:
        """Appends one segment."""
        self.row.append(row)
        self.column.append(column)
        self.start.append(start)
        self.length.append(length)
        self.span.append(span)
        self.has_cls.append(has_cls)


def segment_rows(
    documents: Sequence[Sequence[int]], config: settings.DataConfig, rng: random.Random
) -> Segments:
    """The layout 'segments': `[CLS] a [SEP] b [SEP]`, after build_pretraining_dataset.py:52-95.

    Lines of one document are collected until they reach a target length, then shared between a
    and b. Two things differ from the reference: what does not fit goes on in the next row
    instead of being dropped, and once b has begun no later line goes back into a, so a row is
    always consecutive text.

    Args:
      documents: token count of each line, per document; the stream is all lines in order.
      config: row_length, one_segment_rate, short_row_rate.
      rng: source of all draws.
    """
    table = Segments()
    target = config.row_length
    start = 0
    for lines in documents:
        waiting: list[int] = []  # line lengths collected for the next row
        total = 0
        for length in lines:
            waiting.append(length)
            total += length
            while total >= target:
                used = _emit_row(table, start, waiting, config, target, rng)
                start += used
                total -= used
                waiting = _after(waiting, used)
                target = _next_target(config, rng)
        while total:
            used = _emit_row(table, start, waiting, config, target, rng)
            start += used
            total -= used
            waiting = _after(waiting, used)
            target = _next_target(config, rng)
    return table


def _next_target(config: settings.DataConfig, rng: random.Random) -> int:
    """Tokens that the next row aims for: a full row, or now and then a random shorter one."""
    full = config.row_length
    short = rng.random() < config.short_row_rate
    return rng.randint(min(5, full), full) if short else full


def _emit_row(
    table: Segments,
    start: int,
    lines: Sequence[int],
    config: settings.DataConfig,
    target: int,
    rng: random.Random,
) -> int:
    """Adds one row made of the tokens from `start` on; returns how many it took."""
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
    second = min(sum(lines) - first, max(row_length - 3 - first, 0))
    table.add(table.rows, 1, start, first, 1, 1)
    if second:
        table.add(table.rows, first + 2, start + first, second, 2, 0)
    table.rows += 1
    return first + second


def _after(lines: Sequence[int], used: int) -> list[int]:
    """What is left of `lines` (lengths) once the first `used` tokens are gone."""
    for i, length in enumerate(lines):
        if used < length:
            return [length - used, *lines[i + 1 :]]
        used -= length
    return []


def packed_rows(
    documents: Sequence[Sequence[int]], config: settings.DataConfig, rng: random.Random
) -> Segments:
    """The layout 'packed': whole pieces `[CLS] piece [SEP]` of several documents in a row.

    A document is cut into pieces of at most L - 2 tokens; pieces go, longest first, into the
    fullest row that still has room (best fit decreasing).

    Args:
      documents: token count of each line, per document; the stream is all lines in order.
      config: row_length.
      rng: not used: nothing is drawn.
    """
    del rng
    room = config.row_length - 2
    pieces: list[tuple[int, int]] = []  # start, length
    start = 0
    for lines in documents:
        left = sum(lines)
        while left:
            length = min(left, room)
            pieces.append((start, length))
            start += length
            left -= length
    pieces.sort(key=lambda piece: -piece[1])  # stable: equal lengths stay in text order
    table = Segments()
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
        table.add(row, config.row_length - free + 1, start, length, used[row], 1)
        free -= needed
        if free > 2 and used[row] < records.MAX_SPAN:
            open_rows.setdefault(free, []).append(row)
            sizes |= 1 << free
    table.rows = len(used)
    return table


# data.layout -> what decides where tokens go.
LAYOUTS: dict[
    str, Callable[[Sequence[Sequence[int]], settings.DataConfig, random.Random], Segments]
] = {'segments': segment_rows, 'packed': packed_rows}


def lay_out(
    stream: np.ndarray,
    table: Segments,
    row_format: records.RowFormat,
    special: api.SpecialIds,
) -> np.ndarray:
    """Writes the segments of `table` into rows.

    Args:
      stream: token ids, int32 `[T]`.
      table: slices of the stream and their places.
      row_format: of the rows.
      special: ids of the tokens put around segments.

    Returns:
      rows, `row_format.dtype` `[R]`.
    """
    rows = np.zeros(table.rows, row_format.dtype)
    if not table.rows:
        return rows
    tokens = np.full(table.rows * row_format.row_length, special.pad, rows['tokens'].dtype)
    spans = np.zeros(tokens.shape, np.uint8)
    length = np.array(table.length)
    place = np.array(table.row) * row_format.row_length + np.array(table.column)
    tokens[_ranges(place, length)] = stream[_ranges(np.array(table.start), length)]
    has_cls = np.array(table.has_cls)
    tokens[place[has_cls == 1] - 1] = special.cls
    tokens[place + length] = special.sep
    covered = length + has_cls + 1
    spans[_ranges(place - has_cls, covered)] = np.repeat(np.array(table.span, np.uint8), covered)
    rows['tokens'] = tokens.reshape(table.rows, row_format.row_length)
    rows['spans'] = spans.reshape(table.rows, row_format.row_length)
    return rows


def _ranges(starts: np.ndarray, lengths: np.ndarray) -> np.ndarray:
    """`starts[0], ..., starts[0] + lengths[0] - 1, starts[1], ...` as one array.

    >>> _ranges(np.array([5, 0]), np.array([2, 3])).tolist()
    [5, 6, 0, 1, 2]
    """
    before = np.cumsum(lengths) - lengths
    return np.arange(lengths.sum()) + np.repeat(starts - before, lengths)
