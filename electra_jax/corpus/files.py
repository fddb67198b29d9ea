"""Files of text cut into parts that are alike whatever the number of workers."""

import dataclasses
import glob
import os
import pathlib
import re
from collections.abc import Iterator

from electra_jax.core import compressed
from electra_jax.core.complaints import Complaints
from electra_jax.core.errors import DataError
from electra_jax.core.files import explained
from electra_jax.corpus import documents

# Kind -> the files that count inside a folder.
_SUFFIXES = {
    documents.TEXT: {'.txt', *compressed.DECOMPRESSORS},
    documents.JSONL: {'.jsonl', '.json', *compressed.DECOMPRESSORS},
}
# Inside a folder the name of a compressed file shows what it unpacks to. Kind -> these are others.
_TABLES = {'.csv', '.tsv', '.tar', '.parquet', '.xml', '.html', '.warc', '.sql', '.npy', '.npz'}
_OTHERS = {
    documents.TEXT: {'.json', '.jsonl', '.ndjson', *_TABLES},
    documents.JSONL: {'.txt', '.md', '.rst', *_TABLES},
}

REACH_BYTES = 4_000_000  # how far a cut looks for the end of a document
MAX_JSON_LINE_BYTES = 256_000_000  # a longer one is no document but an accident, or an attack
_EXPANSION = 4  # text is about so many times larger than its compressed file

_BLANK_LINE = re.compile(rb'\n[ \t\r]*\n')


def find_files(where: str, kind: str, complaints: Complaints) -> list[pathlib.Path]:
    """The files that a path, folder or glob stands for, sorted.

    A file that is named may have any suffix. Compressed files of another kind are left out of a
    folder and counted.

    Raises:
        DataError: there are none.
    """
    try:
        path = pathlib.Path(where)
        if where and path.is_dir():
            return _files_of_folder(where, kind, complaints)
        if path.is_file():
            return [path]
        matches = map(pathlib.Path, glob.glob(where, recursive=True))
        matching = sorted(match for match in matches if match.is_file())
    except (OSError, ValueError) as error:  # too long for a name, or with a NUL in it
        raise DataError(f'data.source names {where!r:.200}: {error}') from error
    if not matching:
        raise DataError(
            f'data.source names {where!r}, but no file, folder or pattern of that name is there '
            f'(looked from {pathlib.Path.cwd()})'
        )
    return matching


def _files_of_folder(where: str, kind: str, complaints: Complaints) -> list[pathlib.Path]:
    walked = (pathlib.Path(top, name) for top, _, names in os.walk(where) for name in names)
    files = []
    for path in sorted(path for path in walked if path.suffix in _SUFFIXES[kind]):
        if compressed.is_compressed(path) and path.with_suffix('').suffix in _OTHERS[kind]:
            complaints.count('other_kind', str(path))
        else:
            files.append(path)
    if not files:
        raise DataError(
            f'data.source names the folder {where}, but no file in it ends in '
            f'{", ".join(sorted(_SUFFIXES[kind]))}'
        )
    return files


@dataclasses.dataclass(frozen=True, kw_only=True)
class FilePart(documents.Part):
    """A range of bytes of a plain file, or the whole of a compressed one."""

    kind: str  # TEXT or JSONL
    field: str  # of JSON lines
    start: int
    stop: int
    file_size: int  # with `file_mtime` (ns) it stands for the content of the whole file
    file_mtime: int
    block_bytes: int  # so much text of a compressed file, about, is in memory at a time

    @property
    def read_bytes(self) -> int:
        return self.stop - self.start

    def open(self, complaints: Complaints) -> Iterator[documents.Block]:
        """Reads a range at once, and a compressed file a block at a time."""
        packed = compressed.is_compressed(pathlib.Path(self.name))
        with explained('read', self.name):
            for data, origin in self._unpacked(complaints) if packed else self._plain():
                if self.kind == documents.JSONL:
                    texts = documents.json_texts(data, origin, self.field, complaints)
                else:
                    texts = documents.plain_texts(data, origin, complaints)
                yield documents.block_of(len(data), texts, complaints)

    def _plain(self) -> Iterator[tuple[bytes, documents.Origin]]:
        with open(self.name, 'rb') as file:
            file.seek(self.start)
            data = file.read(self.stop - self.start)
        if len(data) != self.stop - self.start:
            raise DataError(
                f'{self.name} has become shorter than {self.stop} bytes while it was being read'
            )
        yield data, documents.Origin(self.name, self.start)

    def _unpacked(self, complaints: Complaints) -> Iterator[tuple[bytes, documents.Origin]]:
        """The text in blocks that end where documents end."""
        chunks = _chunks(pathlib.Path(self.name), complaints)
        buffer, ended = bytearray(), False
        offset, line = 0, 1
        while not ended or buffer:
            cut, reach = None, 0
            while cut is None:
                _check_line(reach, self.name, offset)
                reach += REACH_BYTES
                while not ended and len(buffer) < self.block_bytes + reach:
                    chunk = next(chunks, None)
                    ended = chunk is None
                    buffer += chunk or b''
                cut = find_cut(buffer[self.block_bytes :], self.kind, ended)
            data = bytes(buffer[: self.block_bytes + cut])
            del buffer[: len(data)]
            if data:
                yield data, documents.Origin(self.name, offset, line)
            offset, line = offset + len(data), line + data.count(b'\n')


