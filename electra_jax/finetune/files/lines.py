"""Bytes, lines and texts of a task's files, and what makes them unusable."""

import functools
import json
import pathlib
import re
import sys
from collections.abc import Iterator
from typing import IO, Any

from electra_jax.core import compressed, formats
from electra_jax.core.complaints import Complaints
from electra_jax.core.errors import DataError
from electra_jax.core.files import explained

STANDARD_INPUT = pathlib.Path('<stdin>')  # stands for it
_SURROGATES = re.compile('[\ud800-\udfff]')
_MOST_UNPACKED = 2**30  # bytes
# What helps where a corpus is made, and what helps here.
_OF_CORPORA = '--config.data.source=parquet:'
_OF_TASKS = (
    "in Python, pandas.read_parquet(FILE).to_json('NEW.jsonl', orient='records', lines=True): "
)


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
    """The ending that decides how a file is read: '.jsonl' of 'train.JSONL.tar.gz'."""
    while compressed.is_packed(path):
        path = path.with_suffix('')
    return path.suffix.lower()


def content(path: pathlib.Path, complaints: Complaints) -> bytes:
    """The bytes of a file, unpacked whatever its name, without a byte order mark."""
    with explained('read', path):
        data = b''.join(_chunks(path, complaints))
    if not data.strip():
        raise DataError(f'{path}: the file is empty')
    return data


@functools.lru_cache(maxsize=1)
def _all_of(stream: IO[bytes]) -> bytes:
    """What a stream holds; kept, because the first line of a table is also read on its own."""
    return stream.read()


def _chunks(path: pathlib.Path, complaints: Complaints) -> Iterator[bytes]:
    size, names = 0, []
    try:
        found, texts = _opened(path)
        for text in texts:
            names.append(text.name)
            if text.problem:
                raise DataError(f'{text.name}: {text.problem.replace(_OF_CORPORA, _OF_TASKS)}')
            if len(names) > 1:
                raise DataError(
                    f'{path} holds several files, {names[0]}, {names[1]}, ...: unpack it, and name '
                    'the one to read'
                )
            for chunk in text.chunks:
                size += len(chunk)
                if found.packed and size > _MOST_UNPACKED:
                    raise DataError(
                        f'{path} unpacks to more than {_MOST_UNPACKED >> 30} GiB, which must fit '
                        'into memory: unpack it yourself if its content is what you expect'
                    )
                yield chunk
    except compressed.TornError as error:
        complaints.refuse('torn_file', str(path), str(error))


def _opened(path: pathlib.Path) -> tuple[formats.Format, Iterator[formats.Text]]:
    """What a file is, and the text in it, or those in its archive."""
    if path == STANDARD_INPUT:
        data = _all_of(sys.stdin.buffer)
        found = formats.of(data[: formats.HEAD_BYTES])
        texts = formats.texts_of(str(path), iter([data]))
    else:
        found, texts = formats.look(path), formats.texts(path)
    if found.encoding and not found.is_plain:
        width = found.encoding[:6].upper()
        name = width if found.mark_bytes else f'{width}{found.encoding[-2:].upper()}'
        raise DataError(
            f'{path}: the file is {width}, and UTF-8 is needed; type: {as_utf8(path, name)}'
        )
    return found, texts


def json_value(path: pathlib.Path, complaints: Complaints) -> Any:
    """The value of a JSON file; raises DataError with the line that is not JSON."""
    data = content(path, complaints)
    try:
        return json.loads(data.decode())
    except UnicodeDecodeError as error:
        line = data[: error.start].count(b'\n') + 1
        raise DataError(
            f'{path}:{line}: byte {error.start} of the file is not UTF-8; if it is Latin-1, type: '
            f'{as_utf8(path)}'
        ) from error
    except json.JSONDecodeError as error:
        raise DataError(
            f'{path}:{error.lineno}: not JSON ({error.msg} at character {error.colno} of the '
            'line); the file may be torn, or be JSON lines, whose name must end in .jsonl'
        ) from error
    # A number of thousands of digits is a ValueError.
    except (RecursionError, ValueError) as error:
        raise DataError(f'{path}: not JSON that can be used ({error})') from error


def raw_lines(path: pathlib.Path, complaints: Complaints) -> list[bytes]:
    r"""Lines that end in \n or \r\n; in \r, as on old Macs, where most end so.

    Other carriage returns are counted; they stay where they are.
    """
    data = content(path, complaints)
    line_feeds, pairs = data.count(b'\n'), data.count(b'\r\n')
    if data.count(b'\r') - pairs > line_feeds:
        data = formats.with_line_feeds(data)
    found = [raw.rstrip(b'\r') for raw in data.removesuffix(b'\n').split(b'\n')]
    for number, raw in enumerate(found, 1) if data.count(b'\r') > data.count(b'\r\n') else ():
        if b'\r' in raw:
            complaints.count('stray_return', f'{path}:{number}')
    return found


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
            f'Latin-1, type: {as_utf8(path)}'
        )
        raise UnusableError('not_text', problem) from error
    before, nul, _ = text.partition('\0')
    if nul:
        raise UnusableError('not_text', f'a NUL character after {before[-20:]!r}')
    return text


def as_utf8(path: pathlib.Path, encoding: str = 'LATIN1') -> str:
    """The command that writes a file in UTF-8, under a name with the same ending."""
    return formats.typed(f'iconv -f {encoding} -t UTF-8 {{}} > NEW{ending_of(path)}', path)


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
