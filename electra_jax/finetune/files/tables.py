"""Tables that a task may come in, CSV, TSV and JSON lines: their rows and their columns."""

import csv
import dataclasses
import itertools
import json
import pathlib
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, NamedTuple, TypeVar

from electra_jax.config.settings import ColumnsConfig
from electra_jax.core import compressed
from electra_jax.core.complaints import Complaints
from electra_jax.core.errors import ConfigError, DataError, nearest

# Ending of the file's name -> what separates its cells.
SEPARATORS = {'.csv': ',', '.tsv': '\t'}
JSON_LINES = ('.jsonl', '.ndjson')
TABLES = (*SEPARATORS, *JSON_LINES)

R = TypeVar('R')  # a row of any form
E = TypeVar('E')  # an example

_SURROGATES = re.compile('[\ud800-\udfff]')
_UTF8_MARK = b'\xef\xbb\xbf'
_UTF16_MARKS = (b'\xff\xfe', b'\xfe\xff')
_LONGEST_CELL = 2**31 - 1
_MOST_UNPACKED = 2**30  # bytes


@dataclasses.dataclass(frozen=True)
class Columns(ColumnsConfig):
    """Which column of a table, or field of an object, holds what.

    A column is given by its name, or by its number: from 0, or from the end -1, -2, ...
    None: the file does not have it, or it has its usual name.

    Attributes:
        header: whether the first line of a table names its columns; None: it does.
        separator: between cells; None: the one of the file's ending.
    """

    header: bool | None = None
    separator: str | None = None


class Row(NamedTuple):
    """A row: its 'file:line', its number among the file's rows from 0, and its values by name."""

    where: str
    number: int
    values: dict[str, Any]


class Rows(NamedTuple):
    """The rows of a file.

    Attributes:
        where: the file, for messages.
        names: of the columns; None: each row brings its own names (JSON).
        rows: one after another.
    """

    where: str
    names: tuple[str, ...] | None
    rows: Iterator[Row]


class UnusableError(Exception):
    """A row cannot be used.

    Attributes:
        kind: of the complaint.
        problem: what is wrong, for a person.
        where: 'file:line' of the problem; None: that of the row.
    """

    def __init__(self, kind: str, problem: str, where: str | None = None) -> None:
        super().__init__(kind, problem, where)
        self.kind, self.problem, self.where = kind, problem, where


def usable(
    rows: Iterable[R], make: Callable[[R], E], where: Callable[[R], str], complaints: Complaints
) -> Iterator[E]:
    """What `make` gives for each row; rows that it cannot use are refused or counted.

    Args:
        rows: in the order of the file.
        make: row -> example; raises UnusableError.
        where: row -> its 'file:line'.
        complaints: see `make`.
    """
    for row in rows:
        try:
            example = make(row)
        except UnusableError as error:
            complaints.refuse(error.kind, error.where or where(row), error.problem)
            continue
        yield example


def read(
    path: pathlib.Path,
    complaints: Complaints,
    columns: Columns = Columns(),
    known_gaps: bool = False,
    ending: str | None = None,
) -> Rows:
    """Rows of a CSV, TSV or JSON lines file; the ending of its name decides which it is.

    In a CSV file quotation marks may enclose a cell; in a TSV file they are characters like any
    other, as in the files of GLUE.

    Args:
        path: a file, perhaps compressed (.gz, .xz, .zst).
        complaints: rows that cannot be used are refused or counted here.
        columns: its header and separator are used; without a header, columns are called '0',
            '1', ...
        known_gaps: whether rows with missing cells are expected: they are counted, not refused.
        ending: stands in for the name's own.

    Raises:
        DataError: the file is missing, empty, not UTF-8 text, or not a table.
        ConfigError: the separator is not one character.
    """
    ending = ending or ending_of(path)
    if ending in JSON_LINES:
        return Rows(str(path), None, _json_rows(path, complaints))
    cells = _cells(path, columns.separator, complaints, ending)
    try:
        line, first = next(cells)
    except StopIteration as end:
        raise DataError(f'{path}: no usable line in the file') from end
    if columns.header is False:
        names = tuple(map(str, range(len(first))))
        cells = itertools.chain([(line, first)], cells)
    else:
        names = tuple(first)
        _check_header(path, names)
    return Rows(str(path), names, _table_rows(path, names, cells, complaints, known_gaps))


def first_names(path: pathlib.Path, separator: str | None, ending: str) -> tuple[str, ...]:
    """The cells of a table's first line, or the fields of its first JSON object."""
    complaints = Complaints('data.on_bad_row', 'skip')
    if ending in JSON_LINES:
        return next((tuple(row.values) for row in _json_rows(path, complaints)), ())
    return tuple(next(_cells(path, separator, complaints, ending), (0, []))[1])