def _chunks(path: pathlib.Path, complaints: Complaints) -> Iterator[bytes]:
    """Unpacked bytes of a file, up to where it is damaged."""
    try:
        yield from compressed.stream(path)
    except compressed.TornError as error:
        complaints.refuse('torn_file', str(path), str(error))


def parts(entry: documents.Entry, piece_bytes: int, complaints: Complaints) -> Iterator[FilePart]:
    """Parts of the files that an entry names, each with about `piece_bytes` of text at most.

    A compressed file is one part: nothing in it can be found without unpacking what comes before.
    Files that are empty or of another kind are counted.

    Raises:
        DataError: there are no files, or one cannot be read.
    """
    for path in find_files(entry.where, entry.kind, complaints):
        packed = compressed.is_compressed(path)
        start = 0
        with explained('read', path):
            stat = path.stat()
            size = stat.st_size
            if not size:
                complaints.count('empty_file', str(path))
            for stop in _ends(path, size, entry.kind, size if packed else piece_bytes):
                if stop > start:
                    yield FilePart(
                        weight=entry.weight,
                        text_bytes=(stop - start) * (_EXPANSION if packed else 1),
                        name=str(path),
                        kind=entry.kind,
                        field=entry.field,
                        start=start,
                        stop=stop,
                        file_size=size,
                        file_mtime=stat.st_mtime_ns,
                        block_bytes=piece_bytes,
                    )
                start = stop


def _ends(path: pathlib.Path, size: int, kind: str, piece_bytes: int) -> Iterator[int]:
    """Offsets at which a file is cut into stretches of `piece_bytes`, the last one its size."""
    number = -(-size // max(piece_bytes, 1))
    stop = 0
    with path.open('rb') as file:
        for i in range(1, number):
            stop = max(size * i // number, stop)
            file.seek(stop)
            window, cut = bytearray(), None
            while cut is None:
                _check_line(len(window), path, stop)
                more = file.read(REACH_BYTES)
                window += more
                cut = find_cut(window, kind, ended=len(more) < REACH_BYTES)
            stop += cut
            yield stop
    yield size


def _check_line(size: int, path: pathlib.Path | str, offset: int) -> None:
    if size > MAX_JSON_LINE_BYTES:
        raise DataError(
            f'{path}: the JSON line at byte {offset} is longer than {MAX_JSON_LINE_BYTES:,} bytes; '
            'a line holds one document: is it JSON lines, and not one JSON array?'
        )


def find_cut(window: bytes | bytearray, kind: str, ended: bool) -> int | None:
    r"""Where to cut text that goes on with `window`: at a document's end if one is in reach.

    Failing that at a line's end, failing that at white space, failing that at a character. A
    JSON line is never cut: None asks for a longer window.

    >>> find_cut(b'end of one.\n\nAnother', documents.TEXT, ended=False)
    13
    """
    if kind == documents.JSONL:
        end = window.find(b'\n')
        return end + 1 if end >= 0 else len(window) if ended else None
    match = _BLANK_LINE.search(window)
    if match:
        return match.end()
    if ended:
        return len(window)
    for mark in (b'\n', b' ', b'\t'):
        end = window.find(mark)
        if end >= 0:
            return end + 1
    # No white space at all: at least not inside a UTF-8 character (at most 3 bytes follow).
    return next((i for i in range(min(4, len(window))) if window[i] & 0xC0 != 0x80), 0)
