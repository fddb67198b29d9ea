"""Tables that a task may come in, CSV, TSV and JSON lines: their rows and their columns."""

import csv
import dataclasses
import itertools
import json
import pathlib
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple, TypeVar

from electra_jax.config.task_settings import ColumnsConfig, DecodingConfig
from electra_jax.core import files, formats
from electra_jax.core.complaints import Complaints, counted
from electra_jax.core.errors import ConfigError, DataError
from electra_jax.finetune.files import lacking, lines
from electra_jax.finetune.files.lines import Refusing, UnusableError

# Ending of the file's name -> what separates its cells.
SEPARATORS = {'.csv': ',', '.tsv': '\t'}
JSON_LINES = ('.jsonl', '.ndjson')
JSON = '.json'  # one list of objects, or lines of them
TABLES = (*SEPARATORS, *JSON_LINES)
_QUOTED = re.compile('".*"".*"', re.DOTALL)  # a cell as CSV writes one with quotation marks
_LIST = re.compile(rb'\s*\[\s*\{')  # the beginning of a JSON array of objects
_STATED = re.compile(rb'sep=([\x09\x20-\x7e])\s*')  # a first line that Excel reads, and writes
_LONGEST_CELL = 2**31 - 1
_REFUSED = object()  # stands for the value of a line that has none
# Field -> what other projects call its column, which counts where there is just one of these.
_ALSO = {
    'words': ('tokens',),
    'tags': ('ner_tags', 'pos_tags', 'chunk_tags', 'labels', 'ner', 'upos'),
}


@dataclasses.dataclass(frozen=True)
class Columns(ColumnsConfig):
    """Which column of a table, or field of an object, holds what: by name, or by number.

    Numbers count from 0, or from the end -1, -2, ... None: the file does not have the column, or it
    has its usual name.
    """

    header: bool | None = None  # whether a table's first line names its columns; None: it does
    separator: str | None = None  # between cells; None: the one of the file's ending


Group = TypeVar('Group', bound=ColumnsConfig | DecodingConfig)


class Row(NamedTuple):
    """A row: its 'file:line', its number among the file's rows from 0, and its values by name."""

    where: str
    number: int
    values: dict[str, Any]

    def value(self, key: str, field: str) -> Any:
        """The value under the key that a field of `Columns` has; UnusableError: there is none."""
        self.check({field: key})
        return self.values[key]

    def check(self, keys: Mapping[str, str]) -> None:
        """Raises UnusableError if the row lacks a key that a field of `Columns` has: for all."""
        missing = {field: key for field, key in keys.items() if key not in self.values}
        if missing:
            raise UnusableError('missing_field', lacking.of_row(self.values, missing))

    def id(self, key: str | None) -> str:
        """The id that the row carries, or its number; raises UnusableError for a bad one."""
        given = self.values.get(key) if key is not None else None
        return lines.usable_id(self.number if given is None else given)


class Rows(NamedTuple):
    """The rows of a file or dataset."""

    where: str  # the file, for messages
    names: tuple[str, ...] | None  # of the columns; None: each row brings its own (JSON)
    rows: Iterator[Row]
    columns: Columns  # which of them hold what
    double: tuple[str, ...] = ()  # names that several columns have; these go by number alone
    first: tuple[str, ...] = ()  # the names of the first row, where each brings its own

    def find(self, field: str) -> str | None:
        """The key of the column that a field of `columns` gives, or that has the field's name."""
        names = self.first if self.names is None else self.names
        column = getattr(self.columns, field) or called(field, names)
        if column in self.double:
            raise DataError(
                f'{self.where}:1: the header names {column!r} twice; give the column for {field} '
                'as a number from 0; if the file has no header, type --config.task.header=False'
            )
        return key_of(self.names, column)

    def need_all(self, fields: Iterable[str]) -> dict[str, str]:
        """Field -> key; one error names all fields of which there is no column."""
        found = {field: self.find(field) for field in fields}
        missing = {x: getattr(self.columns, x) or x for x, key in found.items() if key is None}
        if missing:
            raise lacking.of_table(self.where, self.names or (), missing)
        return {field: key for field, key in found.items() if key is not None}


def read(
    path: pathlib.Path, ending: str, columns: Columns, complaints: Complaints, known_gaps: bool
) -> Rows:
    """Rows of a CSV, TSV or JSON lines file, perhaps compressed; the ending decides which it is.

    In a CSV file quotation marks may enclose a cell; in a TSV file they are characters like any
    other, as in the files of GLUE. Without a header, columns are called '0', '1', ... With
    `known_gaps` rows with missing cells are counted, not refused.
    """
    if ending in (*JSON_LINES, JSON):
        objects = _json_rows(path, complaints)
        one = list(itertools.islice(objects, 1))
        names_there = tuple(name for row in one for name in row.values)
        objects = itertools.chain(one, objects)
        return Rows(str(path), None, objects, columns, first=names_there)
    cells = _cells(path, columns.separator, complaints, ending)
    before: list[tuple[int, list[str] | None]] = []  # rows, if there is no header
    for line, first in cells:
        if first is not None:
            break
        before.append((line, None))
    else:
        raise DataError(f'{path}: there is no usable line in the file')
    double: tuple[str, ...] = ()
    if columns.header is False:
        names = tuple(map(str, range(len(first))))
        cells = itertools.chain(before, [(line, first)], cells)
    else:
        cells = _without_header(path, first, cells, complaints)
        first = [name.strip() for name in first]
        double = tuple(name for name in dict.fromkeys(first) if first.count(name) > 1)
        names = tuple(f'column {i}' if name in double else name for i, name in enumerate(first))
    rows = _table_rows(path, names, cells, complaints, known_gaps)
    return Rows(str(path), names, rows, columns, double)


