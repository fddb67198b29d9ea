"""Bytes of a source to clean documents: what the workers do first with their piece."""

import dataclasses
import hashlib
import json
import pathlib
import re
from collections.abc import Iterator
from typing import Protocol

from electra_jax.core import errors
from electra_jax.core.complaints import Complaints

TEXT = 'text'  # a paragraph a line, a blank line between documents
JSONL = 'jsonl'  # a JSON object a line

# A line longer than this is handed on in parts, so that nothing downstream meets a huge string.
MAX_LINE_CHARS = 65_536

_BLANK_LINES = re.compile(rb'\n(?:[ \t\r]*\n)+')
_SURROGATES = re.compile('[\ud800-\udfff]')
_COUNT_BYTES = 1 << 20


class Part(Protocol):
    """Something that documents can be read from, small enough to go to a worker process."""

    @property
    def weight(self) -> float:
        """Expected copies of each document in the training rows."""

    @property
    def text_bytes(self) -> int:
        """Bytes of text, about."""

    @property
    def read_bytes(self) -> int:
        """Bytes read from disk for it, in the unit of `sources.total_bytes`."""

    def identity(self) -> list[object]:
        """JSON-able; equal exactly where the part holds the same text."""

    def documents(self, complaints: Complaints) -> Iterator[list[str]]:
        """The lines of each document: stripped, none empty, at least one."""


@dataclasses.dataclass(frozen=True)
class Block:
    """Text in memory.

    Attributes:
      format: TEXT or JSONL.
      weight: expected copies of each document.
      field: name of the JSON field that holds the text.
      data: the text.
      origin: the file it came from.
      offset: of `data` in that file, unpacked.
      first_line: number of its first line in that file; 0: not known.
      read_bytes: bytes read from disk for it.
    """

    format: str
    weight: float = 1.0
    field: str = 'text'
    data: bytes = b''
    origin: str = ''
    offset: int = 0
    first_line: int = 0
    read_bytes: int = 0

    @property
    def text_bytes(self) -> int:
        """See `Part`."""
        return len(self.data)

    def identity(self) -> list[object]:
        """See `Part`."""
        text_hash = digest(self.data).hex()
        return [self.origin, self.offset, len(self.data), text_hash, self.weight, self.field]

    def documents(self, complaints: Complaints) -> Iterator[list[str]]:
        """See `Part`."""
        texts = (
            _json_texts(self, complaints)
            if self.format == JSONL
            else _plain_texts(self, complaints)
        )
        for where, text in texts:
            lines = clean_lines(text, where, complaints)
            if lines:
                yield lines


@dataclasses.dataclass(frozen=True)
class FileSpan:
    """A range of bytes of a plain file; `block` says how to read it (its `data` is empty)."""

    block: Block
    path: str
    start: int
    stop: int
    file_size: int
    file_mtime: int  # ns

    @property
    def weight(self) -> float:
        """See `Part`."""
        return self.block.weight

    @property
    def text_bytes(self) -> int:
        """See `Part`."""
        return self.stop - self.start

    @property
    def read_bytes(self) -> int:
        """See `Part`."""
        return self.stop - self.start

    def identity(self) -> list[object]:
        """See `Part`; the file's size and time stand for its content."""
        span = [self.path, self.start, self.stop, self.file_size, self.file_mtime]
        return [*span, self.block.weight, self.block.field]

    def documents(self, complaints: Complaints) -> Iterator[list[str]]:
        """See `Part`."""
        try:
            with open(self.path, 'rb') as file:
                file.seek(self.start)
                data = file.read(self.stop - self.start)
        except OSError as error:
            raise errors.DataError(f'cannot read {self.path}: {error.strerror}') from error
        if len(data) != self.stop - self.start:
            raise errors.DataError(
                f'{self.path} has become shorter than {self.stop} bytes while it was being read'
            )
        block = dataclasses.replace(self.block, data=data, origin=self.path, offset=self.start)
        yield from block.documents(complaints)


def digest(data: bytes, seed: int = 0) -> bytes:
    """16 bytes that stand for `data`; another `seed` gives unrelated ones."""
    return hashlib.blake2b(data, digest_size=16, key=str(seed).encode()).digest()


