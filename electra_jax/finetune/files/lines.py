"""Bytes, lines and texts of a task's files, and what makes them unusable."""

import functools
import pathlib
import re
import sys
from collections.abc import Iterator
from typing import IO, Any

from electra_jax.core import compressed
from electra_jax.core.complaints import Complaints
from electra_jax.core.errors import DataError

STANDARD_INPUT = pathlib.Path('<stdin>')  # stands for it
_SURROGATES = re.compile('[\ud800-\udfff]')
_UTF8_MARK = b'\xef\xbb\xbf'
_UTF16_MARKS = (b'\xff\xfe', b'\xfe\xff')
_MOST_UNPACKED = 2**30  # bytes


class UnusableError(Exception):
    """A row cannot be used: a key of `complaints.REASONS`, and what is wrong, for a person.

    `where` is the 'file:line' of the problem; None: that of the row.
    """

    def __init__(self, kind: str, problem: str, where: str | None = None) -> None:
        super().__init__(kind, problem, where)
        self.kind, self.problem, self.where = kind, problem, where


class Refusing:
    """A context in which a row that turns out to be unusable is refused or counted.

    A class, because there may be millions of rows, and `contextlib` takes five times as long.
    """

    __slots__ = ('complaints', 'where')

    def __init__(self, complaints: Complaints, where: str) -> None:
        self.complaints, self.where = complaints, where

    def __enter__(self) -> None:
        pass

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> bool:
        if not isinstance(error, UnusableError):
            return False
        self.complaints.refuse(error.kind, error.where or self.where, error.problem)
        return True


def ending_of(path: pathlib.Path) -> str:
    """The ending that decides how a file is read: '.jsonl' of 'train.jsonl.gz'."""
    return path.with_suffix('').suffix if compressed.is_compressed(path) else path.suffix


def content(path: pathlib.Path, complaints: Complaints) -> bytes:
    """The bytes of a file, unpacked, without a byte order mark."""
    try:
        data = b''.join(_chunks(path, complaints))
    except OSError as error:
        raise DataError(f'cannot read {path}: {error.strerror}') from error
    if not data.strip():
        raise DataError(f'{path}: the file is empty')
    if data.startswith(_UTF16_MARKS):
        raise DataError(
            f'{path}: the file is UTF-16, and UTF-8 is needed; type: '
            f'iconv -f UTF-16 -t UTF-8 {path} > NEW'
        )
    return data.removeprefix(_UTF8_MARK)


@functools.lru_cache(maxsize=1)
def _all_of(stream: IO[bytes]) -> bytes:
    """What a stream holds; kept, because the first line of a table is also read on its own."""
    return stream.read()


def _chunks(path: pathlib.Path, complaints: Complaints) -> Iterator[bytes]:
    if path == STANDARD_INPUT:
        yield _all_of(sys.stdin.buffer)
        return
    if not compressed.is_compressed(path):
        yield path.read_bytes()
        return
    size = 0
    try:
        for chunk in compressed.stream(path):
            size += len(chunk)
            if size > _MOST_UNPACKED:
                raise DataError(
                    f'{path} unpacks to more than {_MOST_UNPACKED >> 30} GiB, which must fit into '
                    'memory: unpack it yourself if its content is what you expect'
                )
            yield chunk
    except compressed.TornError as error:
        complaints.refuse('torn_file', str(path), str(error))


def raw_lines(path: pathlib.Path, complaints: Complaints) -> list[bytes]:
    r"""Lines that end in \n or \r\n; in a file without any \n, in \r."""
    data = content(path, complaints)
    if b'\n' not in data:
        data = data.replace(b'\r', b'\n')
    return [raw.removesuffix(b'\r') for raw in data.removesuffix(b'\n').split(b'\n')]


def numbered(path: pathlib.Path, complaints: Complaints) -> Iterator[tuple[int, str | None]]:
    """Number, from 1, and text of each line; a line that is not text is refused, or is None."""
    for number, raw in enumerate(raw_lines(path, complaints), 1):
        text = None
        try:
            text = decoded(raw, path)
        except UnusableError as error:
            complaints.refuse(error.kind, f'{path}:{number}', error.problem)
        yield number, text


def filled(path: pathlib.Path, complaints: Complaints) -> Iterator[tuple[int, str]]:
    """Number, from 1, and text of the lines that are text and not blank."""
    return ((number, text) for number, text in numbered(path, complaints) if text and text.strip())


def decoded(raw: bytes, path: pathlib.Path) -> str:
    """The text of a line of a file; raises UnusableError if it is not text."""
    try:
        text = raw.decode()
    except UnicodeDecodeError as error:
        shown = raw[max(error.start - 10, 0) : error.start + 10]
        problem = (
            f'byte {error.start} of the line is not UTF-8 (around it: {shown!r}); if the file is '
            f'Latin-1, type: iconv -f LATIN1 -t UTF-8 {path} > NEW'
        )
        raise UnusableError('not_text', problem) from error
    before, nul, _ = text.partition('\0')
    if nul:
        raise UnusableError('not_text', f'a NUL character after {before[-20:]!r}')
    return text


def usable_text(value: Any, part: str) -> str:
    """A value, if it is a text with something in it; otherwise UnusableError names the `part`."""
    problem = text_problem(value)
    if problem is None:
        return value
    blank = isinstance(value, str) and not value.strip()
    raise UnusableError('empty_text' if blank else 'not_text', f'in {part}: {problem}')


def text_problem(value: Any) -> str | None:
    """Why a value is not a text with something in it; None: it is one."""
    if not isinstance(value, str):
        return f'{value!r:.60} ({type(value).__name__}) is not text'
    if not value.strip():
        return f'the text is empty ({value!r:.60})'
    if '\0' in value:
        return f'a NUL character in {value!r:.60}'
    return half_character(value)


def half_character(text: str) -> str | None:
    r"""Where a text holds half a character; None: nowhere.

    JSON can write one ("\ud800"); UTF-8, and so tokenizers and files of answers, cannot.
    """
    if text.isascii() or not _SURROGATES.search(text):
        return None
    return f'half a character in {text!r:.60}'


def usable_id(value: Any) -> str:
    """An id as text; raises UnusableError if it cannot be written."""
    problem = half_character(str(value))
    if problem:
        raise UnusableError('not_text', f'in the id: {problem}')
    return str(value)
