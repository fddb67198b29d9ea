"""New text for a trained model: unlabelled examples of tables, CoNLL or SQuAD files, lines."""

import dataclasses
import itertools
import pathlib
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from electra_jax.core.complaints import Complaints
from electra_jax.core.errors import ConfigError, DataError, UserError, nearest
from electra_jax.finetune.examples import Example, count_double_ids
from electra_jax.finetune.files import lines, tables, tag_writings
from electra_jax.finetune.files.lines import UnusableError
from electra_jax.finetune.files.locate import Location
from electra_jax.finetune.files.source import Source
from electra_jax.finetune.files.tables import Columns, is_number, merged
from electra_jax.finetune.kinds.kind import Task
from electra_jax.finetune.kinds.table import KINDS

# How input may be written; 'lines': a text each, 'a<TAB>b' for a pair, 'question<TAB>text'.
FORMATS = ('lines', 'csv', 'tsv', 'jsonl', 'json', 'conll', 'conllu')
_TAGGED = ('.bio', '.iob', '.iob1', '.iob2', '.iobes', '.bioes', '.bilou', '.bmes')
_FORMAT_OF = {
    **{f'.{name}': name for name in FORMATS[1:]},
    '.ndjson': 'jsonl',
    **dict.fromkeys(_TAGGED, 'conll'),
}
_LOOKED_AT = 50  # lines
_ROWS = 'row'  # names rows that come from no file, before their number

_FIELDS = ('text_a', 'text_b', 'words', 'sentence', 'context', 'question', 'source', 'id')
_TYPED = (*_FIELDS, 'label')  # which --columns may name
_HEADER_LOOKS = 'the header of a table'
# Usual names of columns, by which the header of a table is noticed that is not expected.
_HEADER = {*_FIELDS[:-1], 'text', 'sentence1', 'tokens'}


def parse_columns(text: str | None) -> Columns:
    """The columns that ``'text_a=body,id=key'`` names.

    >>> parse_columns('text_a=body,id=key').text_a
    'body'
    """
    columns: dict[str, Any] = {}
    for part in text.split(',') if text else []:
        field, equals, column = part.partition('=')
        if field not in _TYPED or not equals or not column:
            raise ConfigError(
                f'--columns is {text!r}: in {part!r} one of {", ".join(_TYPED)} and a column are '
                f'expected, as in --columns=text_a=body{nearest(field, _TYPED)}'
            )
        columns[field] = column
    return Columns(**columns)


def check_columns(given: Columns, inputs: Sequence[str], what: str) -> None:
    """Refuses columns that `what`, which reads the fields `inputs`, would not look at."""
    for field in _TYPED:
        column = getattr(given, field)
        if column is not None and field not in inputs:
            raise ConfigError(
                f'--columns names {column!r} for {field}, which {what} does not read, allowed: '
                f'{", ".join(inputs)}; leave {field} out'
            )


def format_of(path: pathlib.Path) -> str:
    """The format of a file by the ending of its name; other files hold lines."""
    return _FORMAT_OF.get(lines.ending_of(path), 'lines')


def check_lines(task: Task, path: pathlib.Path, given: Columns) -> None:
    """Refuses input whose format nobody named where it does not look like lines of text.

    Raises:
        ConfigError: its first lines are those of JSON, of a table, or of a CoNLL file.
    """
    first = list(itertools.islice(lines.filled(path, Complaints('', 'skip')), _LOOKED_AT))
    if not first:
        return
    text, looks, form = first[0][1].strip(), '', ''
    if _is_json(text):
        looks, form = 'JSON', 'jsonl (an object a line) or --format=json (a SQuAD file)'
    elif _is_header(task, text, given):
        looks, form = _HEADER_LOOKS, 'tsv' if '\t' in text else 'csv'
    elif 'conll' in KINDS[task.kind].formats:
        looks, form = _conll_looks(task, [text for _, text in first]), 'conll'
    if looks:
        raise ConfigError(
            f'{path}:{first[0][0]}: this looks like {looks}, {text!r:.60}, and each line would be '
            f'read as a text: type --format={form}; or --format=lines if that is right'
        )


