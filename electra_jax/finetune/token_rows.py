"""Examples as token rows of any length, held flat in memory, on disk, and cut into batches."""

import dataclasses
import hashlib
import json
import zipfile
from collections.abc import Mapping, Sequence

import numpy as np
from etils import epath

from electra_jax.core import files
from electra_jax.finetune.examples import Example

FORMAT = 2  # raise it when the meaning of cached rows changes


@dataclasses.dataclass(frozen=True)
class Ragged:
    """Lists of integers of different lengths: list i is `values[ends[i - 1] : ends[i]]`."""

    values: np.ndarray  # int32
    ends: np.ndarray  # int64, one an entry

    def __getitem__(self, i: int) -> np.ndarray:
        return self.values[self.ends[i - 1] if i else 0 : self.ends[i]]

    def __len__(self) -> int:
        return len(self.ends)

    def lengths(self) -> np.ndarray:
        """Of each list."""
        return np.diff(self.ends, prepend=0)


def ragged(lists: Sequence[np.ndarray]) -> Ragged:
    """Lays lists one after another.

    >>> ragged([np.array([1, 2]), np.array([3])])[1].tolist()
    [3]
    """
    values = np.concatenate([*lists, np.zeros(0, np.int32)]).astype(np.int32)
    return Ragged(values, np.cumsum([len(x) for x in lists], dtype=np.int64))


@dataclasses.dataclass(frozen=True)
class Rows:
    """Token rows of a split; one example may have several.

    Attributes:
      tokens: ids, [CLS] and [SEP] included.
      second: of each row, the place from which tokens are of type 1 (its length: none are).
      example: of each row, the example it is of.
      numbers: name -> one number a row, 'label' for example.
      marks: name -> one number a token, 'labels' for example.
      cut: the examples of which tokens were left out for want of room.
    """

    tokens: Ragged
    second: np.ndarray
    example: np.ndarray
    numbers: dict[str, np.ndarray]
    marks: dict[str, Ragged]
    cut: Sequence[int] = ()

    def __len__(self) -> int:
        return len(self.example)

    def digest(self) -> str:
        """Stands for every number of the rows."""
        found = hashlib.sha256()
        for name, x in sorted(_arrays(self).items()):
            found.update(name.encode() + x.tobytes())
        return found.hexdigest()[:32]


# What stands at a row's unused places; 0 where nothing is said.
MARK_FILL = {'labels': -1, 'words': -1}


def to_batch(
    rows: Rows, chosen: Sequence[int], batch_size: int, row_length: int, pad_id: int
) -> dict[str, np.ndarray]:
    """The chosen rows as arrays; rows of nothing, with weight 0, fill the batch up.

    Returns:
        int32 [B, L]: 'tokens', 'documents', 'positions', 'types', 'allowed' (type 1 and the first
        token: where an answer may be, as in electra, qa_tasks.py) and the rows' marks; [B]:
        'weight' (float32) and the rows' numbers.
    """
    shape = (batch_size, row_length)
    tokens_BL = np.full(shape, pad_id, np.int32)
    lengths_B = np.zeros(batch_size, np.int64)
    second_B = np.full(batch_size, row_length, np.int64)
    marks = {name: np.full(shape, MARK_FILL.get(name, 0), np.int32) for name in rows.marks}
    for slot, row in enumerate(chosen):
        ids = rows.tokens[row]
        tokens_BL[slot, : len(ids)] = ids
        lengths_B[slot], second_B[slot] = len(ids), rows.second[row]
        for name, filled in marks.items():
            filled[slot, : len(ids)] = rows.marks[name][row]
    place_BL = np.broadcast_to(np.arange(row_length), shape)
    real_BL = place_BL < lengths_B[:, None]
    types_BL = real_BL & (place_BL >= second_B[:, None])
    allowed_BL = types_BL | (place_BL == 0)
    numbers = {name: _filled(x[list(chosen)], batch_size) for name, x in rows.numbers.items()}
    return {
        'tokens': tokens_BL,
        'documents': real_BL.astype(np.int32),
        'positions': place_BL.astype(np.int32),
        'types': types_BL.astype(np.int32),
        'allowed': allowed_BL.astype(np.int32),
        'weight': _filled(np.ones(len(chosen), np.float32), batch_size),
        **numbers,
        **marks,
    }


def _filled(values: np.ndarray, size: int) -> np.ndarray:
    return np.concatenate([values, np.zeros(size - len(values), values.dtype)])


def cache_key(examples: Sequence[Example], settings: Mapping[str, object]) -> str:
    """A name for the rows of these examples under these settings (the tokenizer's hash included).

    It follows from every character of the examples, so a changed file never meets old rows.
    """
    digest = hashlib.sha256(json.dumps([FORMAT, dict(settings)], sort_keys=True).encode())
    for example in examples:
        # `where` names the file, which may have moved.
        digest.update(json.dumps(example._replace(where='')).encode() + b'\n')
    return digest.hexdigest()[:32]


def load(path: epath.Path) -> Rows | None:
    """Rows that `save` wrote, or None where there are none that can be read."""
    try:
        with path.open('rb') as file, np.load(file, allow_pickle=False) as content:
            arrays = {name: content[name] for name in content.files}
        names = json.loads(bytes(arrays.pop('names')))
        return Rows(
            Ragged(arrays['tokens'], arrays['tokens/ends']),
            arrays['second'],
            arrays['example'],
            {name: arrays[f'numbers/{name}'] for name in names['numbers']},
            {
                name: Ragged(arrays[f'marks/{name}'], arrays['tokens/ends'])
                for name in names['marks']
            },
            names['cut'],
        )
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile):
        return None  # made again, at the cost of a few seconds


def save(path: epath.Path, rows: Rows) -> None:
    """Writes rows so that a reader sees all of them or none."""
    path.parent.mkdir(parents=True, exist_ok=True)
    names = {'numbers': list(rows.numbers), 'marks': list(rows.marks), 'cut': list(rows.cut)}
    arrays = {'names': np.frombuffer(json.dumps(names).encode(), np.uint8), **_arrays(rows)}
    with files.placed(path, files.process_mark()) as fresh, fresh.open('wb') as file:
        np.savez(file, **arrays)


def _arrays(rows: Rows) -> dict[str, np.ndarray]:
    return {
        'tokens': rows.tokens.values,
        'tokens/ends': rows.tokens.ends,
        'second': rows.second,
        'example': rows.example,
        **{f'numbers/{name}': x for name, x in rows.numbers.items()},
        **{f'marks/{name}': x.values for name, x in rows.marks.items()},
    }
