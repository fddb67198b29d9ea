"""Text of prepared TensorFlow datasets, read without TensorFlow and without its packages.

Their records are tf.train.Example messages, in files of two forms: TFRecord, TFDS's own, also those
of its public bucket, and ArrayRecord on this machine, where each record can be read by itself.
"""

import dataclasses
import itertools
import os
import re
from collections.abc import Iterator

from array_record.python import array_record_module

from electra_jax.core import tfds, tfrecord
from electra_jax.core.complaints import Complaints
from electra_jax.core.compressed import TornError
from electra_jax.core.errors import DataError
from electra_jax.core.files import explained
from electra_jax.corpus import documents, prepared

_READ_AT_ONCE = 256
_MOST_EXPANSION = 100  # text is at most so many times as large as its file
_DATASET_AND_SPLIT = re.compile(r'(.+):(\w+(?:\[[^\]]*\])?)')  # name:train, name:train[:10%]


@dataclasses.dataclass(frozen=True, kw_only=True)
class TfdsPart(documents.Part):
    """Records `first` to `last` of a file, which has `rows` of them."""

    path: str  # of the file, on this machine or in the bucket
    form: str  # 'tfrecord' or 'array_record'
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
        read = self._from_tfrecord if self.form == 'tfrecord' else self._from_array_record
        try:
            with explained('read', self.name):
                for number, data in enumerate(read(), start=self.first):
                    where = f'{self.name}, record {number}'
                    try:
                        yield where, tfrecord.text(data, self.field)
                    except ValueError as error:
                        complaints.refuse('bad_record', where, str(error))
        except TornError as error:
            complaints.refuse('torn_file', self.name, str(error))

    def _from_tfrecord(self) -> Iterator[bytes | None]:
        place = prepared.Bucket() if self.remote else prepared.Disk()
        number = -1
        for number, data in enumerate(tfrecord.records(place.chunks(self.path))):
            if number >= self.last:
                return
            if number >= self.first:
                yield data
        self._check_rows(number + 1)

    def _from_array_record(self) -> Iterator[bytes]:
        os.stat(self.path)  # the reader takes a file that is not there for a damaged one
        try:
            reader = array_record_module.ArrayRecordReader(self.path)
            self._check_rows(reader.num_records())
            for first in range(self.first, self.last, _READ_AT_ONCE):
                yield from reader.read(first, min(first + _READ_AT_ONCE, self.last))
        except (RuntimeError, ValueError, IndexError) as error:
            raise TornError(f'it is damaged ({error})') from error

    def _check_rows(self, found: int) -> None:
        if found < self.last:
            raise TornError(f'it holds {found} records of {self.rows}')


def parts(entry: documents.Entry, piece_bytes: int, complaints: Complaints) -> Iterator[TfdsPart]:
    """Parts of the files of a dataset 'NAME:SPLIT#FIELD'.

    Raises:
        DataError: the dataset, its split or the field is not there, or it has another form.
    """
    del complaints  # records are read later
    name, split = _name_and_split(entry)
    dataset = prepared.find(name, entry.revision)
    remote, form = isinstance(dataset.place, prepared.Bucket), dataset.file_format
    if form != 'tfrecord' and (remote or form != 'array_record'):
        raise DataError(
            f'the files of tfds:{dataset.path} are of the form {form}, which is not read from '
            f'there. {tfds.how_to_prepare(name)}'
        )
    fields = dataset.text_fields()
    if fields is not None and entry.field not in fields:
        raise DataError(
            f"'tfds:{entry.where}' has no text field {entry.field!r}; it has {', '.join(fields)}: "
            "name one as 'tfds:NAME:SPLIT#FIELD'"
        )
    for shard in dataset.shards(split):
        # What comes before a record of TFRecord must be read to find it.
        count = 1 if form == 'tfrecord' else _count(shard, piece_bytes)
        rows = shard.last - shard.first
        ends = [shard.first + rows * i // count for i in range(count + 1)]
        for first, last in itertools.pairwise(ends):
            yield TfdsPart(
                name=f'tfds:{shard.path}' if remote else shard.path,
                weight=entry.weight,
                text_bytes=shard.text_bytes // count,
                path=shard.path,
                form=form,
                remote=remote,
                field=entry.field,
                rows=shard.rows,
                first=first,
                last=last,
                block_bytes=piece_bytes,
                fingerprint=documents.digest(repr(dataset.info).encode()).hex(),
            )


def _count(shard: prepared.Shard, piece_bytes: int) -> int:
    """Into how many parts a file of ArrayRecord is divided."""
    with explained('read', shard.path):
        most = os.stat(shard.path).st_size * _MOST_EXPANSION
    size = min(shard.text_bytes, most)  # a damaged description may have any number
    return max(-(-size // piece_bytes), 1)


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
