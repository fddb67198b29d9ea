"""Bytes of a source to clean documents: what the workers do first with their piece."""

import abc
import dataclasses
import hashlib
import json
import pathlib
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from electra_jax.core import files, formats
from electra_jax.core.complaints import Complaints
from electra_jax.core.errors import DataError, nearest
from electra_jax.tokenizers.api import cut_text

TEXT = 'text'  # a paragraph a line, a blank line between documents
JSONL = 'jsonl'  # a JSON object a line, or one array of objects
PARQUET = 'parquet'
IMAGES = 'images'  # JSON lines that name an image each, next to its text
LOCAL = (TEXT, JSONL, PARQUET, IMAGES)  # kinds whose text is in files of this machine

# A line longer than this is handed on in segments, so that nothing downstream meets a huge string.
MAX_LINE_CHARS = 65_536

# What separates the documents of plain text, by `data.document_ends`.
_SEPARATORS = {
    'blank_line': re.compile(rb'\n(?:[ \t\r]*\n)+'),
    'line': re.compile(rb'\n'),
    'file': re.compile(rb'(?!)'),  # nothing does
}
_SURROGATES = re.compile('[\ud800-\udfff]')
_MARKS = re.compile('^\ufeff+', re.MULTILINE)
_UTF8_MARK = b'\xef\xbb\xbf'
_REPLACEMENT = '\ufffd'.encode()
_COUNT_BYTES = 1 << 20


@dataclasses.dataclass(frozen=True)
class Entry:
    """One `KIND:WHERE[#FIELD][=WEIGHT]` of `data.source`."""

    kind: str
    where: str
    weight: float = 1.0
    field: str = 'text'
    ends: str = 'blank_line'  # what ends a document of plain text: a key of `_SEPARATORS`
    revision: str = ''  # of a remote data set: what its name stands for in this build
    held_out: bool = dataclasses.field(default=False, repr=False)  # of `data.validation_source`


class Block(NamedTuple):
    """Text of one part that fits into memory: its size in bytes, about, and its documents.

    A document is a list of its lines: stripped, none empty, at least one.
    """

    text_bytes: int
    documents: Iterator[list[str]]


class Captioned(list[str]):
    """The lines of a document that is about an image."""

    def __init__(self, lines: Iterable[str], image: str, where: str) -> None:
        super().__init__(lines)
        self.image, self.where = image, where  # the image's file, and the position in the index
        self.pixels: np.ndarray | None = None  # uint8 [size, size, 3]; None: not read yet


@dataclasses.dataclass(frozen=True, kw_only=True)
class Part(abc.ABC):
    """A stretch of a source, described by its position so that it can go to a worker process.

    Parts with equal fields hold the same text.
    """

    name: str  # of the file or dataset, for messages
    weight: float  # expected copies of each document in the training rows
    text_bytes: int  # size of its text, about

    @property
    def read_bytes(self) -> int:
        """Bytes read from disk for it."""
        return self.text_bytes

    @property
    def least_bytes(self) -> int:
        """Text that must be read to have any of it; 0: little, as it is on this machine."""
        return 0

    @abc.abstractmethod
    def open(self, complaints: Complaints) -> Iterator[Block]:
        """Reads the part, a block at a time; what cannot be used is a complaint.

        Raises:
            DataError: it cannot be read.
        """


class Origin(NamedTuple):
    """Where bytes of text come from."""

    name: str  # path of the file, for messages
    offset: int = 0  # of the bytes in the text of the file
    first_line: int = 0  # number of their first line; 0: counted when it is needed
    unit: str = 'line'  # 'object': a line is one of a JSON array

    @property
    def known_line(self) -> int:
        """The number of the first line where nothing need be read to know it, or 0."""
        return self.first_line or (0 if self.offset else 1)

    def place(self, byte: int, line: int) -> str:
        """Where the bytes from `byte` on are, which are `line` lines below the first one.

        By their line; by their byte in later parts of a large file: to count the lines before each
        of many parts would read the file as often.
        """
        if not self.known_line:
            return f'{self.name} at byte {self.offset + byte}'
        return f'{self.name}, {self.unit} {self.known_line + line}'