def _without_header(
    path: pathlib.Path,
    header: list[str],
    cells: Iterable[tuple[int, list[str] | None]],
    complaints: Complaints,
) -> Iterator[tuple[int, list[str] | None]]:
    """The rows but for those that are the header once more, as in files that were joined."""
    for line, values in cells:
        if values == header:
            complaints.count('repeated_header', f'{path}:{line}')
        else:
            yield line, values


def first_names(path: pathlib.Path, separator: str | None, ending: str) -> tuple[str, ...]:
    """The cells of a table's first line, or the fields of its first JSON object."""
    complaints = Complaints('data.on_bad_row', 'skip')
    if ending in (*JSON_LINES, JSON):
        return next((tuple(row.values) for row in _json_rows(path, complaints)), ())
    every = (cells for _, cells in _cells(path, separator, complaints, ending))
    return tuple(name.strip() for name in next(filter(None, every), ()))


def _cells(
    path: pathlib.Path, separator: str | None, complaints: Complaints, ending: str
) -> Iterator[tuple[int, list[str] | None]]:
    """The number of each row's first line, and its cells; None: the row was refused."""
    csv.field_size_limit(_LONGEST_CELL)
    quotes_are_text = ending != '.csv'
    raw_lines = lines.raw_lines(path, complaints, quoted=not quotes_are_text)
    stated = _STATED.fullmatch(raw_lines[0])
    if stated and separator is None:
        separator = stated[1].decode()
    separator = separator_of(path, separator, ending)
    quotes = _Quotes(path, complaints)
    reader = csv.reader(
        # A line left out here could open or close quotes, and change what all others mean.
        (raw.decode(errors='replace') + '\n' for raw in raw_lines),
        delimiter=separator,
        quoting=csv.QUOTE_NONE if quotes_are_text else csv.QUOTE_MINIMAL,
        strict=True,
    )
    while True:
        start = reader.line_num
        where = f'{path}:{start + 1}'
        with Refusing(complaints, where):
            try:
                cells = next(reader)
            except StopIteration:
                quotes.report()
                return
            except csv.Error as error:
                if 'unexpected end' in str(error):
                    # All that follows is inside the quotes: without this row the rest is lost.
                    raise DataError(
                        f'{where}: a quotation mark opens here and is never closed; close it, or '
                        'save the table as .tsv, where quotation marks have no meaning'
                    ) from error
                problem = f'the line cannot be cut into cells ({error})'
                if 'new-line character' in str(error):
                    problem = (
                        'the line holds a carriage return, which ends no line where most end '
                        'otherwise'
                    )
                raise UnusableError('bad_width', problem) from error
            for raw in raw_lines[start : reader.line_num]:
                lines.decoded(raw, path)
            if quotes_are_text:
                quotes.look(start + 1, cells)
            is_filled = any(cell.strip() for cell in cells) or len(cells) > 1
            if is_filled and not (stated and start == 0):
                yield start + 1, cells
            continue
        yield start + 1, None


class _Quotes:
    """Looks for quotation marks that may enclose cells, where they are read as text."""

    def __init__(self, path: pathlib.Path, complaints: Complaints) -> None:
        self._path, self._complaints = path, complaints
        self._rows = 0
        self._bare: set[int] = set()  # columns with a cell that has none
        self._enclosed: dict[int, tuple[int, int]] = {}  # column -> how many, the line of the first

    def look(self, line: int, cells: list[str]) -> None:
        """Counts a row if a cell has its own marks doubled, as CSV writes them."""
        if any(_QUOTED.fullmatch(cell) for cell in cells):
            self._complaints.count('quoted', f'{self._path}:{line}')
        self._rows += 1
        if len(self._bare) >= len(cells):
            return
        for column, cell in enumerate(cells):
            if len(cell) > 1 and cell[0] == '"' == cell[-1]:
                number, first = self._enclosed.get(column, (0, line))
                self._enclosed[column] = number + 1, first
            elif cell.strip() and self._rows > 1:  # the first may hold names without marks
                self._bare.add(column)

    def report(self) -> None:
        """Counts the rows if all cells of a column are enclosed."""
        if 'quoted' in self._complaints.counts:
            return
        whole = (n for column, n in self._enclosed.items() if column not in self._bare)
        number, line = max(whole, default=(0, 0))
        if number > 1:
            self._complaints.add({'quoted': (number, f'{self._path}:{line}')})


