"""Rows of a corpus as bytes: one row is one ArrayRecord record of fixed width.

A record is `L` token ids, little-endian, then `L` bytes of span numbers, then, where rows have an
image each, its bytes. Fixed width makes a batch one `np.frombuffer` over the joined records.
"""

import bisect
import contextlib
import dataclasses
import functools
import hashlib
import itertools
import math
import os
import pathlib
import resource
import typing
from collections.abc import Iterable, Sequence
from typing import Any, TypeVar

import numpy as np
from array_record.python import array_record_module

from electra_jax.core import files
from electra_jax.core.errors import DataError

# Of the options measured, this one reads single random rows nearly as fast as uncompressed records
# (97 k against 111 k a second), in 0.84 (L = 128) to 0.70 (L = 512) of the space.
_WRITER_OPTIONS = 'group_size:1,snappy'
_READER_OPTIONS = 'readahead_buffer_size:0,max_parallelism:0'  # for random access
_READER_BUFFER_BYTES = 32 * 1024
# An open shard is an open file and an index in memory, of 8 bytes a row (measured). A reader keeps
# as many open as fit in a 32nd of the machine's memory, on which other processes may train too, and
# in a quarter of the files that its process may open: training has two readers, and other files.
_INDEX_ROW_BYTES = 8
_INDEX_BYTES = os.sysconf('SC_PAGE_SIZE') * os.sysconf('SC_PHYS_PAGES') // 32
_OPEN_PART = 4

T = TypeVar('T')
MAX_SPAN = 255  # a span number is one byte
REMEDY = 'copy it again, or move the folder away and type the prepare command again'


def token_bytes(vocab_size: int) -> int:
    """The narrowest width of ids below `vocab_size`: 2 (uint16) or 4 (uint32)."""
    return 2 if vocab_size <= 1 << 16 else 4


def row_dtype(row_length: int, token_bytes: int, image_size: int = 0) -> np.dtype:
    """One record: field 'tokens' `[L]`, field 'spans' uint8 `[L]`, and with images 'pixels'.

    Pixels are uint8 `[image_size, image_size, 3]`: red, green, blue.
    """
    shape = (row_length,)
    fields: list[tuple[str, str, tuple[int, ...]]] = [
        ('tokens', f'<u{token_bytes}', shape),
        ('spans', 'u1', shape),
    ]
    if image_size:
        fields.append(('pixels', 'u1', (image_size, image_size, 3)))
    return np.dtype(fields)


@dataclasses.dataclass(frozen=True)
class Shard:
    """A finished shard file, as its corpus.json describes it."""

    name: str
    rows: int
    bytes: int
    sha256: str


def from_json(kind: type[T], data: Any, **known: object) -> T:
    """A dataclass of plain fields from JSON, but for those that are `known`.

    Raises:
        KeyError, TypeError: one is missing, or is not of its field's type.
    """
    for field in dataclasses.fields(kind):  # type: ignore[arg-type]  # of a type that is one
        if field.name not in known:
            value = data[field.name]
            if type(value) is not (typing.get_origin(field.type) or field.type):
                raise TypeError(f'{field.name} is {value!r:.60}')
            known[field.name] = value
    return kind(**known)


def decode_rows(records: Sequence[bytes], dtype: np.dtype) -> np.ndarray:
    """A batch of B records, each of `row_dtype`, as an array of that type, which is not copied.

    Spans are 0 on padding; in 'segments' 1 is `[CLS] a [SEP]` and 2 is `b [SEP]`; in 'packed' k is
    the k-th piece of the row.

    Raises:
        DataError: the records have another width.
    """
    joined = b''.join(records)
    if len(joined) != len(records) * dtype.itemsize:
        raise DataError(
            f'{len(records)} rows hold {len(joined)} bytes, but rows of length '
            f'{dtype["tokens"].shape[0]} hold {dtype.itemsize} each; the shards are not of the '
            'corpus.json next to them'
        )
    return np.frombuffer(joined, dtype)


class ShardWriter:
    """Writes a shard some rows at a time; its file is there only once it is whole.

    What cannot be written is a DataError.
    """

    def __init__(self, path: pathlib.Path) -> None:
        self._path = path
        self._fresh = path.with_name(f'{path.name}.{files.process_mark()}.tmp')
        self._rows = 0
        self._writer: Any = None

    def write(self, rows: np.ndarray) -> None:
        """Appends `rows`, of `row_dtype` `[R]`."""
        with self._explained():
            if len(rows) and self._writer is None:
                self._writer = array_record_module.ArrayRecordWriter(
                    str(self._fresh), _WRITER_OPTIONS
                )
            for row in rows:
                self._writer.write(row.tobytes())
            self._rows += len(rows)

    def close(self) -> Shard | None:
        """Puts the file in its place; None, and no file, where no rows were written."""
        if self._writer is None:
            return None
        with self._explained():
            self._writer.close()
            with self._fresh.open('rb') as file:
                os.fsync(file.fileno())  # before its sidecar is: a power cut keeps the order
            size, sha256 = self._fresh.stat().st_size, file_sha256(self._fresh)
            self._fresh.replace(self._path)
        return Shard(self._path.name, self._rows, size, sha256)

    def _explained(self) -> contextlib.AbstractContextManager[None]:
        return files.explained('write', self._path, (OSError, RuntimeError, ValueError))


