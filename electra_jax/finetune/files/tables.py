"""Rows of the files a task may come in: CSV, TSV, JSON, and prepared TensorFlow datasets."""

import contextlib
import csv
import itertools
import json
import pathlib
import re
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

from electra_jax.core import compressed, errors
from electra_jax.finetune.bad_rows import BadRows

# Suffix -> what separates cells; the others are JSON.
SEPARATORS = {'.csv': ',', '.tsv': '\t'}
JSON_LINES = ('.jsonl', '.ndjson')

_SURROGATES = re.compile('[\ud800-\udfff]')
_BYTE_ORDER_MARK = b'\xef\xbb\xbf'
_WIDE_MARKS = (b'\xff\xfe', b'\xfe\xff')  # how UTF-16 begins
_LONGEST_CELL = 2**31 - 1
_MOST_UNPACKED = 2**30  # bytes


class Row(NamedTuple):
    """One row: its place, its number among the file's rows from 0, and its values by name."""

    where: str
    number: int
    values: dict[str, Any]


class Rows(NamedTuple):
    """A file's rows.

    Attributes:
      where: the file, for messages.
      names: of the columns, the same in every row; None: each row brings its own (JSON).
      rows: one after another.
    """

    where: str
    names: tuple[str, ...] | None
    rows: Iterator[Row]


def read(
    path: pathlib.Path,
    bad: BadRows,
    header: bool = True,
    separator: str | None = None,
    known_gaps: bool = False,
    ending: str | None = None,
) -> Rows:
    """Rows of a CSV, TSV or JSON file, told apart by the name's ending.

    In a TSV file a quotation mark is a character like any other, as in the files of GLUE; in a
    CSV file it may enclose a cell.

    Args:
      path: a file, perhaps compressed (.gz, .xz, .zst).
      bad: rows that cannot be used are refused or counted here.
      header: whether the first line of a CSV or TSV file names the columns; otherwise they are
        called '0', '1', ...
      separator: of cells, where a backslash and a t are a tab, too; None: as the ending says.
      known_gaps: rows with missing cells are known to be there: count them, refuse none.
      ending: to go by instead of the name's, where the name has none (standard input).

    Raises:
      errors.DataError: the file is missing, empty, not UTF-8 text, or of an unknown kind.
      errors.ConfigError: the separator cannot part the cells of a CSV file.
    """
    suffix = ending or kind_of(path)
    if suffix in JSON_LINES or suffix == '.json':
        return Rows(str(path), None, _json_rows(path, suffix, bad))
    separator = '\t' if separator == r'\t' else separator or SEPARATORS.get(suffix)
    if separator is None:
        raise errors.DataError(
            f'{path}: a table must end in {", ".join([*SEPARATORS, *JSON_LINES])} or .json '
            '(.gz, .xz or .zst may follow), or have its --config.task.separator'
        )
    if suffix == '.csv' and (len(separator) != 1 or separator in '"\r\n'):
        raise errors.ConfigError(
            f'config.task.separator is {separator!r}, and between the cells of {path} stands one '
            'character, no quotation mark and no line end; a table that ends in .tsv may have more'
        )
    split = _quoted_cells if suffix == '.csv' else _plain_cells
    cells = split(path, separator, bad)
    try:
        line, first = next(cells)
    except StopIteration as end:
        raise errors.DataError(f'{path}: no usable line in the file') from end
    names = tuple(first) if header else tuple(map(str, range(len(first))))
    if header:
        _check_header(path, names)
    else:
        cells = itertools.chain([(line, first)], cells)
    return Rows(str(path), names, _table_rows(path, names, cells, bad, known_gaps))


def first_cells(path: pathlib.Path, separator: str | None, ending: str) -> tuple[str, ...]:
    """The cells of a CSV or TSV file's first line; arguments as for `read`."""
    rows = read(path, BadRows(skip=True), False, separator, ending=ending)
    return tuple(next(rows.rows).values.values())


def kind_of(path: pathlib.Path) -> str:
    """The ending that says how to read a file: '.jsonl' of 'train.jsonl.gz'."""
    return path.with_suffix('').suffix if compressed.is_compressed(path) else path.suffix


