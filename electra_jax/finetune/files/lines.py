"""Bytes, lines and texts of a task's files, and what makes them unusable."""

import ast
import functools
import json
import pathlib
import re
import sys
from collections.abc import Iterator
from typing import Any, NamedTuple

from electra_jax.core import compressed, formats
from electra_jax.core.complaints import Complaints
from electra_jax.core.errors import DataError
from electra_jax.core.files import explained

STANDARD_INPUT = pathlib.Path('<stdin>')  # stands for it
_HEAD_BYTES = 1 << 16
_MARK = b'\xef\xbb\xbf'  # the byte order mark, which begins each of several files that were joined
_TAGGED = re.compile(r'^\S+[\t ].*(\b[oO]|\b[BIESLUM][-_]\S+)\s*$')
TAGGED = (
    'Each line seems to be a word and its tag, with blank lines between sentences: type '
    '--config.task.name=tagging'
)
# Lists in a cell, as Python and JSON write them.
_ITEM = re.compile(r"""'(?:[^'\\]|\\.)*'|"(?:[^"\\]|\\.)*"|-?(?:0|[1-9][0-9]*)""")
_WHOLE_LIST = re.compile(rf'\[\s*(?:(?:{_ITEM.pattern})\s*(?:,\s*(?:{_ITEM.pattern})\s*)*,?)?\s*\]')
_BEGINS_LIST = re.compile(r"""\[\s*(['"]|-?[0-9]+\s*[\s,\]]|\])""")
_SURROGATES = re.compile('[\ud800-\udfff]')
_MOST_UNPACKED = 2**30  # bytes
# What helps where a corpus is made -> what helps here.
_OF_TASKS = {
    '--config.data.source=parquet:': (
        "in Python, pandas.read_parquet(FILE).to_json('NEW.jsonl', orient='records', lines=True): "
    ),
    '--convert-to txt:Text': '--convert-to csv --outdir NEW',
}


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


class _Content(NamedTuple):
    """What a file holds."""

    data: bytes  # UTF-8 without a byte order mark, unpacked
    is_packed: bool
    guessed: str  # its encoding, where the bytes alone show it
    torn: str  # why there is no more of it


def content(path: pathlib.Path, complaints: Complaints) -> bytes:
    """The text of a file in UTF-8, unpacked whatever its name, without a byte order mark."""
    with explained('read', path):
        found = _read(path, _version(path))
    if found.torn:
        complaints.refuse('torn_file', str(path), found.torn)
    if not found.data.strip():
        raise DataError(f'{path}: the file is empty')
    if found.guessed:
        complaints.count('guessed_encoding', f'{path} ({found.guessed})')
    if compressed.is_packed(path) and not found.is_packed:
        complaints.count('not_packed', str(path))
    return found.data


def forget() -> None:
    """Frees the file that was read last, which is kept because its first line is read alone.

    Standard input is at its end after this.
    """
    _read.cache_clear()


def _version(path: pathlib.Path) -> object:
    if path == STANDARD_INPUT:
        return sys.stdin.buffer
    about = path.stat()
    return about.st_size, about.st_mtime_ns


@functools.lru_cache(maxsize=1)
def _read(path: pathlib.Path, version: object) -> _Content:
    del version  # part of the key, so that a file that has changed is read again
    size, names, is_packed, guessed, torn = 0, [], False, '', ''
    chunks: list[bytes] = []
    try:
        is_packed, texts = _opened(path)
        for text in texts:
            names.append(text.name)
            if text.problem:
                problem = text.problem
                for of_corpora, of_tasks in _OF_TASKS.items():
                    problem = problem.replace(of_corpora, of_tasks)
                raise DataError(f'{text.name}: {problem}')
            if len(names) > 1:
                raise DataError(
                    f'{path} holds several files, {names[0]}, {names[1]}, ...: unpack it, and name '
                    'the one to read'
                )
            guessed = text.guessed
            for chunk in text.chunks:
                size += len(chunk)
                if is_packed and size > _MOST_UNPACKED:
                    raise DataError(
                        f'{path} unpacks to more than {_MOST_UNPACKED >> 30} GiB, which must fit '
                        'into memory: unpack it yourself if its content is what you expect'
                    )
                chunks.append(chunk)
    except compressed.TornError as error:
        torn = str(error)
    return _Content(b''.join(chunks), is_packed, guessed, torn)


def _opened(path: pathlib.Path) -> tuple[bool, Iterator[formats.Text]]:
    """Whether a file is packed, and the text in it, or those in its archive."""
    if path == STANDARD_INPUT:
        data = sys.stdin.buffer.read()
        found = formats.of(data[: formats.HEAD_BYTES])
        return bool(found.packed), formats.texts_of(str(path), iter([data]))
    return bool(formats.look(path).packed), formats.texts(path)


def json_value(path: pathlib.Path, complaints: Complaints) -> Any:
    """The value of a JSON file; raises DataError with the line that is not JSON."""
    data = content(path, complaints)
    try:
        return json.loads(data.decode())
    except UnicodeDecodeError as error:
        line = data[: error.start].count(b'\n') + 1
        raise DataError(f'{path}:{line}: {_not_utf8(error, path)}') from error
    except json.JSONDecodeError as error:
        raise DataError(
            f'{path}:{error.lineno}: not JSON ({error.msg} at character {error.colno} of the '
            'line); the file may be torn, or be JSON lines, whose name must end in .jsonl'
        ) from error
    # A number of thousands of digits is a ValueError.
    except (RecursionError, ValueError) as error:
        raise DataError(f'{path}: not JSON that can be used ({error})') from error