def ending_of(path: pathlib.Path) -> str:
    """The ending that decides how a file is read: '.jsonl' of 'train.jsonl.gz'."""
    return path.with_suffix('').suffix if compressed.is_compressed(path) else path.suffix


# ---------------------------------------------------------------------------------------------
# Bytes, lines, texts


def content(path: pathlib.Path, complaints: Complaints) -> bytes:
    """The bytes of a file, unpacked, without a byte order mark.

    Raises:
        DataError: the file cannot be read, is empty, or is UTF-16.
    """
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


def _chunks(path: pathlib.Path, complaints: Complaints) -> Iterator[bytes]:
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


def lines(path: pathlib.Path, complaints: Complaints) -> Iterator[tuple[int, str]]:
    """Number, from 1, and text of each line; lines that are not text are refused or counted."""
    return ((number, text) for number, text in lines_and_gaps(path, complaints) if text is not None)


def lines_and_gaps(path: pathlib.Path, complaints: Complaints) -> Iterator[tuple[int, str | None]]:
    """Number and text of each line as in `lines`; None for a line that is not text."""
    for number, raw in enumerate(_raw_lines(path, complaints), 1):
        text = _text(raw)
        if text is None:
            complaints.refuse('not_text', f'{path}:{number}', _byte_problem(raw, path))
        yield number, text


def _raw_lines(path: pathlib.Path, complaints: Complaints) -> list[bytes]:
    r"""Lines that end in \n or \r\n; in a file without any \n, in \r."""
    data = content(path, complaints)
    if b'\n' not in data:
        data = data.replace(b'\r', b'\n')
    raw_lines = data.split(b'\n')
    if data.endswith(b'\n'):
        raw_lines.pop()
    return [raw.removesuffix(b'\r') for raw in raw_lines]


def _text(raw: bytes) -> str | None:
    if b'\0' in raw:
        return None
    try:
        return raw.decode()
    except UnicodeDecodeError:
        return None


def _byte_problem(raw: bytes, path: pathlib.Path) -> str:
    """Why a line is not text."""
    try:
        before = raw.decode().partition('\0')[0]
    except UnicodeDecodeError as error:
        shown = raw[max(error.start - 10, 0) : error.start + 10]
        return (
            f'byte {error.start} of the line is not UTF-8 (around it: {shown!r}); if the file is '
            f'Latin-1, type: iconv -f LATIN1 -t UTF-8 {path} > NEW'
        )
    return f'a NUL character after {before[-20:]!r}'


def usable_text(value: Any, part: str) -> str:
    """A value that is a text with something in it.

    Args:
        value: of a row.
        part: what of the row it is, for the message, such as 'column NAME'.

    Raises:
        UnusableError: it is not one.
    """
    problem = text_problem(value)
    if isinstance(value, str) and problem is None:
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


# ---------------------------------------------------------------------------------------------
# CSV, TSV, JSON lines


def _cells(
    path: pathlib.Path, separator: str | None, complaints: Complaints, ending: str
) -> Iterator[tuple[int, list[str]]]:
    """The number of each row's first line, and its cells."""
    separator = '\t' if separator == r'\t' else separator or SEPARATORS.get(ending)
    if separator is None:
        hint = (
            '; a list of JSON objects becomes JSON lines by: '
            f'python -c "import json; [print(json.dumps(x)) for x in json.load(open(\'{path}\'))]"'
            ' > NEW.jsonl'
        )
        raise DataError(
            f'{path}: the name of a table must end in {", ".join(TABLES)} (.gz, .xz or .zst may '
            f'follow), or type --config.task.separator{hint if ending == ".json" else ""}'
        )
    if len(separator) != 1 or separator in '"\r\n':
        raise ConfigError(
            f'config.task.separator is {separator!r}, but the cells of {path} must be separated by '
            'one character that is neither a quotation mark nor a line end'
        )
    csv.field_size_limit(_LONGEST_CELL)
    raw_lines = _raw_lines(path, complaints)
    # A line left out here could open or close quotes, and change what all others mean.
    decoded = (raw.decode(errors='replace') + '\n' for raw in raw_lines)
    reader = csv.reader(
        decoded,
        delimiter=separator,
        quoting=csv.QUOTE_MINIMAL if ending == '.csv' else csv.QUOTE_NONE,
        strict=True,
    )
    while True:
        start = reader.line_num
        where = f'{path}:{start + 1}'
        try:
            cells = next(reader)
        except StopIteration:
            return
        except csv.Error as error:
            if 'unexpected end' in str(error):
                # All that follows is inside the quotes: leaving this row out would lose the rest.
                raise DataError(
                    f'{where}: a quotation mark opens here and is never closed; close it, or '
                    'save the table as .tsv, where quotation marks have no meaning'
                ) from error
            complaints.refuse('bad_width', where, f'the line cannot be cut into cells ({error})')
            continue
        not_text = [raw for raw in raw_lines[start : reader.line_num] if _text(raw) is None]
        if not_text:
            complaints.refuse('not_text', where, _byte_problem(not_text[0], path))
        elif any(cell.strip() for cell in cells) or len(cells) > 1:
            yield start + 1, cells


