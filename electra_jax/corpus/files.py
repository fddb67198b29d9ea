"""Files of text cut into parts that are alike whatever the number of workers."""

import dataclasses
import glob
import os
import pathlib
import re
from collections.abc import Iterator
from typing import BinaryIO

from electra_jax.core import compressed, errors
from electra_jax.core.complaints import Complaints
from electra_jax.corpus import documents

TEXT_SUFFIXES = frozenset({'.txt', *compressed.DECOMPRESSORS})
JSON_SUFFIXES = frozenset({'.jsonl', '.json', *compressed.DECOMPRESSORS})

# Inside a folder the name of a compressed file says what it unpacks to: these are of other kinds.
_TABLES = {'.csv', '.tsv', '.tar', '.parquet', '.xml', '.html', '.warc', '.sql', '.npy', '.npz'}
_OTHER_KINDS = {
    TEXT_SUFFIXES: frozenset({'.json', '.jsonl', '.ndjson', *_TABLES}),
    JSON_SUFFIXES: frozenset({'.txt', '.md', '.rst', *_TABLES}),
}

REACH_BYTES = 4_000_000  # how far a cut looks for the end of a document
MAX_JSON_LINE_BYTES = 256_000_000  # a longer one is no document but an accident, or an attack

_BLANK_LINE = re.compile(rb'\n[ \t\r]*\n')


def find_files(where: str, suffixes: frozenset[str]) -> list[pathlib.Path]:
    """The files that a path, folder or glob stands for, sorted.

    Args:
      where: the path; a folder is walked.
      suffixes: of the files that count inside a folder; a file named itself may have any.

    Raises:
      errors.DataError: there are none.
    """
    try:
        return _find_files(where, suffixes)
    except (OSError, ValueError) as error:  # too long for a name, or with a NUL in it
        raise errors.DataError(f'data.source names {where!r:.200}: {error}') from error


def other_kinds(where: str, suffixes: frozenset[str]) -> list[pathlib.Path]:
    """Compressed files that `find_files` leaves out of a folder, for their names tell otherwise."""
    if not where or not os.path.isdir(where):
        return []
    return [path for path in _walk(where, suffixes) if _is_other_kind(path, suffixes)]


def _is_other_kind(path: pathlib.Path, suffixes: frozenset[str]) -> bool:
    inner = path.with_suffix('').suffix
    return compressed.is_compressed(path) and inner in _OTHER_KINDS.get(suffixes, ())


def _walk(where: str, suffixes: frozenset[str]) -> list[pathlib.Path]:
    walked = (pathlib.Path(top) / name for top, _, names in os.walk(where) for name in names)
    return sorted(file for file in walked if file.suffix in suffixes)


def _find_files(where: str, suffixes: frozenset[str]) -> list[pathlib.Path]:
    path = pathlib.Path(where)
    if where and path.is_dir():
        found = [file for file in _walk(where, suffixes) if not _is_other_kind(file, suffixes)]
        if not found:
            raise errors.DataError(
                f'data.source names the folder {where}, but no file in it ends in '
                f'{", ".join(sorted(suffixes))}'
            )
        return found
    if path.is_file():
        return [path]
    matches = sorted(pathlib.Path(name) for name in glob.glob(where, recursive=True))
    found = [file for file in matches if file.is_file()]
    if not found:
        raise errors.DataError(
            f'data.source names {where!r}, but no file, folder or pattern of that name is there '
            f'(looked from {pathlib.Path.cwd()})'
        )
    return found


def size_of(path: pathlib.Path) -> int:
    """Bytes of a file.

    Raises:
      errors.DataError: it cannot be looked at, or is there no more.
    """
    try:
        return path.stat().st_size
    except OSError as error:
        raise errors.DataError(f'cannot read {path}: {error.strerror}') from error


def cut_file(
    path: pathlib.Path, template: documents.Block, complaints: Complaints, piece_bytes: int
) -> Iterator[documents.Part]:
    """Parts of a file in order, each with about `piece_bytes` of text at most.

    Args:
      path: a plain or compressed file.
      template: its format, field and weight.
      complaints: damage is counted or refused here.
      piece_bytes: where to cut.

    Raises:
      errors.DataError: it cannot be read, or is torn.
    """
    try:
        stat = path.stat()
        if not stat.st_size:
            complaints.count('empty_file', str(path))
        elif compressed.is_compressed(path):
            # Only the beginning of such a file can be sought, so it is unpacked here, once, and
            # the workers get text.
            yield from _unpacked_blocks(path, template, complaints, piece_bytes)
        else:
            yield from _byte_ranges(path, stat, template, piece_bytes)
    except OSError as error:
        raise errors.DataError(f'cannot read {path}: {error.strerror}') from error