def raw_lines(path: pathlib.Path, complaints: Complaints, quoted: bool = False) -> list[bytes]:
    r"""Lines that end in \n or \r\n; in \r, as on old Macs, where most end so.

    Other carriage returns are counted; they stay where they are. With `quoted` those ends decide
    that are not between quotation marks, where a cell of a table may hold others. A byte order mark
    at the beginning of a line is left out.
    """
    data = content(path, complaints)
    ends = data
    if quoted and b'\r' in data:
        ends = b''.join(data.split(b'"')[::2])
    if ends.count(b'\r') - ends.count(b'\r\n') > ends.count(b'\n'):
        data = formats.with_line_feeds(data)
    found = [raw.rstrip(b'\r') for raw in data.removesuffix(b'\n').split(b'\n')]
    if _MARK in data:
        found = [raw.removeprefix(_MARK) for raw in found]
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


def rows(path: pathlib.Path, complaints: Complaints) -> Iterator[tuple[int, str | None]]:
    """The lines of `numbered` that are rows: all that are not blank; None: one was refused."""
    every = numbered(path, complaints)
    return ((number, text) for number, text in every if text is None or text.strip())


def filled(path: pathlib.Path, complaints: Complaints) -> Iterator[tuple[int, str]]:
    """Number, from 1, and text of the lines that are text and not blank."""
    return ((number, text) for number, text in rows(path, complaints) if text is not None)


def decoded(raw: bytes, path: pathlib.Path) -> str:
    """The text of a line of a file; raises UnusableError if it is not text."""
    try:
        text = raw.decode()
    except UnicodeDecodeError as error:
        raise UnusableError('not_text', _not_utf8(error, path)) from error
    before, nul, _ = text.partition('\0')
    if nul:
        raise UnusableError('not_text', f'a NUL character after {before[-20:]!r}')
    return text


def holds_tags(path: pathlib.Path) -> bool:
    """Whether a file has a word and its tag on each line, as CoNLL's have, and is no table."""
    if not path.is_file():
        return False
    try:
        head = content(path, Complaints('data.on_bad_row', 'skip'))[:_HEAD_BYTES]
    except DataError:
        return False
    every = head.decode(errors='replace').split('\n')[:-1]
    filled = [line for line in every if line.strip()]
    tagged = sum(_TAGGED.search(line) is not None for line in filled)
    return len(filled) < len(every) and tagged > len(filled) / 2


def _not_utf8(error: UnicodeDecodeError, path: pathlib.Path) -> str:
    """Why a line of a file is not UTF-8, and the command that writes the file so."""
    data, at = error.object, error.start
    before = data[data.rfind(b'\n', 0, at) + 1 : at].decode(errors='replace')
    if data.startswith(formats.HALF_CHARACTER, at):
        found = formats.look(path).encoding if path.is_file() else ''
        encoding = (found or 'utf-16').upper().replace('-LE', 'LE').replace('-BE', 'BE')
        problem = f'half a character of {encoding} after {before[-20:]!r}'
        problem += '; to leave it out, type'
        command = f'iconv -c -f {encoding}'
    else:
        shown = data[max(at - 10, 0) : at + 10]
        problem = f'character {len(before) + 1} of the line is not UTF-8 (around it: {shown!r})'
        problem += '; if the file is Latin-1, type'
        command = 'iconv -f LATIN1'
    return f'{problem}: {formats.typed(f"{command} -t UTF-8 {{}} > NEW{ending_of(path)}", path)}'


def usable_text(value: Any, part: str, where: str | None = None) -> str:
    """A value, if it is a text with something in it; otherwise UnusableError names the `part`."""
    problem = text_problem(value)
    if problem is None:
        return value
    blank = isinstance(value, str) and not value.strip()
    raise UnusableError('empty_text' if blank else 'not_text', f'in {part}: {problem}', where)


def text_problem(value: Any) -> str | None:
    """Why a value is not a text with something in it; None: it is one."""
    if not isinstance(value, str):
        return f'{value!r:.60} ({type(value).__name__}) is not text'
    if not value.strip():
        return f'the text is empty ({value!r:.60})'
    if '\0' in value:
        return f'a NUL character in {value!r:.60}'
    return half_character(value)


def written_list(text: str, kind: str) -> list[str] | None:
    """The texts or whole numbers of a list that a program wrote into a cell; None: it is no list.

    A list that lacks commas, as NumPy writes it, is an UnusableError of that `kind`.

    >>> [written_list(text, '') for text in ('["a", "b"]', "['a', 2]", '[]', '[a')]
    [['a', 'b'], ['a', '2'], [], None]
    """
    text = text.strip()
    if not _BEGINS_LIST.match(text) or text[-1] != ']':
        return None
    if not _WHOLE_LIST.fullmatch(text):
        problem = 'looks like a list that a program wrote, but has no comma between all items'
        raise UnusableError(kind, f'{text!r:.60} {problem}')
    return [str(ast.literal_eval(item)) for item in _ITEM.findall(text)]


def json_of(text: str) -> Any:
    """The object or list of JSON that a line is; None: it is neither."""
    try:
        return json.loads(text) if text.startswith(('{', '[')) else None
    except (ValueError, RecursionError):
        return None


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
