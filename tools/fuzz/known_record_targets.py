"""Datasets of known texts in files of records, whole and damaged."""

import json
import pathlib
import random
import struct
from collections.abc import Sequence
from typing import Any

import google_crc32c

from electra_jax.core.complaints import Complaints
from tools.fuzz import writing
from tools.fuzz.known_corpus_targets import lost
from tools.fuzz.target import Run, Target, fresh, known
from tools.fuzz.text_targets import read_all


def _number(value: int) -> bytes:
    """A varint of Protocol Buffers."""
    out = bytearray()
    while value > 127:
        out.append(value & 127 | 128)
        value >>= 7
    return bytes([*out, value])


def _field(number: int, data: bytes) -> bytes:
    """A field of Protocol Buffers that holds bytes or a message."""
    return _number(number << 3 | 2) + _number(len(data)) + data


def example(features: dict[str, Sequence[bytes]]) -> bytes:
    """A tf.train.Example of lists of bytes."""
    entries = b''
    for name, values in features.items():
        feature = _field(1, b''.join(_field(1, value) for value in values))
        entries += _field(1, _field(1, name.encode()) + _field(2, feature))
    return _field(1, entries)


def record(data: bytes) -> bytes:
    """The data as one record of a TFRecord file, with its checksums."""

    def check(part: bytes) -> bytes:
        crc = google_crc32c.value(part)
        return struct.pack('<I', ((crc >> 15 | crc << 17) + 0xA282EAD8) & 0xFFFFFFFF)

    length = struct.pack('<Q', len(data))
    return length + check(length) + data + check(data)


def _make_tfrecord(folder: pathlib.Path) -> Run:
    def run(rng: random.Random) -> str | None:
        case = fresh(folder / 'case' / writing.STEM / '1.0.0')
        field, missed = rng.choice(('text', 'text', 'body')), 0
        shards: list[list[bytes]] = []
        texts: list[str | None] = []
        for _ in range(rng.randint(1, 3)):
            rows = []
            for _ in range(rng.randint(1, 4)):
                text: str | None = '\n'.join(writing.line(rng) for _ in range(rng.randint(1, 3)))
                features: dict[str, Sequence[bytes]] = {field: [(text or '').encode()]}
                kind = rng.random()
                if kind < 0.03:
                    features = {field: [b'a', b'b']}
                elif kind < 0.06:
                    features = {'other': [b'a']}
                if kind < 0.06:
                    text, missed = None, missed + 1
                texts.append(text)
                rows.append(record(example({'title': [b'x'], **features})))
            shards.append(rows)
        info: dict[str, Any] = {
            'name': writing.STEM,
            'fileFormat': 'tfrecord',
            'splits': [
                {
                    'name': 'train',
                    'shardLengths': [str(len(rows)) for rows in shards],
                    'numBytes': str(sum(map(len, (r for rows in shards for r in rows)))),
                    'filepathTemplate': '{DATASET}-{SPLIT}.{FILEFORMAT}-{SHARD_X_OF_Y}',
                }
            ],
        }
        whole, damaged = rng.random() < 0.7, rng.randrange(len(shards))
        for number, rows in enumerate(shards):
            data = b''.join(rows)
            if number == damaged and not whole:
                data = writing.damaged(rng, data)
            name = f'{writing.STEM}-train.tfrecord-{number:05}-of-{len(shards):05}'
            (case / name).write_bytes(data)
        (case / 'dataset_info.json').write_text(json.dumps(info))
        split, chosen = _part(rng, texts)
        complaints = Complaints('data.on_bad_text', rng.choice(('skip', 'error')))
        wanted = [text.split() for text in chosen if text is not None]

        def read() -> Any:
            found = read_all(f'tfds:{case}:{split}#{field}', rng, complaints)
            return [' '.join(lines).split() for lines, _ in found]

        return known(wanted, read, whole, lambda: lost(complaints), chosen.count(None))

    return run


def _part(rng: random.Random, texts: list[str | None]) -> tuple[str, list[str | None]]:
    """The split or a range of its rows, and these."""
    if rng.random() < 0.7:
        return 'train', texts
    first, last = sorted((rng.randint(0, len(texts)), rng.randint(0, len(texts))))
    if first == last:
        return 'train', texts
    return f'train[{first}:{last}]', texts[first:last]


def _make_parquet(folder: pathlib.Path) -> Run:
    import pyarrow
    import pyarrow.parquet

    types = (pyarrow.string(), pyarrow.large_string(), pyarrow.binary())
    missing = (None, '', ' \n ')

    def run(rng: random.Random) -> str | None:
        field, kind = rng.choice(('text', 'text', 'body', 'é.b')), rng.choice(types)
        texts: list[str | None] = [
            rng.choice(missing)
            if rng.random() < 0.05
            else '\n'.join(writing.line(rng) for _ in range(rng.randint(1, 3)))
            for _ in range(rng.randint(1, 8))
        ]
        values: Any = [text if text is None else text.encode() for text in texts]
        column = pyarrow.array(values, pyarrow.binary()).cast(kind)
        if rng.random() < 0.2 and kind == pyarrow.string():
            column = column.dictionary_encode()
        table = pyarrow.table({'id': list(range(len(texts))), field: column})
        path = writing.path_of(rng, folder, '.parquet')
        pyarrow.parquet.write_table(
            table,
            path,
            row_group_size=rng.choice((1, 3, 100)),
            compression=rng.choice(('none', 'snappy', 'gzip', 'zstd')),
            use_dictionary=rng.random() < 0.5,
            data_page_version=rng.choice(('1.0', '2.0')),
            write_page_checksum=True,
        )
        whole = rng.random() < 0.7
        if not whole:
            path.write_bytes(writing.damaged(rng, path.read_bytes()))
        complaints = Complaints('data.on_bad_text', rng.choice(('skip', 'error')))
        wanted = [text.split() for text in texts if text and text.strip()]

        def read() -> Any:
            found = read_all(f'parquet:{path}#{field}', rng, complaints)
            return [' '.join(lines).split() for lines, _ in found]

        return known(wanted, read, whole, lambda: lost(complaints), len(texts) - len(wanted))

    return run


TARGETS = (
    Target('known_tfrecord', _make_tfrecord, writing.STEM),
    Target('known_parquet', _make_parquet, writing.STEM),
)
