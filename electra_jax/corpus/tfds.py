"""Text of prepared TensorFlow datasets.

Files in the form TFRecord, TFDS's own, are read here, also those of its public bucket. Files in the
form ArrayRecord are read through the package tensorflow-datasets.
"""

import dataclasses
import functools
import re
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from electra_jax.core import tfds, tfrecord
from electra_jax.core.complaints import Complaints
from electra_jax.core.compressed import TornError
from electra_jax.core.errors import DataError, first_line
from electra_jax.core.files import explained
from electra_jax.corpus import documents, prepared

_READ_AT_ONCE = 256
_PROBED_ROWS = 64
_DATASET_AND_SPLIT = re.compile(r'(.+):(\w+(?:\[[^\]]*\])?)')  # name:train, name:train[:10%]


@dataclasses.dataclass(frozen=True, kw_only=True)
class TfrecordPart(documents.Part):
    """Records `first` to `last` of a file, which has `rows` of them."""

    path: str  # of the file, on this machine or in the bucket
    remote: bool
    field: str
    rows: int
    first: int
    last: int
    block_bytes: int  # so much text, about, is in memory at a time
    fingerprint: str  # stands for the content of the dataset

    @property
    def least_bytes(self) -> int:
        return min(self.block_bytes, self.text_bytes) if self.remote else 0

    def open(self, complaints: Complaints) -> Iterator[documents.Block]:
        yield from documents.blocks_of(self._texts(complaints), self.block_bytes, complaints)

    def _texts(self, complaints: Complaints) -> Iterator[tuple[str, bytes]]:
        place = prepared.Bucket() if self.remote else prepared.Disk()
        number = -1
        try:
            with explained('read', self.name):
                for number, data in enumerate(tfrecord.records(place.chunks(self.path))):
                    if number >= self.last:
                        return
                    if number >= self.first:
                        where = f'{self.name}, record {number}'
                        try:
                            yield where, tfrecord.text(data, self.field)
                        except ValueError as error:
                            complaints.refuse('bad_record', where, str(error))
            if number + 1 < self.last:
                raise TornError(f'it holds {number + 1} records of {self.rows}')
        except TornError as error:
            complaints.refuse('torn_file', self.name, str(error))


@dataclasses.dataclass(frozen=True, kw_only=True)
class TfdsPart(documents.Part):
    """Rows `start` to `stop` of a split of the ArrayRecord dataset or folder `name`."""

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
    raise _no_field(where, field, row if isinstance(row, dict) else [type(row).__name__])


def _no_field(where: str, field: str, has: Iterable[str]) -> DataError:
    return DataError(
        f"'tfds:{where}' has no text field {field!r}; it has {', '.join(sorted(map(str, has)))}: "
        "name one as 'tfds:NAME:SPLIT#FIELD'"
    )


def parts(
    entry: documents.Entry, piece_bytes: int, complaints: Complaints
) -> Iterator[documents.Part]:
    """The dataset 'NAME:SPLIT#FIELD': files of TFRecord, or ranges of rows of ArrayRecord.

    Raises:
        DataError: the dataset, its split or the field is not there, or it has another form.
    """
    del complaints  # rows are read later
    name, split = _name_and_split(entry)
    dataset = prepared.find(name, entry.revision)
    if dataset.file_format == 'array_record' and isinstance(dataset.place, prepared.Disk):
        yield from _array_record_parts(entry, name, split, piece_bytes)
        return
    if dataset.file_format != 'tfrecord':
        raise DataError(
            f'the files of tfds:{dataset.path} are of the form {dataset.file_format}, which is not '
            f'read from there. {tfds.how_to_prepare(name)}'
        )
    fields = dataset.text_fields()
    if fields is not None and entry.field not in fields:
        raise _no_field(entry.where, entry.field, fields)
    remote = isinstance(dataset.place, prepared.Bucket)
    for shard in dataset.shards(split):
        yield TfrecordPart(
            name=f'tfds:{shard.path}' if remote else shard.path,
            weight=entry.weight,
            text_bytes=shard.text_bytes,
            path=shard.path,
            remote=remote,
            field=entry.field,
            rows=shard.rows,
            first=shard.first,
            last=shard.last,
            block_bytes=piece_bytes,
            fingerprint=documents.digest(repr(dataset.info).encode()).hex(),
        )


def pin(entry: documents.Entry) -> str:
    """The folder in the bucket that the name stands for; '' where it is on this machine."""
    dataset = prepared.find(_name_and_split(entry)[0])
    return dataset.path if isinstance(dataset.place, prepared.Bucket) else ''


def _name_and_split(entry: documents.Entry) -> tuple[str, str]:
    match = _DATASET_AND_SPLIT.fullmatch(entry.where)
    if not match:
        raise DataError(
            f"data.source names 'tfds:{entry.where}', which needs a dataset and a split, such as "
            "'tfds:wikipedia/20230601.en:train'"
        )
    return match[1], match[2]


def _array_record_parts(
    entry: documents.Entry, name: str, split: str, piece_bytes: int
) -> Iterator[TfdsPart]:
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
