"""Bytes of a source to clean documents: what the workers do first with their piece."""

import abc
import dataclasses
import hashlib
import pathlib
import re
from collections.abc import Iterator
from typing import NamedTuple

from electra_jax.core import files
from electra_jax.core.complaints import Complaints

TEXT = 'text'  # a paragraph a line, a blank line between documents
JSONL = 'jsonl'  # a JSON object a line

# A line longer than this is handed on in segments, so that nothing downstream meets a huge string.
MAX_LINE_CHARS = 65_536

_BLANK_LINES = re.compile(rb'\n(?:[ \t\r]*\n)+')
_SURROGATES = re.compile('[\ud800-\udfff]')
_COUNT_BYTES = 1 << 20


@dataclasses.dataclass(frozen=True)
class Entry:
    """One `KIND:WHERE[=WEIGHT]` of `data.source`."""

    kind: str
    where: str
    weight: float = 1.0

    def split_field(self) -> tuple[str, str]:
        """`where` without its '#FIELD', and the field."""
        if self.kind == TEXT:  # has no fields: a '#' is part of the path
            return self.where, 'text'
        where, mark, field = self.where.rpartition('#')
        return (where, field) if mark else (self.where, 'text')


class Block(NamedTuple):
    """Text of one part that fits into memory: its size in bytes, about, and its documents.

    A document is a list of its lines: stripped, none empty, at least one.
    """

    text_bytes: int
    documents: Iterator[list[str]]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Part(abc.ABC):
    """A stretch of a source, described by its position so that it can go to a worker process.

    Attributes:
        weight: expected copies of each document in the training rows.
        text_bytes: size of its text, about.
        read_bytes: bytes read from disk for it, in the unit of `sources.total_bytes`.
    """

    weight: float
    text_bytes: int
    read_bytes: int

    @abc.abstractmethod
    def identity(self) -> list[object]:
        """A JSON value that is equal exactly where the part holds the same text."""

    @abc.abstractmethod
    def open(self, complaints: Complaints) -> Iterator[Block]:
        """Reads the part, a block at a time; what cannot be used is a complaint.

        Raises:
            DataError: it cannot be read.
        """


class Origin(NamedTuple):
    """Where bytes of text come from.

    Attributes:
        name: path of the file, for messages.
        offset: of the bytes in the text of the file.
        first_line: number of their first line; 0: not known, and counted when it is needed.
    """

    name: str
    offset: int = 0
    first_line: int = 0


class Format(NamedTuple):
    """How bytes hold documents: TEXT or JSONL, and the JSON field that holds the text."""

    kind: str
    field: str = 'text'


def read_block(data: bytes, origin: Origin, text_format: Format, complaints: Complaints) -> Block:
    """The documents in bytes of text.

    Args:
        data: the bytes.
        origin: where they come from.
        text_format: how they hold documents.
        complaints: what is not as it should be is counted or refused here.
    """
    if text_format.kind == JSONL:
        texts = _json_texts(data, origin, text_format.field, complaints)
    else:
        texts = _plain_texts(data, origin, complaints)
    cleaned = (clean_lines(text, where, complaints) for where, text in texts)
    return Block(len(data), (lines for lines in cleaned if lines))


def digest(data: bytes, seed: int = 0) -> bytes:
    """16 bytes that stand for `data`; another `seed` gives unrelated ones."""
    return hashlib.blake2b(data, digest_size=16, key=str(seed).encode()).digest()


def _plain_texts(data: bytes, origin: Origin, complaints: Complaints) -> Iterator[tuple[str, str]]:
    """Position and text of each document between blank lines."""
    start = 0
    if origin.offset == 0 and data.startswith(b'\xef\xbb\xbf'):
        start = 3  # a byte order mark is not text
    while start < len(data):
        blank = _BLANK_LINES.search(data, start)
        stop, after = blank.span() if blank else (len(data), len(data))
        raw = data[start:stop]
        if raw.strip():
            offset = origin.offset + start
            text = decode(raw, origin.name, offset, complaints)
            yield f'{origin.name} at byte {offset}', text
        start = after


def decode(raw: bytes, origin: str, offset: int, complaints: Complaints) -> str:
    """Text of bytes; those that are not UTF-8 become U+FFFD, and are counted.

    Args:
        raw: the bytes.
        origin: name of what they are from.
        offset: of `raw` in it.
        complaints: bytes that are not UTF-8 are counted here.
    """
    try:
        return raw.decode()
    except UnicodeDecodeError as error:
        complaints.count('not_utf8', f'{origin} at byte {offset + error.start}')
        return raw.decode(errors='replace')


def _json_texts(
    data: bytes, origin: Origin, field: str, complaints: Complaints
) -> Iterator[tuple[str, str]]:
    """Position of each JSON line, and the text in its field."""
    offset = origin.offset
    for number, raw in enumerate(data.split(b'\n')):
        if raw.strip():
            try:
                text = _json_text(decode(raw, origin.name, offset, complaints), field)
            except ValueError as error:
                line = (origin.first_line or _line_number(origin)) + number
                complaints.refuse('bad_json', f'{origin.name}, line {line}', str(error))
            else:
                yield f'{origin.name} at byte {offset}', text
        offset += len(raw) + 1


def _json_text(line: str, field: str) -> str:
    """The text in a field of a JSON line; ValueError where there is none."""
    row = files.parse_object(line)
    text = row.get(field)
    if isinstance(text, str):
        return text
    if field in row:
        raise ValueError(f'field {field!r} is a {type(text).__name__}, not text')
    has = ', '.join(sorted(row)[:10]) or 'none'
    raise ValueError(f'no field {field!r}; it has {has} (name it with #FIELD in data.source)')


def _line_number(origin: Origin) -> int:
    """Number of the line at the offset of an origin, counted only where a message needs it."""
    lines, left = 1, origin.offset
    with pathlib.Path(origin.name).open('rb') as file:
        while left and (data := file.read(min(left, _COUNT_BYTES))):
            lines += data.count(b'\n')
            left -= len(data)
    return lines


def clean_lines(text: str, where: str, complaints: Complaints) -> list[str]:
    """The lines of a document, with what no tokenizer can take removed and counted.

    Args:
        text: a document.
        where: its position, for the counts.
        complaints: what is removed is counted here.

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