def file_sha256(path: pathlib.Path) -> str:
    """Of the whole file, hex."""
    with path.open('rb') as file:
        return hashlib.file_digest(file, 'sha256').hexdigest()


class ShardReader:
    """Random access to the rows of several shards, numbered through; safe to use from threads.

    As many shards stay open as memory and the limit of open files allow: those that were used last.
    One that another thread still reads is closed when that thread is done with it.
    """

    def __init__(
        self, folder: str | pathlib.Path, shards: Iterable[Shard], share: float = 1.0
    ) -> None:
        """Opens every shard once, to check it.

        Args:
            folder: where the shards are.
            shards: in the order of their rows.
            share: of what one reader may keep open, in (0, 1]; for several readers used as one.

        Raises:
            DataError: a size, footer or row count is not as recorded.
        """
        self._folder = place = pathlib.Path(folder)
        self._shards = listed = list(shards)
        # Threads may share this cache. A shard that is not in it is opened while no lock is held,
        # so that two threads may open the same one: the second is as good.
        bounded = functools.lru_cache(_most_open(listed, share))
        self._opened = bounded(lambda number: _open_shard(place, listed[number]))
        for number in range(len(listed)):
            self._opened(number)
        self._ends = list(itertools.accumulate(shard.rows for shard in self._shards))

    def __len__(self) -> int:
        return self._ends[-1] if self._ends else 0

    def read(self, indices: Sequence[int]) -> list[bytes]:
        """The records at `indices` (each in `[0, len)`), in that order.

        Raises:
            IndexError: an index is out of range.
            DataError: a record cannot be read back, or its shard not be opened again.
        """
        by_shard: dict[int, list[int]] = {}
        for slot, index in enumerate(indices):
            if not 0 <= index < len(self):
                raise IndexError(f'row {index} of a corpus of {len(self)} rows')
            by_shard.setdefault(bisect.bisect_right(self._ends, index), []).append(slot)
        records = [b''] * len(indices)
        for shard, slots in by_shard.items():
            first = self._ends[shard] - self._shards[shard].rows
            rows = [int(indices[slot]) - first for slot in slots]
            reader = self._opened(shard)
            try:
                found = reader.read(rows)
            except (RuntimeError, ValueError, IndexError) as error:
                raise DataError(
                    f'{self._folder / self._shards[shard].name} is damaged: {error}; move the '
                    'folder away and build the corpus again'
                ) from error
            for slot, record in zip(slots, found, strict=True):
                records[slot] = record
        return records


def _most_open(shards: Sequence[Shard], share: float) -> int:
    """How many of these shards a reader with this share of memory and files keeps open."""
    index_bytes = _INDEX_ROW_BYTES * sum(shard.rows for shard in shards)
    fit = len(shards) * min(1.0, share * _INDEX_BYTES / max(index_bytes, 1))
    return max(1, int(min(fit, share / _OPEN_PART * _file_limit(fit * _OPEN_PART / share))))


def _file_limit(wanted: float) -> float:
    """The files that this process may open; its soft limit is raised for those that are wanted."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft == resource.RLIM_INFINITY:
        return math.inf
    if soft < wanted:
        more = math.ceil(wanted if hard == resource.RLIM_INFINITY else min(wanted, hard))
        with contextlib.suppress(OSError, ValueError):  # a system may have a lower limit yet
            resource.setrlimit(resource.RLIMIT_NOFILE, (more, hard))
            soft = more
    return soft


def _open_shard(folder: pathlib.Path, shard: Shard) -> array_record_module.ArrayRecordReader:
    path = folder / shard.name
    if not path.is_file():
        raise DataError(f'shard {path} is missing; {REMEDY}')
    size = path.stat().st_size
    if size != shard.bytes:
        raise DataError(
            f'shard {path} has {size} bytes, corpus.json has {shard.bytes}: it is torn or was '
            f'replaced; {REMEDY}'
        )
    try:
        reader = array_record_module.ArrayRecordReader(
            str(path), _READER_OPTIONS, file_reader_buffer_size=_READER_BUFFER_BYTES
        )
        rows = reader.num_records()
    except (RuntimeError, ValueError) as error:
        raise DataError(f'shard {path} cannot be opened ({error}); {REMEDY}') from error
    if rows != shard.rows:
        raise DataError(f'shard {path} has {rows} rows, corpus.json has {shard.rows}; {REMEDY}')
    return reader
