"""Text in Parquet files: data.source='parquet:PATH#FIELD'."""

import contextlib
import dataclasses
import functools
import itertools
import os
import pathlib
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple, TypeVar

from electra_jax.core.complaints import Complaints
from electra_jax.core.compressed import TornError
from electra_jax.core.errors import DataError, first_line
from electra_jax.core.files import explained
from electra_jax.corpus import documents, files, footers

_STREAM_BYTES = 1 << 20  # of a column that are read from the file at a time
_BATCH_BYTES = 1 << 20  # of text that are unpacked at a time, about


class RowGroup(NamedTuple):
    """Rows of a file that are stored together, and what their column of text takes."""

    first_row: int
    rows: int
    packed_bytes: int
    text_bytes: int  # about


@dataclasses.dataclass(frozen=True, kw_only=True)
class ParquetPart(documents.Part):
    """One row group of a file."""

    field: str
    number: int  # of the row group
    group: RowGroup
    block_bytes: int  # so much text, about, is in memory at a time
    version: str  # stands for the content of the whole file

    @property
    def read_bytes(self) -> int:
        return self.group.packed_bytes

    def reader(self) -> Any:
        """The open file, a pyarrow.parquet.ParquetFile."""
        return _reader(self.name, self.version)

    def open(self, complaints: Complaints) -> Iterator[documents.Block]:
        yield from documents.blocks_of(self._texts(complaints), self.block_bytes, complaints)

    def _texts(self, complaints: Complaints) -> Iterator[tuple[str, bytes]]:
        row_bytes = max(self.group.text_bytes // max(self.group.rows, 1), 1)
        try:
            with readable(self.name):
                batches = self.reader().iter_batches(
                    max(_BATCH_BYTES // row_bytes, 1),
                    row_groups=[self.number],
                    columns=[self.field],
                    use_threads=False,  # each process has a core
                )
                texts = itertools.chain.from_iterable(map(_texts, batches))
                row = self.group.first_row
                for text in texts:
                    yield f'{self.name}, row {row}', text or b''
                    row += 1
            if (read := row - self.group.first_row) != self.group.rows:
                raise TornError(f'{read} of {self.group.rows} rows are there')
        except TornError as error:
            complaints.refuse('torn_file', self.name, f'row group {self.number}: {error}')


P = TypeVar('P', bound=ParquetPart)


def _arrow() -> Any:
    """The package pyarrow, which is imported where it is used: only this source needs it."""
    # Arrow's own allocator keeps what was freed; where pyarrow is imported already, it stays.
    os.environ.setdefault('ARROW_DEFAULT_MEMORY_POOL', 'system')
    try:
        import pyarrow.parquet
    except ImportError as error:
        raise DataError(
            "Parquet files need the package pyarrow; type: pip install -e '.[parquet]'"
        ) from error
    return pyarrow


def _texts(batch: Any) -> list[bytes | None]:
    """The values of a column of strings, which Parquet does not check, as they are in the file."""
    return batch.column(0).cast(_arrow().large_binary()).to_pylist()


def parts(
    entry: documents.Entry, piece_bytes: int, complaints: Complaints
) -> Iterator[ParquetPart]:
    """The row groups of the files that an entry names.

    Raises:
        DataError: there are no files, one cannot be read, or has no such column of text.
    """
    for path in files.find_files(entry.where, documents.PARQUET, complaints):
        with explained('read', path):
            version = _version(path)
        make = functools.partial(ParquetPart, version=version, block_bytes=piece_bytes)
        find = functools.partial(_row_groups, str(path), entry.field)
        yield from parts_of(str(path), find, entry, make, complaints)


def parts_of(
    name: str,
    find: Callable[[], list[RowGroup]],
    entry: documents.Entry,
    make: Callable[..., P],
    complaints: Complaints,
) -> Iterator[P]:
    """A part, which `make` makes, for each of the row groups that `find` gives of a file."""
    try:
        groups = find()
    except TornError as error:
        complaints.refuse('torn_file', name, str(error))
        return
    if not sum(group.rows for group in groups):
        complaints.count('empty_file', name)
    for number, group in enumerate(groups):
        yield make(
            name=name,
            weight=entry.weight,
            text_bytes=group.text_bytes,
            field=entry.field,
            number=number,
            group=group,
        )


def _row_groups(name: str, field: str) -> list[RowGroup]:
    with readable(name), opened(name) as reader:
        return row_groups(reader, name, field)


def _version(path: pathlib.Path) -> str:
    stat = path.stat()
    return f'{stat.st_size} bytes, {stat.st_mtime_ns} ns'


@functools.lru_cache(maxsize=2)
def _reader(name: str, version: str) -> Any:
    """An open file; `version` is part of the key, so that a file that changed is opened again."""
    del version
    return opened(name)


def opened(source: Any, ahead: bool = False) -> Any:
    """A pyarrow.parquet.ParquetFile of a path or a file.

    It reads little by little; or `ahead`, the whole column of a row group in a few requests.
    """
    return _arrow().parquet.ParquetFile(
        source, buffer_size=_STREAM_BYTES, pre_buffer=ahead, page_checksum_verification=True
    )


@contextlib.contextmanager
def readable(name: str) -> Iterator[None]:
    """Turns what pyarrow raises for damage into a TornError."""
    try:
        yield
    # A truncated page is an OSError of no number; a system's own errors have one. The name of a
    # column whose bytes are damaged is no UTF-8.
    except (_arrow().ArrowException, OSError, UnicodeDecodeError) as error:
        if isinstance(error, OSError) and error.errno is not None:
            raise DataError(f'cannot read {name}: {error.strerror or error}') from error
        raise TornError(f'it is damaged, or no Parquet ({first_line(error)})') from error


def row_groups(reader: Any, name: str, field: str) -> list[RowGroup]:
    """The row groups of a file with text in the column `field`.

    Raises:
        DataError: there is no such column, or it is none of text.
    """
    is_type, about = _arrow().types, reader.metadata
    columns = {column.name: column.type for column in reader.schema_arrow}
    kind = columns.get(field)
    if kind is not None and is_type.is_dictionary(kind):
        kind = kind.value_type
    checks = (
        is_type.is_string, is_type.is_large_string, is_type.is_binary, is_type.is_large_binary,
        is_type.is_string_view, is_type.is_binary_view,
    )  # fmt: skip
    if kind is None or not any(check(kind) for check in checks):
        problem = f'is of {kind}, not text' if kind is not None else 'is not there'
        has = ', '.join(f'{one} ({kind})' for one, kind in list(columns.items())[:20]) or 'none'
        raise DataError(
            f'{name}: the column {field!r} {problem}; it has {has}: name one of text with #FIELD '
            'in data.source'
        )
    index = next(i for i in range(about.num_columns) if about.schema.column(i).path == field)
    groups, first_row = [], 0
    try:
        found = footers.columns(about, index)
    except footers.DamagedError as error:
        raise TornError(f'it is damaged, or no Parquet ({error})') from error
    for one in found:
        if one.rows != one.values:  # no checksum guards the footer
            raise TornError(f'a row group has {one.rows} rows, and {field!r} {one.values} values')
        groups.append(RowGroup(first_row, one.rows, one.packed_bytes, one.text_bytes))
        first_row += one.rows
    if first_row != about.num_rows:
        raise TornError(f'its row groups have {first_row} rows, and the file {about.num_rows}')
    return groups
