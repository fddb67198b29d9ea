"""Text in Parquet files: data.source='parquet:PATH#FIELD'."""

import contextlib
import dataclasses
import functools
import itertools
import pathlib
from collections.abc import Iterator
from typing import Any, NamedTuple

from electra_jax.core.complaints import Complaints
from electra_jax.core.compressed import TornError
from electra_jax.core.errors import DataError, first_line
from electra_jax.core.files import explained
from electra_jax.corpus import documents, files

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
                for row, text in enumerate(texts, self.group.first_row):
                    yield f'{self.name}, row {row}', text or b''
        except TornError as error:
            complaints.refuse('torn_file', self.name, f'row group {self.number}: {error}')


def _arrow() -> Any:
    """The package pyarrow, which is imported where it is used: only this source needs it."""
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
        try:
            with explained('read', path):
                version = _version(path)
            with readable(str(path)):
                groups = row_groups(_reader(str(path), version), str(path), entry.field)
        except TornError as error:
            complaints.refuse('torn_file', str(path), str(error))
            continue
        if not sum(group.rows for group in groups):
            complaints.count('empty_file', str(path))
        for number, group in enumerate(groups):
            yield ParquetPart(
                name=str(path),
                weight=entry.weight,
                text_bytes=group.text_bytes,
                field=entry.field,
                number=number,
                group=group,
                block_bytes=piece_bytes,
                version=version,
            )


def _version(path: pathlib.Path) -> str:
    stat = path.stat()
    return f'{stat.st_size} bytes, {stat.st_mtime_ns} ns'


@functools.lru_cache(maxsize=2)
def _reader(name: str, version: str) -> Any:
    """An open file; `version` is part of the key, so that a file that changed is opened again."""
    del version
    return opened(name)


def opened(source: Any) -> Any:
    """A pyarrow.parquet.ParquetFile that reads a path or a file little by little."""
    return _arrow().parquet.ParquetFile(
        source, buffer_size=_STREAM_BYTES, page_checksum_verification=True
    )


@contextlib.contextmanager
def readable(name: str) -> Iterator[None]:
    """Turns what pyarrow raises for damage into a TornError."""
    try:
        yield
    # A truncated page is an OSError of no number; a system's own errors have one.
    except (_arrow().ArrowException, OSError) as error:
        if getattr(error, 'errno', None) is not None:
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
    for i in range(about.num_row_groups):
        group = about.row_group(i)
        column = group.column(index)
        sizes = column.total_compressed_size, column.total_uncompressed_size
        groups.append(RowGroup(first_row, group.num_rows, *sizes))
        first_row += group.num_rows
    if first_row != about.num_rows:  # no checksum guards the footer
        raise TornError(f'its row groups have {first_row} rows, and the file {about.num_rows}')
    return groups