def _check_header(path: pathlib.Path, names: tuple[str, ...]) -> None:
    double = sorted({name for name in names if names.count(name) > 1})
    if double:
        raise DataError(
            f'{path}:1: the header names {double[0]!r} twice; if the file has no header, type '
            '--config.task.header=False and give the columns as numbers from 0'
        )


def _table_rows(
    path: pathlib.Path,
    names: tuple[str, ...],
    cells: Iterator[tuple[int, list[str]]],
    complaints: Complaints,
    known_gaps: bool,
) -> Iterator[Row]:
    for number, (line, values) in enumerate(cells):
        where = f'{path}:{line}'
        if len(values) == len(names):
            yield Row(where, number, dict(zip(names, values, strict=True)))
        elif known_gaps and len(values) < len(names):
            complaints.count('known_gap', where)
        else:
            shown = '|'.join(values)
            problem = f'{len(values)} cells where the first line has {len(names)}: {shown!r:.80}'
            complaints.refuse('bad_width', where, problem)


def _json_rows(path: pathlib.Path, complaints: Complaints) -> Iterator[Row]:
    filled = ((line, text) for line, text in lines(path, complaints) if text.strip())
    for number, (line, text) in enumerate(filled):
        where = f'{path}:{line}'
        try:
            value = json.loads(text)
        except (ValueError, RecursionError) as error:
            complaints.refuse('bad_json', where, f'not JSON ({error}): {text!r:.80}')
            continue
        if isinstance(value, dict):
            yield Row(where, number, value)
        else:
            problem = f'a JSON object is needed, found a {type(value).__name__}'
            complaints.refuse('bad_json', where, problem)


# ---------------------------------------------------------------------------------------------
# Columns


def merged(usual: Columns, given: Columns) -> Columns:
    """The usual columns of a task, changed by those that are given."""
    changes = {k: v for k, v in dataclasses.asdict(given).items() if v is not None}
    return dataclasses.replace(usual, **changes)


def is_number(column: str) -> bool:
    """Whether a column is given by its number.

    >>> is_number('3'), is_number('-1'), is_number('--1'), is_number('²')
    (True, True, False, False)
    """
    return re.fullmatch('-?[0-9]+', column) is not None


def find_column(rows: Rows, column: str) -> str | None:
    """The key of a column in the values of every row; None: there is no such column."""
    names = rows.names
    if names is None or column in names:
        return column
    if is_number(column) and -len(names) <= int(column) < len(names):
        return names[int(column)]
    return None


def need_column(rows: Rows, column: str, field: str) -> str:
    """The key of a column in the values of every row.

    Args:
        rows: of the file.
        column: its name or number, as the user gives it.
        field: of `Columns` that names it, for the message.

    Raises:
        DataError: there is no such column; the message lists those that are there.
    """
    key = find_column(rows, column)
    if key is not None:
        return key
    names = rows.names or ()
    raise DataError(
        f'{rows.where}: no column {column!r} for {field}; it has '
        f'{", ".join(map(repr, names))}{nearest(column, names)}. Name one with '
        f'--config.task.columns.{field}=NAME{_other_reasons(names)}'
    )


def _other_reasons(names: Sequence[str]) -> str:
    if len(names) == 1:
        for mark, typed in ((';', "';'"), ('\t', "$'\\t'"), (',', "','")):
            if mark in names[0]:
                return f' (if {typed} separates the cells: --config.task.separator={typed})'
    if all(name.isdigit() for name in names):
        return ', a number from 0'
    return ' (if the first line is no header: --config.task.header=False, and numbers from 0)'


def find_value(row: Row, key: str) -> Any:
    """The value of a row under the key of a column.

    Raises:
        UnusableError: the row has no such field.
    """
    if key not in row.values:
        has = ', '.join(map(repr, sorted(row.values)[:10])) or 'none'
        raise UnusableError('missing_field', f'no field {key!r}; it has {has}')
    return row.values[key]


def row_id(row: Row, key: str | None) -> str:
    """The id that a row carries, or its number in the file.

    Raises:
        UnusableError: the id cannot be written.
    """
    given = row.values.get(key) if key is not None else None
    return usable_id(row.number if given is None else given)


def usable_id(value: Any) -> str:
    """An id as text.

    Raises:
        UnusableError: it cannot be written.
    """
    problem = half_character(str(value))
    if problem:
        raise UnusableError('not_text', f'in the id: {problem}')
    return str(value)