def _byte_ranges(
    path: pathlib.Path, stat: os.stat_result, template: documents.Block, piece_bytes: int
) -> Iterator[documents.FileSpan]:
    number = -(-stat.st_size // piece_bytes)
    start = 0
    with path.open('rb') as file:
        for i in range(1, number + 1):
            stop = stat.st_size
            if i < number:
                stop = max(stop * i // number, start)
                stop += _cut_in_file(file, stop, template.format, path)
            if stop > start:
                yield documents.FileSpan(
                    template, str(path), start, stop, stat.st_size, stat.st_mtime_ns
                )
            start = stop


def _cut_in_file(file: BinaryIO, offset: int, text_format: str, path: pathlib.Path) -> int:
    """How many bytes after `offset` to cut."""
    file.seek(offset)
    window = bytearray()
    while True:
        _check_line(len(window), path, offset)
        more = file.read(REACH_BYTES)
        window += more
        cut = find_cut(window, text_format, ended=len(more) < REACH_BYTES)
        if cut is not None:
            return cut


def _check_line(size: int, path: pathlib.Path, offset: int) -> None:
    if size > MAX_JSON_LINE_BYTES:
        raise errors.DataError(
            f'{path}: the JSON line at byte {offset} is longer than {MAX_JSON_LINE_BYTES:,} bytes; '
            'a line holds one document: is it JSON lines, and not one JSON array?'
        )


def find_cut(window: bytes | bytearray, text_format: str, ended: bool) -> int | None:
    r"""Where to cut text that goes on with `window`: at a document's end if one is in reach.

    Failing that at a line's end, failing that at white space, failing that at a character. A
    JSON line is never cut: None asks for a longer window.

    Args:
      window: what follows the place near which to cut.
      text_format: TEXT or JSONL.
      ended: whether nothing follows the window.

    >>> find_cut(b'end of one.\n\nAnother', documents.TEXT, ended=False)
    13
    """
    if text_format == documents.JSONL:
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


class _Unpacked:
    """The text of a compressed file as a buffer that is filled on demand."""

    def __init__(self, path: pathlib.Path, complaints: Complaints) -> None:
        self._path = path
        self._complaints = complaints
        self._chunks = compressed.stream(path)
        self.buffer = bytearray()
        self.offset = 0  # of the buffer in the text
        self.read_bytes = 0  # compressed bytes behind the buffer
        self.ended = False

    def fill(self, size: int) -> None:
        """Reads until the buffer holds `size` bytes or the file has ended."""
        while not self.ended and len(self.buffer) < size:
            try:
                chunk, self.read_bytes = next(self._chunks)
                self.buffer += chunk
            except StopIteration:
                self.ended = True
            except compressed.TornError as error:
                self._complaints.refuse('torn_file', str(self._path), str(error))
                self.ended = True

    def cut(self, piece_bytes: int, text_format: str) -> int:
        """How many bytes of the buffer the next block takes."""
        size = piece_bytes + REACH_BYTES
        while True:
            _check_line(size - piece_bytes - REACH_BYTES, self._path, self.offset)
            self.fill(size)
            if len(self.buffer) <= piece_bytes:
                return len(self.buffer)
            found = find_cut(self.buffer[piece_bytes:], text_format, self.ended)
            if found is not None:
                return piece_bytes + found
            size += REACH_BYTES


def _unpacked_blocks(
    path: pathlib.Path, template: documents.Block, complaints: Complaints, piece_bytes: int
) -> Iterator[documents.Block]:
    text = _Unpacked(path, complaints)
    first_line, told = 1, 0
    while cut := text.cut(piece_bytes, template.format):
        data = bytes(text.buffer[:cut])
        del text.buffer[:cut]
        yield dataclasses.replace(
            template,
            data=data,
            origin=str(path),
            offset=text.offset,
            first_line=first_line,
            read_bytes=text.read_bytes - told,
        )
        told = text.read_bytes
        text.offset += cut
        first_line += data.count(b'\n')