def separator_of(path: pathlib.Path, separator: str | None, ending: str) -> str:
    """What separates the cells of a table: what is given, or what belongs to the ending."""
    separator = '\t' if separator == r'\t' else separator or SEPARATORS.get(ending)
    if separator is None:
        if lines.holds_tags(path):
            raise DataError(f'{path} is no table. {lines.TAGGED}')
        raise DataError(
            f'{path}: the name of a table must end in {", ".join((*TABLES, JSON))} (.gz, .xz or '
            '.zst may follow), or type --config.task.separator=CHARACTER'
        )
    if len(separator) != 1 or separator in '"\r\n':
        raise ConfigError(
            f'config.task.separator is {separator!r}, but the cells of {path} must be separated by '
            'one character that is neither a quotation mark nor a line end'
        )
    return separator


def _table_rows(
    path: pathlib.Path,
    names: tuple[str, ...],
    cells: Iterator[tuple[int, list[str] | None]],
    complaints: Complaints,
    known_gaps: bool,
) -> Iterator[Row]:
    for number, (line, values) in enumerate(cells):
        if values is None:
            continue  # it counts as a row
        where = f'{path}:{line}'
        if len(values) == len(names):
            yield Row(where, number, dict(zip(names, values, strict=True)))
        elif known_gaps and len(values) < len(names):
            complaints.count('known_gap', where)
        else:
            shown = '|'.join(values)
            found = counted(len(values), 'cells')
            problem = f'{found} where the first line has {len(names)}: {shown!r:.80}'
            if lines.ending_of(path) != '.csv' and shown.count('"') % 2:
                problem += (
                    ' (quotation marks enclose cells in .csv files only: give the file that '
                    "ending, and type --config.task.separator=$'\\t')"
                )
            elif lines.ending_of(path) == '.csv' and len(values) > len(names):
                problem += ' (quotation marks enclose a cell that holds the separator)'
            complaints.refuse('bad_width', where, problem)


def _json_rows(path: pathlib.Path, complaints: Complaints) -> Iterator[Row]:
    for number, (where, value) in enumerate(_json_values(path, complaints)):
        if value is _REFUSED:
            continue  # it counts as a row
        with Refusing(complaints, where):
            yield Row(where, number, checked_object(value))


def checked_object(value: Any) -> dict[str, Any]:
    """A value that is a JSON object; UnusableError: it is none."""
    if not isinstance(value, dict):
        problem = f'a JSON object is needed, found a {type(value).__name__}'
        raise UnusableError('bad_json', problem)
    return value


def parsed(text: str) -> Any:
    """The JSON value of a line; UnusableError: it has none."""
    try:
        return json.loads(text, object_pairs_hook=files.unique)
    except (ValueError, RecursionError) as error:
        raise UnusableError(
            'bad_json', f'not JSON ({files.json_problem(error)}): {text!r:.80}'
        ) from error


def is_list(path: pathlib.Path) -> bool:
    """Whether a file is one JSON array of objects, and not a JSON value a line."""
    data = lines.content(path, Complaints('data.on_bad_row', 'skip'))
    is_whole = lines.ending_of(path) == JSON or data.rstrip().endswith(b']')
    return is_whole and _LIST.match(data) is not None


def _json_values(path: pathlib.Path, complaints: Complaints) -> Iterator[tuple[str, Any]]:
    """Where each JSON value of a file is, and the value: of one list, or one a line.

    A line that is refused has `_REFUSED`.
    """
    if is_list(path):
        for number, value in enumerate(lines.json_value(path, complaints)):
            yield f'{path}: row {number}', value
        return
    for line, text in lines.rows(path, complaints):
        where, value = f'{path}:{line}', _REFUSED
        try:
            if text is not None:
                value = parsed(text)
        except UnusableError as error:
            advice = ''
            if line == 1 and isinstance(error.__cause__, ValueError):
                advice = formats.as_json_lines(text or '', error.__cause__, path)
            complaints.refuse(error.kind, where, error.problem + advice)
        yield where, value


# ---------------------------------------------------------------------------------------------
# Columns


def merged(usual: Group, given: object) -> Group:
    """The usual columns of a task, or other settings, changed by those that are given."""
    names = (field.name for field in dataclasses.fields(given))  # type: ignore[arg-type]
    changes = {name: x for name in names if (x := getattr(given, name)) is not None}
    return dataclasses.replace(usual, **changes)


def is_number(column: str) -> bool:
    """Whether a column is given by its number.

    >>> is_number('3'), is_number('-1'), is_number('--1'), is_number('²')
    (True, True, False, False)
    """
    return re.fullmatch('-?[0-9]+', column) is not None


def called(field: str, names: Sequence[str]) -> str:
    """What a column is called that nobody named: as the field, or as other projects call it."""
    found = [name for name in _ALSO.get(field, ()) if name in names]
    return found[0] if field not in names and len(found) == 1 else field


def key_of(names: Sequence[str] | None, column: str) -> str | None:
    """What the rows call a column that is given by its name or number; None: they have none."""
    if names is None or column in names:
        return column
    if column.strip() in names:  # as names are read
        return column.strip()
    if is_number(column) and -len(names) <= int(column) < len(names):
        return names[int(column)]
    return None