def _is_json(text: str) -> bool:
    """Whether a text is an object or a list of JSON, perhaps a damaged one, or its beginning."""
    return _is_object(text) or text in ('{', '[', '[{') or isinstance(lines.json_of(text), list)


def _is_object(text: str) -> bool:
    return text.startswith('{"') or isinstance(lines.json_of(text), dict)


def _is_header(task: Task, text: str, given: Columns) -> bool:
    """Whether a line has cells one of which names a column, or is the name of one alone."""
    own = set(_named(merged(task.usual_columns, given)).values())
    names = {*_HEADER, *own}
    several = any(len(cells := text.split(mark)) > 1 and names & set(cells) for mark in ',\t')
    return several or (text in own and not is_number(text))


def _conll_looks(task: Task, texts: list[str]) -> str:
    """What lines have in common with those of files with a word a line; '': nothing."""
    if any('\t' in text for text in texts):
        return 'a word and its tag with a tab between'
    if len(texts) < 2:
        return ''
    cells = [text.split() for text in texts if not text.startswith('#')]  # comments
    if cells and all(len(one) == 1 for one in cells):
        return 'a word a line'
    known = set(task.labels)
    last = {one[-1] if len(one) > 1 else '' for one in cells}
    as_read = {tag_writings.standard(tag, task.writing) if task.writing else tag for tag in last}
    return 'a word and its tag a line' if as_read <= known else ''


def read(
    task: Task,
    path: pathlib.Path,
    form: str,
    columns: Columns,
    complaints: Complaints,
    labelled: bool = False,
) -> list[Example]:
    """Examples of new text; tags and answers in it are not looked at, labels if it is `labelled`.

    `form` is one of FORMATS; `columns` are those that are not called as in training.
    """
    kind = KINDS[task.kind]
    if form.startswith('conll') and form not in kind.formats:
        raise ConfigError('the input is in CoNLL format, but the model was not trained to tag')
    of_lines = dataclasses.replace(task, columns=merged(task.columns, columns))
    examples: Iterable[Example] = _from_lines(of_lines, path, complaints)
    try:
        if form != 'lines':
            ending = f'.{form}'
            found = _columns(task, path, ending, columns)
            known = False if labelled else None
            split = (task.spec.files, Location(path), found, complaints, known, ending)
            examples, _ = kind.read(task, Source(*split))
        examples = list(examples)
        lines.forget()
    except DataError as error:
        raise DataError(in_words_of_predict(str(error))) from error
    if not examples:
        raise DataError(
            f'{path}: there are no usable rows as {form}; another format is named by --format, '
            'and columns by --columns'
        )
    count_double_ids(examples, complaints)
    return examples


Key = tuple[str, str]


def key_of(example: Example) -> Key:
    """What tells an example from all others of its input: a line of MRQA holds many questions."""
    return example.where, example.id


def labelled(task: Task, path: pathlib.Path, form: str, columns: Columns) -> dict[Key, Example]:
    """The examples that have what scoring needs, read as for evaluation.

    None where the input gives no labels of the task; that is for `read` to report, which comes
    later, because it forgets the input.
    """
    if form == 'lines':
        return {}
    kind, ending = KINDS[task.kind], f'.{form}'
    try:
        found = _columns(task, path, ending, columns)
        quiet = Complaints('data.on_bad_row', 'skip')
        split = (task.spec.files, Location(path), found, quiet, False, ending)
        examples, _ = kind.read(task, Source(*split))
    except UserError:
        return {}
    return {key_of(example): example for example in examples if kind.has_label(example)}


