"""Examples as token rows of any length, kept flat in memory, and as batches of arrays."""

# R: tokens of a target

import dataclasses
import hashlib
from collections.abc import Callable, Sequence
from typing import TypeVar

import numpy as np

from electra_jax.tokenizers.api import SpecialIds

Encoded = TypeVar('Encoded')


@dataclasses.dataclass(frozen=True)
class Ragged:
    """Lists of integers of different lengths: list i is `values[ends[i - 1] : ends[i]]`."""

    values: np.ndarray  # int32
    ends: np.ndarray  # int64, one for each list

    def __getitem__(self, i: int) -> np.ndarray:
        return self.values[self.ends[i - 1] if i else 0 : self.ends[i]]

    def __len__(self) -> int:
        return len(self.ends)

    def lengths(self) -> np.ndarray:
        """The length of each list."""
        return np.diff(self.ends, prepend=0)


def ragged(lists: Sequence[np.ndarray]) -> Ragged:
    """Puts lists one after another.

    >>> ragged([np.array([1, 2]), np.array([3])])[1].tolist()
    [3]
    """
    values = np.concatenate([*lists, np.zeros(0, np.int32)]).astype(np.int32)
    return Ragged(values, np.cumsum([len(x) for x in lists], dtype=np.int64))


@dataclasses.dataclass(frozen=True)
class Rows:
    """The token rows of a split; one example may have several."""

    tokens: Ragged  # ids, [CLS] and [SEP] included
    # For each row, the position from which tokens have type 1; the row's length where none has.
    second: np.ndarray
    example: np.ndarray  # for each row, the number of its example
    numbers: dict[str, np.ndarray]  # name -> an entry for each row, for example 'label'
    marks: dict[str, Ragged]  # name -> one number for each token, for example 'labels'
    fill: int = 0  # what marks hold at the unused positions of a row
    cut: Sequence[int] = ()  # examples of which tokens were left out because the row was full
    cut_as: str = 'cut'  # the complaint about these
    targets: 'Targets | None' = None  # what a decoder learns to write
    # Ids that a decoder wrote -> their text, by the tokenizer that made the rows.
    decode: Callable[[Sequence[int]], str] | None = None
    notes: Sequence[str] = ()  # what people must know about the texts
    once: 'Rows | None' = None  # rows for answers, where those to train on repeat texts
    texts: int = 1  # how many of them stand in a row, each of as many tokens as a task's row

    def __len__(self) -> int:
        return len(self.example)

    def lengths(self) -> np.ndarray:
        """What decides which rows stand together: the longer of a row's tokens and its target."""
        lengths = self.tokens.lengths()
        return lengths if self.targets is None else np.maximum(lengths, self.targets.ids.lengths())

    def longest(self, row_length: int) -> int:
        """The longest shape of rows that have `row_length` tokens at most."""
        row_length *= self.texts
        return row_length if self.targets is None else max(row_length, self.targets.longest)

    def digest(self) -> str:
        """A hash of every number of the rows."""
        arrays = {
            'tokens': self.tokens.values,
            'tokens/ends': self.tokens.ends,
            'second': self.second,
            'example': self.example,
            **{f'numbers/{name}': x for name, x in self.numbers.items()},
            **{f'marks/{name}': x.values for name, x in self.marks.items()},
        }
        if self.targets is not None:
            arrays['targets'] = self.targets.ids.values
            arrays['targets/ends'] = self.targets.ids.ends
        digest = hashlib.sha256()
        for name, x in sorted(arrays.items()):
            digest.update(name.encode() + x.tobytes())
        return digest.hexdigest()[:32]


@dataclasses.dataclass(frozen=True)
class Targets:
    """A text for each row, which a decoder learns to write."""

    ids: Ragged  # the token that ends a text included
    longest: int  # at most
    row_length: int  # the longest row of tokens that stands with them
    cut: Sequence[int] = ()  # examples whose target was longer

    def arrays(self, chosen: Sequence[int] | np.ndarray, size: int, longest: int) -> np.ndarray:
        """Int32 [size, R] of some rows; -1 where there is no token."""
        target_BR = np.full((size, min(longest, self.longest)), -1, np.int32)
        for slot, row in enumerate(chosen):
            ids = self.ids[row]
            target_BR[slot, : len(ids)] = ids
        return target_BR


