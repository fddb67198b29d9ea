"""Text of prepared TensorFlow datasets."""

import dataclasses
import functools
import re
from collections.abc import Iterator, Sequence
from typing import Any

from electra_jax.core import tfds
from electra_jax.core.complaints import Complaints
from electra_jax.core.errors import DataError, first_line
from electra_jax.corpus import documents

_READ_AT_ONCE = 256
_PROBED_ROWS = 64
_DATASET_AND_SPLIT = re.compile(r'(.+):(\w+(?:\[[^\]]*\])?)')  # name:train, name:train[:10%]


@dataclasses.dataclass(frozen=True, kw_only=True)
class TfdsPart(documents.Part):
    """Rows `start` to `stop` of a split of the dataset or folder `name`."""

    split: str  # such as 'train' or 'train[:10%]'
    field: str  # which feature holds the text
    start: int
    stop: int
    fingerprint: str  # stands for the content of the dataset

    def open(self, complaints: Complaints) -> Iterator[documents.Block]:
        """The rows as one block, which are read as they are asked for."""
        yield documents.block_of(self.text_bytes, self._texts(complaints), complaints)

    def _texts(self, complaints: Complaints) -> Iterator[tuple[str, str]]:
        rows, _ = _open(self.name, self.split)
        for first in range(self.start, self.stop, _READ_AT_ONCE):
            numbers = range(first, min(first + _READ_AT_ONCE, self.stop))
            read = _read(rows, numbers, f'{self.name}:{self.split}')
            for number, row in zip(numbers, read, strict=True):
                where = f'{self.name}:{self.split}, row {number}'
                text = _text(row, self.field, where)
                if isinstance(text, bytes):
                    text = documents.decode(text, where, 0, complaints)
                yield where, text


def _read(rows: Any, numbers: Sequence[int], where: str) -> list[Any]:
    try:
        return list(rows.__getitems__(list(numbers))) if numbers else []
    except Exception as error:  # from the library of each file format, whatever it raises
        raise DataError(
            f'tfds:{where}: rows {numbers[0]} to {numbers[-1]} cannot be read '
            f'({first_line(error)}): its files are damaged; copy or prepare them again'
        ) from error


def _text(row: Any, field: str, where: str) -> str | bytes:
    value = row.get(field) if isinstance(row, dict) else None
    if isinstance(value, str | bytes):
        return value
    has = ', '.join(sorted(map(str, row))) if isinstance(row, dict) else type(row).__name__
    raise DataError(
        f"'tfds:{where}' has no text field {field!r}; it has {has}: name one as "
        "'tfds:NAME:SPLIT#FIELD'"
    )


def parts(entry: documents.Entry, piece_bytes: int, complaints: Complaints) -> Iterator[TfdsPart]:
    """Ranges of rows of the dataset 'NAME:SPLIT#FIELD', each with about `piece_bytes` of text.

    Raises:
        DataError: the dataset, its split or the field is not there.
    """
    del complaints  # rows are read later
    match = _DATASET_AND_SPLIT.fullmatch(entry.where)
    if not match:
        raise DataError(
            f"data.source names 'tfds:{entry.where}', which needs a dataset and a split, such as "
            "'tfds:wikipedia/20230601.en:train'"
        )
    name, split = match.groups()
    rows, fingerprint = _open(name, split)
    count = len(rows)
    # Some rows spread over the dataset show how much text there is.
    probed = sorted({i * count // _PROBED_ROWS for i in range(_PROBED_ROWS)}) if count else []
    sizes = [len(_text(row, entry.field, entry.where)) for row in _read(rows, probed, entry.where)]
    row_bytes = max(sum(sizes) / max(len(sizes), 1), 1.0)
    step = max(int(piece_bytes / row_bytes), 1)
    for start in range(0, count, step):
        stop = min(start + step, count)
        yield TfdsPart(
            weight=entry.weight,
            text_bytes=int((stop - start) * row_bytes),
            name=name,
            split=split,
            field=entry.field,
            start=start,
            stop=stop,
            fingerprint=fingerprint,
        )


@functools.lru_cache(maxsize=4)
def _open(name: str, split: str) -> tuple[Any, str]:
    """The rows of a split, and a string that stands for their content."""
    rows, info = tfds.open_split(name, split)
    sizes = {key: one.num_bytes for key, one in info.splits.items()}
    return rows, f'{info.full_name} {sorted(sizes.items())}'