def check_labels(path: pathlib.Path, columns: Columns, are_there: bool) -> None:
    """Refuses a column of labels that a user named, and in which no row has one."""
    if columns.label is not None and not are_there:
        raise DataError(
            f'{path}: no row has a label in the column {columns.label!r}, which --columns names'
        )


@dataclasses.dataclass(frozen=True)
class _Rows(Source):
    """Rows that a program hands over."""

    given: Sequence[tables.Row] = ()

    def rows(self) -> tables.Rows:
        """The rows as those of a file of JSON lines."""
        first = tuple(self.given[0].values)
        return tables.Rows(self.where, None, iter(self.given), self.columns, first=first)


def from_rows(task: Task, rows: Sequence[Any], complaints: Complaints) -> list[Example]:
    """Examples of rows that a program hands over; labels, tags and answers are not looked at.

    A row is a mapping, as a line of a JSON lines file would be; or what a line of text would be: a
    text, or the two texts of a line with a tab as a tuple or a list.

    Raises:
        DataError: a row cannot be used.
    """
    try:
        if any(isinstance(row, Mapping) for row in rows):
            return _from_mappings(task, rows, complaints)
        examples: list[Example] = []
        for number, row in enumerate(rows):
            where = f'{_ROWS} {number}'
            with lines.Refusing(complaints, where):
                parts = (row,) if isinstance(row, str) else row
                if not isinstance(parts, tuple | list):
                    problem = f'{row!r:.60} ({type(row).__name__}) is no text, pair or dictionary'
                    raise UnusableError('not_text', problem)
                # A tab separates texts in a line, and is a space inside a text.
                line = '\t'.join(
                    lines.usable_text(part, 'the text').replace('\t', ' ') for part in parts
                )
                examples.append(KINDS[task.kind].from_line(task, str(number), line, where))
    except DataError as error:
        raise DataError(in_words_of_predict(str(error))) from error
    return examples


def _from_mappings(task: Task, rows: Sequence[Any], complaints: Complaints) -> list[Example]:
    other = next((number for number, row in enumerate(rows) if not isinstance(row, Mapping)), None)
    if other is not None:
        raise DataError(
            f'{_ROWS} {other} is a {type(rows[other]).__name__}, and others are dictionaries: all '
            'must be of one kind'
        )
    given = [tables.Row(f'{_ROWS} {number}', number, dict(row)) for number, row in enumerate(rows)]
    return _of_rows(task, pathlib.Path(_ROWS), given, Columns(), complaints)


def _of_rows(
    task: Task,
    path: pathlib.Path,
    rows: Sequence[tables.Row],
    given: Columns,
    complaints: Complaints,
) -> list[Example]:
    columns = _columns(task, path, '.jsonl', given, tuple(rows[0].values))
    split = (task.spec.files, Location(path), columns, complaints, None, '.jsonl')
    examples, _ = KINDS[task.kind].read(task, _Rows(*split, given=rows))
    return list(examples)


class Line(NamedTuple):
    """A line of new text that came alone."""

    where: str  # for messages
    number: int  # among the rows, from 0: the id of a row that has none
    text: str


def from_line(
    task: Task, line: Line, form: str, columns: Columns, complaints: Complaints
) -> Example:
    """The example that a line is, as `read` would read it in a file; labels are not looked at.

    `form` is 'jsonl', 'lines', or 'auto': lines, where those that look like another format are
    refused; `columns` are those that are not called as in training.

    Raises:
        DataError, UnusableError: the line cannot be used.
    """
    if form == 'auto':
        _check_line(task, line, columns)
    if form != 'jsonl':
        named = dataclasses.replace(task, columns=merged(task.columns, columns))
        return KINDS[task.kind].from_line(named, str(line.number), line.text, line.where)
    value = tables.checked_object(tables.parsed(line.text))
    row = tables.Row(line.where, line.number, value)
    (example,) = _of_rows(task, lines.STANDARD_INPUT, [row], columns, complaints)
    return example