def content(path: pathlib.Path, bad: BadRows) -> bytes:
    """The bytes of a file, unpacked, without a byte order mark.

    Raises:
      errors.DataError: it cannot be read, is empty, or is UTF-16.
    """
    try:
        data = b''.join(_chunks(path, bad))
    except OSError as error:
        raise errors.DataError(f'cannot read {path}: {error.strerror}') from error
    if not data.strip():
        raise errors.DataError(f'{path}: the file is empty')
    if data.startswith(_WIDE_MARKS):
        raise errors.DataError(
            f'{path}: the file is UTF-16, and UTF-8 is needed; type: '
            f'iconv -f UTF-16 -t UTF-8 {path} > NEW'
        )
    return data.removeprefix(_BYTE_ORDER_MARK)


def _chunks(path: pathlib.Path, bad: BadRows) -> Iterator[bytes]:
    if not compressed.is_compressed(path):
        yield path.read_bytes()
        return
    size = 0
    try:
        for chunk, _ in compressed.stream(path):
            size += len(chunk)
            if size > _MOST_UNPACKED:
                raise errors.DataError(
                    f'{path} unpacks to more than {_MOST_UNPACKED >> 30} GiB, and is held in '
                    'memory whole: unpack it yourself if it is what you think it is'
                )
            yield chunk
    except compressed.TornError as error:
        bad.refuse('torn_file', str(path), str(error))


def lines(path: pathlib.Path, bad: BadRows) -> Iterator[tuple[int, str]]:
    r"""Number, from 1, and text of each line; only \n and \r\n end one.

    Lines that are no text are refused or counted, and left out.
    """
    return ((number, text) for number, text in lines_and_gaps(path, bad) if text is not None)


def lines_and_gaps(path: pathlib.Path, bad: BadRows) -> Iterator[tuple[int, str | None]]:
    """As `lines`, with None in the place of each that is no text."""
    for number, raw in _raw_lines(path, bad):
        text = _text(raw)
        if text is None:
            bad.refuse('not_text', f'{path}:{number}', _byte_problem(raw, path))
        yield number, text


def _raw_lines(path: pathlib.Path, bad: BadRows) -> Iterator[tuple[int, bytes]]:
    data = content(path, bad)
    raw_lines = data.split(b'\n')
    if data.endswith(b'\n'):
        raw_lines.pop()
    for number, raw in enumerate(raw_lines, 1):
        yield number, raw.removesuffix(b'\r')


def _text(raw: bytes) -> str | None:
    if b'\0' in raw:
        return None
    try:
        return raw.decode()
    except UnicodeDecodeError:
        return None


def _byte_problem(raw: bytes, path: pathlib.Path) -> str:
    """Why a line is no text."""
    try:
        before = raw.decode().partition('\0')[0]
    except UnicodeDecodeError as error:
        shown = raw[max(error.start - 10, 0) : error.start + 10]
        return (
            f'byte {error.start} of the line is not UTF-8 (around it: {shown!r}); if the file is '
            f'Latin-1, type: iconv -f LATIN1 -t UTF-8 {path} > NEW'
        )
    return f'a NUL character after {before[-20:]!r}'


def text_problem(value: Any) -> str | None:
    """What keeps a value from being a text with something in it; None: nothing does."""
    if not isinstance(value, str):
        return f'{value!r:.60} ({type(value).__name__}) is not text'
    if not value.strip():
        return f'the text is empty ({value!r:.60})'
    if '\0' in value:
        return f'a NUL character in {value!r:.60}'
    return half_character(value)


def half_character(text: str) -> str | None:
    """Where a text holds half a character; None: nowhere.

    JSON can write one ("\\ud800"); UTF-8, and so the tokenizers and files of answers, cannot.
    """
    if text.isascii() or not _SURROGATES.search(text):
        return None
    return f'half a character in {text!r:.60}'


# ---------------------------------------------------------------------------------------------
# CSV and TSV


def _plain_cells(
    path: pathlib.Path, separator: str, bad: BadRows
) -> Iterator[tuple[int, list[str]]]:
    blank = None
    for number, line in lines(path, bad):
        if blank is not None:
            bad.count('blank_line', f'{path}:{blank}')
            blank = None
        if line.strip():
            yield number, line.split(separator)
        else:
            blank = number