def block_of(size: int, texts: Iterable[tuple[str, str]], complaints: Complaints) -> Block:
    """A block of about `size` bytes from the position and text of each document.

    They are cleaned, and those without text are left out.
    """
    cleaned = (clean_lines(text, where, complaints) for where, text in texts)
    return Block(size, (lines for lines in cleaned if lines))


def blocks_of(
    texts: Iterable[tuple[str, bytes]], block_bytes: int, complaints: Complaints
) -> Iterator[Block]:
    """Blocks of about `block_bytes` from the position and the UTF-8 text of each document."""
    held: list[tuple[str, bytes]] = []
    size = 0
    for where, raw in texts:
        held.append((where, raw))
        size += len(raw)
        if size >= block_bytes:
            yield block_of(size, _decoded(held, complaints), complaints)
            held, size = [], 0
    if held:
        yield block_of(size, _decoded(held, complaints), complaints)


def _decoded(
    texts: Iterable[tuple[str, bytes]], complaints: Complaints
) -> Iterator[tuple[str, str]]:
    for where, raw in texts:
        yield where, decode(raw, Origin(where), complaints)


def digest(data: bytes, seed: int = 0) -> bytes:
    """16 bytes that stand for `data`; another `seed` gives unrelated ones."""
    return hashlib.blake2b(data, digest_size=16, key=str(seed).encode()).digest()


def line_feeds(data: bytes) -> bytes:
    r"""Ends lines by \n alone where a lone \r ends some; every byte stays where it is.

    >>> line_feeds(b'old Mac\rWindows\r\n')
    b'old Mac\nWindows \n'
    """
    if data.count(b'\r') == data.count(b'\r\n'):
        return data
    return data.replace(b'\r\r\n', b'  \n').replace(b'\r\n', b' \n').replace(b'\r', b'\n')


def plain_texts(
    data: bytes, origin: Origin, ends: str, complaints: Complaints
) -> Iterator[tuple[str, str]]:
    """Position and text of each document, which `ends` as `data.document_ends` has it."""
    start = line = 0
    if origin.offset == 0 and data.startswith(_UTF8_MARK):
        start = 3  # a byte order mark is not text
    while start < len(data):
        end = _SEPARATORS[ends].search(data, start)
        stop, after = end.span() if end else (len(data), len(data))
        raw = data[start:stop]
        if raw.strip():
            yield origin.place(start, line), decode(raw, origin, complaints, start, line)
        line += data.count(b'\n', start, after)
        start = after


def decode(
    raw: bytes, origin: Origin, complaints: Complaints, start: int = 0, line: int = 0
) -> str:
    """Text of the bytes at `start`, on `line`, of an origin; what is not UTF-8 becomes U+FFFD."""

    def place(byte: int) -> str:
        begin = raw.rfind(b'\n', 0, byte) + 1
        where = origin.place(start + byte, line + raw.count(b'\n', 0, byte))
        before = len(raw[begin:byte].decode(errors='replace'))
        return f'{where}, character {before + 1}' if origin.known_line else where

    try:
        return raw.decode()
    except UnicodeDecodeError:
        pass
    whole = raw.replace(formats.HALF_CHARACTER, _REPLACEMENT)
    if whole != raw:
        complaints.count('half_character', place(raw.find(formats.HALF_CHARACTER)))
    try:
        return whole.decode()
    except UnicodeDecodeError as error:
        complaints.count('not_utf8', place(error.start))
        return whole.decode(errors='replace')


def json_texts(
    data: bytes, origin: Origin, field: str, complaints: Complaints
) -> Iterator[tuple[str, str]]:
    """Position of each JSON line, and the text in its field."""
    for row in json_rows(data, origin, (field,), complaints):
        yield row.where, row.texts[0]


class JsonRow(NamedTuple):
    """A JSON line: where it is, and texts of its fields."""

    where: str
    texts: list[str]