def _check_line(task: Task, line: Line, given: Columns) -> None:
    """Refuses a line whose format nobody named where it does not look like a text."""
    text, looks, form = line.text.strip(), '', ''
    if _is_object(text):
        looks, form = 'JSON', 'jsonl'
    elif line.number == 0 and _is_header(task, text, given):
        looks = _HEADER_LOOKS
        form = ('tsv' if '\t' in text else 'csv') + ' without --listen'
    if looks:
        raise UnusableError(
            'wrong_form',
            f'this looks like {looks}, and would be read as a text: type --format={form}; or '
            '--format=lines if that is right',
        )


def id_of(task: Task, line: Line, form: str, columns: Columns) -> str:
    """The id of a line that cannot be used: its own where it can be read, or else its number."""
    if form == 'jsonl':
        try:
            value = tables.checked_object(tables.parsed(line.text))
            found = _columns(task, lines.STANDARD_INPUT, '.jsonl', columns, tuple(value))
            return tables.Row(line.where, line.number, value).id(found.id)
        except (DataError, UnusableError):
            pass
    return str(line.number)


def in_words_of_predict(problem: str) -> str:
    """A message for `predict`, which has --columns to name columns with, and no config."""
    text = re.sub(
        r'if (\S+) separates the cells, type --config\.task\.separator=\S+',
        r'if \1 separates the cells, save it with what separated those of the training file',
        problem,
    )
    text = text.replace('=NAME --config.task.columns.', '=NAME,')  # one flag names them all
    text = text.replace('--config.task.columns.', '--columns=')
    return re.sub(r' \(if [^()]*--config\.[^()]*\)', '', text)


def _from_lines(task: Task, path: pathlib.Path, complaints: Complaints) -> Iterator[Example]:
    for number, (line, text) in enumerate(lines.rows(path, complaints)):
        if text is None:
            continue  # it was refused, and counts as a row
        where = f'{path}:{line}'
        with lines.Refusing(complaints, where):
            yield KINDS[task.kind].from_line(task, str(number), text, where)


def _columns(
    task: Task,
    path: pathlib.Path,
    ending: str,
    given: Columns,
    first: tuple[str, ...] | None = None,
) -> Columns:
    """Which columns hold what: those that are given, and otherwise those of training.

    A table has a header as in training, or if a column is given by its name. Where columns have
    names and had numbers in training, they are called as the fields of `Columns`. `first` are the
    names in the first row; None: the file has them.
    """
    trained = task.usual_columns
    fields = _named(trained)
    if ending not in tables.TABLES:
        # Columns of CoNLL files have numbers.
        names = {field: name if is_number(name) else None for field, name in fields.items()}
        return merged(dataclasses.replace(trained, **names), given)
    if first is None:
        first = tables.first_names(path, trained.separator, ending)
    is_json = ending in tables.JSON_LINES
    has_header = is_json or any(not is_number(name) for name in _named(given).values())
    if is_json or (has_header and trained.header is False):
        names = {field: field if is_number(name) else name for field, name in fields.items()}
        trained = dataclasses.replace(trained, header=True, **names)
    elif trained.header is False:
        header = next((cell for cell in first if cell in _HEADER), None)
        if header is not None:
            raise DataError(
                f'{path}:1: {header!r} looks like the name of a column, and the table that the '
                f'model was trained on had no header; name a column, as in '
                f'--columns={next(iter(fields))}={header}, or delete the line'
            )
        first = tuple(map(str, range(len(first))))
    if task.any_pairs and tables.key_of(first, 'text_b'):
        trained = dataclasses.replace(trained, text_b='text_b')
    ids = (name for name in (trained.id, 'id') if name and tables.key_of(first, name))
    return merged(dataclasses.replace(trained, id=next(ids, None)), given)


def _named(columns: Columns) -> dict[str, Any]:
    """Field -> name or number, of the columns that have one."""
    fields = {field: getattr(columns, field) for field in _FIELDS}
    return {field: name for field, name in fields.items() if name is not None}