def texts_apart(
    rows: Sequence[Sequence[np.ndarray | None]], special: SpecialIds
) -> tuple[Ragged, dict[str, Ragged]]:
    """Rows of several texts that do not see each other, each [CLS] text [SEP].

    Args:
        rows: ids, int32 [T], of the texts of each row; None: the row lacks that one.

    Returns:
        the tokens, and marks that take the place of those of one text: 'documents', the number of
        the text from 1, and 'positions', which begin again in each. Also 'inside': 1 but at [CLS]
        and [SEP].
    """
    cls, sep = (np.array([x], np.int32) for x in (special.cls, special.sep))
    tokens = []
    marks: dict[str, list[np.ndarray]] = {'documents': [], 'positions': [], 'inside': []}
    for texts in rows:
        given = [(number, ids) for number, ids in enumerate(texts, 1) if ids is not None]
        sizes = [len(ids) + 2 for _, ids in given]
        positions = np.concatenate([np.arange(size) for size in sizes])
        ends = np.repeat(sizes, sizes) - 1
        tokens.append(np.concatenate([x for _, ids in given for x in (cls, ids, sep)]))
        marks['documents'].append(np.repeat([number for number, _ in given], sizes))
        marks['positions'].append(positions)
        marks['inside'].append((positions > 0) & (positions < ends))
    return ragged(tokens), {name: ragged(some) for name, some in marks.items()}


def to_batch(
    rows: Rows, chosen: Sequence[int] | np.ndarray, batch_size: int, row_length: int, pad_id: int
) -> dict[str, np.ndarray]:
    """At most `batch_size` rows as arrays; empty rows, with weight 0, fill up the batch.

    Returns:
        int32 [B, L]: 'tokens', 'documents', 'positions', 'types', 'allowed' (type 1 and the first
        token: where an answer may be, as in electra, qa_tasks.py) and the rows' marks; [B]:
        'weight' (float32) and the rows' numbers. Rows with targets also have 'target', int32
        [B, R]: R is `row_length`, or the most that targets have.
    """
    targets = {}
    if rows.targets is not None:
        targets = {'target': rows.targets.arrays(chosen, batch_size, row_length)}
        row_length = min(row_length, rows.targets.row_length)
    shape = (batch_size, row_length)
    tokens_BL = np.full(shape, pad_id, np.int32)
    lengths_B = np.zeros(batch_size, np.int64)
    second_B = np.full(batch_size, row_length, np.int64)
    marks = {name: np.full(shape, rows.fill, np.int32) for name in rows.marks}
    for slot, row in enumerate(chosen):
        ids = rows.tokens[row]
        tokens_BL[slot, : len(ids)] = ids
        lengths_B[slot], second_B[slot] = len(ids), rows.second[row]
        for name, filled in marks.items():
            filled[slot, : len(ids)] = rows.marks[name][row]
    position_BL = np.broadcast_to(np.arange(row_length), shape)
    real_BL = position_BL < lengths_B[:, None]
    types_BL = real_BL & (position_BL >= second_B[:, None])
    allowed_BL = types_BL | (position_BL == 0)
    numbers = {name: _padded(x[list(chosen)], batch_size) for name, x in rows.numbers.items()}
    return {
        'tokens': tokens_BL,
        'documents': real_BL.astype(np.int32),
        'positions': position_BL.astype(np.int32),
        'types': types_BL.astype(np.int32),
        'allowed': allowed_BL.astype(np.int32),
        'weight': _padded(np.ones(len(chosen), np.float32), batch_size),
        **numbers,
        **marks,
        **targets,
    }


def _padded(values: np.ndarray, size: int) -> np.ndarray:
    return np.pad(values, [(0, size - len(values))] + [(0, 0)] * (values.ndim - 1))


def truncated(a: int, b: int, room: int) -> tuple[int, int]:
    """Lengths of a pair after dropping tokens of the longer one, of `b` where they are equal.

    >>> truncated(10, 3, 9), truncated(10, 10, 9), truncated(2, 3, 9)
    ((6, 3), (5, 4), (2, 3))
    """
    while a + b > room:
        if a > b:
            a -= 1
        else:
            b -= 1
    return a, b


def encode_all(
    encode: Callable[[Sequence[str]], list[Encoded]], texts: Sequence[str], at_once: int = 20_000
) -> list[Encoded]:
    """What a function of a tokenizer makes of each text, given a limited number at a time."""
    encoded = [encode(texts[at : at + at_once]) for at in range(0, len(texts), at_once)]
    return [one for some in encoded for one in some]