def json_rows(
    data: bytes, origin: Origin, fields: Sequence[str], complaints: Complaints
) -> Iterator[JsonRow]:
    """The texts in fields of each JSON line."""
    start, first_line = 0, origin.first_line
    for number, raw in enumerate(data.split(b'\n')):
        if (unmarked := raw.removeprefix(_UTF8_MARK)).strip():
            line = decode(unmarked, origin, complaints, start, number).strip()
            try:
                texts = _json_texts(line, fields)
            except ValueError as error:
                first_line = first_line or line_number(origin)
                where = f'{origin.name}, {origin.unit} {first_line + number}'
                if complaints.policy == 'error' and _has_no_field(error, data):
                    raise DataError(f'{where}: {error}') from error  # to skip would leave nothing
                advice = (
                    formats.as_json_lines(line, error, origin.name)
                    if origin.offset + start == 0
                    else ''
                )
                complaints.refuse('bad_json', where, f'{error}{advice}')
            else:
                yield JsonRow(origin.place(start, number), texts)
        start += len(raw) + 1


class _NoFieldError(ValueError):
    """A JSON object lacks a field that holds a text."""

    def __init__(self, field: str, problem: str) -> None:
        super().__init__(problem)
        self.field = field


def _json_texts(line: str, fields: Sequence[str]) -> list[str]:
    row, texts = files.parse_object(line), []
    if any(line.count(f'"{field}"') > 1 for field in fields):
        json.loads(line, object_pairs_hook=files.unique)
    for field in fields:
        text = row.get(field)
        if not isinstance(text, str):
            if field in row:
                kind = 'null' if text is None else f'a {type(text).__name__}'
                raise ValueError(f'field {field!r} is {kind}, not text')
            has = ', '.join(sorted(row)[:10]) or 'none'
            # Of several fields the first is the one that has a name of the user's choice.
            name_it = ' (name it with #FIELD in data.source)' if field == fields[0] else ''
            problem = f'there is no field {field!r}; it has {has}{_meant(field, row)}{name_it}'
            raise _NoFieldError(field, problem)
        texts.append(text)
    return texts


def _meant(field: str, row: Mapping[str, Any]) -> str:
    """A hint for a field that a row lacks: what is spelt alike, or else its longest text."""
    texts = {name: len(value) for name, value in row.items() if isinstance(value, str)}
    longest = max(texts, key=lambda name: texts[name], default=None)
    return nearest(field, texts) or (f'; did you mean {longest!r}?' if longest else '')


def _has_no_field(error: ValueError, data: bytes) -> bool:
    """Whether a line lacks a field, and so do all others of the data."""
    if not isinstance(error, _NoFieldError):
        return False
    names = (json.dumps(error.field, ensure_ascii=plain).encode() for plain in (True, False))
    return not any(name in data for name in names)


def line_number(origin: Origin) -> int:
    """Number of the line at the offset of an origin, counted only where a message needs it."""
    feeds, returns, left = 0, 0, origin.offset
    with pathlib.Path(origin.name).open('rb') as file:
        while left and (data := file.read(min(left, _COUNT_BYTES))):
            feeds, returns = feeds + data.count(b'\n'), returns + data.count(b'\r')
            left -= len(data)
    return 1 + (feeds or returns)


def clean_lines(text: str, where: str, complaints: Complaints) -> list[str]:
    """The lines of a document at `where`, with what no tokenizer can take removed and counted.

    They are stripped, none is empty, and none is longer than MAX_LINE_CHARS.
    """
    if '\0' in text:
        complaints.count('nul', where)
        text = text.replace('\0', '')
    if '\r' in text:
        text = text.replace('\r', '\n')
    if '&' in text and formats.ENTITY.search(text):
        complaints.count('entities', where)
    if '\ufeff' in text:
        text = _MARKS.sub('', text)  # of files that were joined
    if not text.isascii() and _SURROGATES.search(text):
        # JSON can write half a character ("\ud800"); UTF-8, and so the tokenizers, cannot.
        complaints.count('half_character', where)
        text = text.encode('utf-16', 'surrogatepass').decode('utf-16', 'replace')
    lines = [line for line in map(str.strip, text.split('\n')) if line]
    if not lines:
        complaints.count('empty_document', where)
    if len(text) > MAX_LINE_CHARS and any(len(line) > MAX_LINE_CHARS for line in lines):
        lines = [part for line in lines for part in cut_text(line, MAX_LINE_CHARS)]
    return lines