def _quoted_cells(
    path: pathlib.Path, separator: str, bad: BadRows
) -> Iterator[tuple[int, list[str]]]:
    """As `_plain_cells`, with cells that may be quoted and then hold separators and line ends."""
    csv.field_size_limit(_LONGEST_CELL)
    taken: list[int] = []  # lines that the row in hand is made of
    not_text: list[bytes] = []  # those of them that are no text

    def fed() -> Iterator[str]:
        for number, raw in _raw_lines(path, bad):
            text = _text(raw)
            taken.append(number)
            # A line left out here could open or close quotes, and change what all others mean.
            not_text.extend([raw] if text is None else [])
            yield (raw.decode(errors='replace') if text is None else text) + '\n'

    reader = csv.reader(fed(), delimiter=separator, strict=True)
    while True:
        taken.clear()
        not_text.clear()
        try:
            cells = next(reader)
        except StopIteration:
            return
        except csv.Error as error:
            where = f'{path}:{taken[0]}' if taken else str(path)
            if 'unexpected end' in str(error):
                # All that follows is inside the quotes: leaving this row out would lose the rest.
                raise errors.DataError(
                    f'{where}: a quotation mark opens here and is never closed; close it, or '
                    'save the table as .tsv, where quotation marks mean nothing'
                ) from error
            bad.refuse('bad_width', where, f'the line cannot be cut into cells ({error})')
            continue
        if not_text:
            bad.refuse('not_text', f'{path}:{taken[0]}', _byte_problem(not_text[0], path))
        elif cells:
            yield taken[0], cells


def _check_header(path: pathlib.Path, names: tuple[str, ...]) -> None:
    double = sorted({name for name in names if names.count(name) > 1})
    if double:
        raise errors.DataError(
            f'{path}:1: the header names {double[0]!r} twice; if the file has no header, type '
            '--config.task.header=False and give the columns as numbers from 0'
        )


def _table_rows(
    path: pathlib.Path,
    names: tuple[str, ...],
    cells: Iterator[tuple[int, list[str]]],
    bad: BadRows,
    known_gaps: bool,
) -> Iterator[Row]:
    for number, (line, values) in enumerate(cells):
        where = f'{path}:{line}'
        if len(values) == len(names):
            yield Row(where, number, dict(zip(names, values, strict=True)))
        elif known_gaps and len(values) < len(names):
            bad.count('known_gap', where)
        else:
            shown = '|'.join(values)
            problem = f'{len(values)} cells where the first line has {len(names)}: {shown!r:.80}'
            bad.refuse('bad_width', where, problem)


# ---------------------------------------------------------------------------------------------
# JSON


def _json_rows(path: pathlib.Path, suffix: str, bad: BadRows) -> Iterator[Row]:
    if suffix == '.json' and is_json_list(path, bad):
        items = enumerate(whole_json(path, bad))
        places = ((f'{path}, item {number}', number, value) for number, value in items)
    else:
        places = _json_lines(path, bad)
    for where, number, value in places:
        if isinstance(value, dict):
            yield Row(where, number, value)
        else:
            bad.refuse(
                'bad_json', where, f'a JSON object is needed, found a {type(value).__name__}'
            )


def _json_lines(path: pathlib.Path, bad: BadRows) -> Iterator[tuple[str, int, Any]]:
    filled = ((line, text) for line, text in lines(path, bad) if text.strip())
    for number, (line, text) in enumerate(filled):
        where = f'{path}:{line}'
        try:
            yield where, number, json.loads(text)
        except (ValueError, RecursionError) as error:
            bad.refuse('bad_json', where, f'not JSON ({error}): {text!r:.80}')


def is_json_list(path: pathlib.Path, bad: BadRows) -> bool:
    """Whether a .json file is a list, and not an object, or one a line."""
    return content(path, bad).lstrip().startswith(b'[')