def _plain_texts(block: Block, complaints: Complaints) -> Iterator[tuple[str, str]]:
    """Place and text of each document between blank lines."""
    start = 0
    if block.offset == 0 and block.data.startswith(b'\xef\xbb\xbf'):
        start = 3  # a byte order mark is not text
    while start < len(block.data):
        blank = _BLANK_LINES.search(block.data, start)
        stop, after = blank.span() if blank else (len(block.data), len(block.data))
        raw = block.data[start:stop]
        if raw.strip():
            where = f'{block.origin} at byte {block.offset + start}'
            yield where, decode(raw, block.origin, block.offset + start, complaints)
        start = after


def decode(raw: bytes, origin: str, offset: int, complaints: Complaints) -> str:
    """Text of bytes; those that are not UTF-8 become marks, and are counted.

    Args:
      raw: the bytes.
      origin: what they are of, for the counts.
      offset: of `raw` in it.
      complaints: what is found is counted here.
    """
    try:
        return raw.decode()
    except UnicodeDecodeError as error:
        complaints.count('not_utf8', f'{origin} at byte {offset + error.start}')
        return raw.decode(errors='replace')


def _json_texts(block: Block, complaints: Complaints) -> Iterator[tuple[str, str]]:
    """Place and text of each line's field."""
    offset = block.offset
    for number, raw in enumerate(block.data.split(b'\n')):
        if raw.strip():
            text, problem = _json_text(raw, block, offset, complaints)
            if text is None:
                line = (block.first_line or _line_number(block)) + number
                complaints.refuse('bad_json', f'{block.origin}, line {line}', problem)
            else:
                yield f'{block.origin} at byte {offset}', text
        offset += len(raw) + 1


def _json_text(
    raw: bytes, block: Block, offset: int, complaints: Complaints
) -> tuple[str | None, str]:
    """The text of one JSON line, or None and what is wrong with it."""
    try:
        row = json.loads(decode(raw, block.origin, offset, complaints))
    except (ValueError, RecursionError) as error:
        return None, f'not a JSON object ({error})'
    if not isinstance(row, dict):
        return None, f'a JSON object is needed, found a {type(row).__name__}'
    text = row.get(block.field)
    if isinstance(text, str):
        return text, ''
    if block.field in row:
        return None, f'field {block.field!r} is a {type(text).__name__}, not text'
    has = ', '.join(sorted(row)[:10]) or 'none'
    return None, f'no field {block.field!r}; it has {has} (name it with #FIELD in data.source)'


def _line_number(block: Block) -> int:
    """Number of the line at `block.offset`: counted only when an error must be told."""
    lines, left = 1, block.offset
    with pathlib.Path(block.origin).open('rb') as file:
        while left and (data := file.read(min(left, _COUNT_BYTES))):
            lines += data.count(b'\n')
            left -= len(data)
    return lines


def clean_lines(text: str, where: str, complaints: Complaints) -> list[str]:
    """The lines of a document, with what no tokenizer can take removed and counted.

    Args:
      text: a document.
      where: its place, for the counts.
      complaints: what is found is counted here.

    Returns:
      Its lines, stripped, none empty, none longer than MAX_LINE_CHARS; no lines where it holds
      no text.
    """
    if '\0' in text:
        complaints.count('nul', where)
        text = text.replace('\0', '')
    if not text.isascii() and _SURROGATES.search(text):
        # JSON can write half a character ("\ud800"); UTF-8, and so the tokenizers, cannot.
        complaints.count('not_utf8', where)
        text = text.encode('utf-16', 'surrogatepass').decode('utf-16', 'replace')
    lines = [line for line in map(str.strip, text.split('\n')) if line]
    if not lines:
        complaints.count('empty_document', where)
    if len(text) > MAX_LINE_CHARS and any(len(line) > MAX_LINE_CHARS for line in lines):
        lines = [part for line in lines for part in _short_parts(line)]
    return lines


def _short_parts(line: str) -> Iterator[str]:
    """Parts of a long line, cut at spaces where there are any."""
    start = 0
    while len(line) - start > MAX_LINE_CHARS:
        stop = line.rfind(' ', start, start + MAX_LINE_CHARS)
        stop = stop if stop > start else start + MAX_LINE_CHARS
        yield line[start:stop]
        start = stop + (line[stop] == ' ')
    if start < len(line):
        yield line[start:]