def whole_json(path: pathlib.Path, bad: BadRows) -> Any:
    """The value that a .json file holds.

    Raises:
      errors.DataError: it is no JSON; the message names the line.
    """
    data = content(path, bad)
    try:
        return json.loads(data.decode())
    except UnicodeDecodeError as error:
        line = data[: error.start].count(b'\n') + 1
        raise errors.DataError(
            f'{path}:{line}: byte {error.start} of the file is not UTF-8; if it is Latin-1, type: '
            f'iconv -f LATIN1 -t UTF-8 {path} > NEW'
        ) from error
    except json.JSONDecodeError as error:
        raise errors.DataError(
            f'{path}:{error.lineno}: not JSON ({error.msg} at character {error.colno} of the '
            'line); the file may be torn'
        ) from error
    except RecursionError as error:
        raise errors.DataError(f'{path}: the JSON is nested too deeply') from error
    except ValueError as error:  # a number of thousands of digits
        raise errors.DataError(f'{path}: not JSON that can be used ({error})') from error


# ---------------------------------------------------------------------------------------------
# Prepared TensorFlow datasets


def dataset_splits(name: str) -> tuple[str, ...]:
    """The splits that a dataset has; () where it is known and nothing of it is prepared.

    Raises:
      errors.DataError: it is not there.
    """
    with _dataset(name) as builder:
        return tuple(builder.info.splits)


def read_dataset(name: str, split: str) -> Rows:
    """Rows of a prepared dataset's split, read without TensorFlow.

    Bytes become text, classes their names (None for -1, which stands for "not given").

    Args:
      name: of the dataset with its config, such as 'glue/sst2', or the folder of one.
      split: such as 'train' or 'validation[:10%]'.

    Raises:
      errors.DataError: it is not there, or not prepared as ArrayRecord files.
    """
    with _dataset(name) as builder:
        source = builder.as_data_source(split=split)
    plain = {key: _plainer(feature) for key, feature in builder.info.features.items()}

    def rows() -> Iterator[Row]:
        for number in range(len(source)):
            where = f'{name}:{split}, row {number}'
            try:
                values = {key: plain[key](value) for key, value in source[number].items()}
            except Exception as error:  # from the library of each file format
                raise errors.DataError(
                    f'{where} cannot be read ({errors.first_line(error)}): the files of the '
                    'dataset are damaged; copy or prepare them again'
                ) from error
            yield Row(where, number, values)

    return Rows(f'{name}:{split}', tuple(builder.info.features), rows())


@contextlib.contextmanager
def _dataset(name: str) -> Iterator[Any]:
    """The dataset's builder; an error inside becomes one that says how to prepare the dataset."""
    try:
        # Here, because only this source needs it and it takes half a second.
        import tensorflow_datasets as tfds

        is_folder = pathlib.Path(name).is_dir()
        yield tfds.builder_from_directory(name) if is_folder else tfds.builder(name)
    # Whatever tensorflow_datasets raises here differs by dataset; the way out is the same.
    except Exception as error:
        raise errors.DataError(
            f'cannot read the dataset {name!r} ({type(error).__name__}: '
            f'{errors.first_line(error)}). '
            'It must be prepared as ArrayRecord files; on a machine with a network, type: '
            f'pip install tensorflow tensorflow-datasets && tfds build {name} '
            '--file_format=array_record --data_dir=FOLDER'
        ) from error


def _plainer(feature: Any) -> Callable[[Any], Any]:
    """What turns values of a dataset's feature into those that JSON would give."""
    inner = getattr(feature, 'feature', feature)  # of a sequence: what it is made of
    named = getattr(inner, 'int2str', None)
    if named is not None and getattr(inner, 'names', None):
        return lambda value: _named(value, named)
    return _plain


def _named(value: Any, named: Callable[[int], str]) -> Any:
    if getattr(value, 'ndim', 0) or isinstance(value, list):
        return [_named(item, named) for item in value]
    return None if int(value) < 0 else named(int(value))


def _plain(value: Any) -> Any:
    if isinstance(value, bytes):
        return value.decode(errors='replace')
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    if getattr(value, 'ndim', 0) or isinstance(value, list):
        return [_plain(item) for item in value]
    return value.item() if hasattr(value, 'item') else value
