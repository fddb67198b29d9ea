"""New text for a trained model: examples without labels, from tables, JSON lines or plain lines."""

import dataclasses
import pathlib
from collections.abc import Mapping
from typing import NamedTuple

from electra_jax.core.errors import ConfigError, DataError, nearest
from electra_jax.data import compressed
from electra_jax.tasks import readers
from electra_jax.tasks import rows as rows_of
from electra_jax.tasks.bad_rows import BadRows
from electra_jax.tasks.columns import Columns, merged
from electra_jax.tasks.examples import Example, SpanExample, TaggedExample, TextExample
from electra_jax.tasks.layouts import Place
from electra_jax.tasks.readers import Options
from electra_jax.tasks.trained import TrainedTask

# How input may be written; 'lines': a text each, 'a<TAB>b' for a pair, 'question<TAB>text'.
FORMATS = ('lines', 'csv', 'tsv', 'jsonl', 'json', 'conll')
_SUFFIXES = {f'.{name}': name for name in FORMATS[1:]} | {'.ndjson': 'jsonl', '.conllu': 'conll'}


class Asked(NamedTuple):
    """What to read."""

    path: pathlib.Path
    format: str  # of FORMATS, or 'auto'
    columns: Mapping[str, str]  # field of `Columns` -> name


def parse_columns(text: str | None) -> dict[str, str]:
    """``'text_a=body,id=key'`` as a mapping.

    Raises:
        ConfigError: a part is not of this form, or names no field.

    >>> parse_columns('text_a=body,id=key')
    {'text_a': 'body', 'id': 'key'}
    """
    fields = [field.name for field in dataclasses.fields(Columns)]
    known = [name for name in fields if name not in ('header', 'separator')]
    found = {}
    for part in text.split(',') if text else []:
        name, equals, value = part.partition('=')
        if name not in known or not equals or not value:
            raise ConfigError(
                f'--columns is {text!r}: in {part!r} one of {", ".join(known)} and a column are '
                f'expected, as in --columns=text_a=body{nearest(name, known)}'
            )
        found[name] = value
    return found


def format_of(path: pathlib.Path) -> str:
    """By the name's ending; failing that, JSON lines where the first character is a brace."""
    suffix = rows_of.kind_of(path)
    if suffix in _SUFFIXES:
        return _SUFFIXES[suffix]
    if compressed.is_compressed(path):
        return 'lines'
    with path.open('rb') as file:
        return 'jsonl' if file.read(1024).lstrip().startswith(b'{') else 'lines'


def read(task: TrainedTask | None, asked: Asked, bad: BadRows) -> list[Example]:
    """Examples of new text; `task` None: texts alone, for a model that is not fine-tuned.

    Raises:
        DataError: the file cannot be used, or holds no usable row.
    """
    form = format_of(asked.path) if asked.format == 'auto' else asked.format
    if form == 'lines':
        found = [
            example
            for number, line in rows_of.lines(asked.path, bad)
            if line.strip() and (example := _from_line(task, line, number, asked.path, bad))
        ]
    else:
        found = _from_table(task, asked, form, bad)
    if not found:
        raise DataError(f'{asked.path}: no usable rows')
    return found


def _from_line(
    task: TrainedTask | None, line: str, number: int, path: pathlib.Path, bad: BadRows
) -> Example | None:
    where, name = f'{path}:{number}', str(number)
    kind = 'classification' if task is None else task.kind
    if kind == 'tagging':
        return TaggedExample(name, tuple(line.split()), None, where)
    first, tab, second = line.partition('\t')
    if kind == 'spans':
        if not first.strip() or not second.strip():
            bad.refuse('bad_width', where, 'a question, a tab and a text are expected on a line')
            return None
        return SpanExample(name, '', second, first.strip(), (), False, where)
    wants_pair = task is not None and takes_pairs(task)
    if wants_pair != bool(tab) or not first.strip() or (wants_pair and not second.strip()):
        wanted = 'two texts with a tab between' if wants_pair else 'one text without a tab'
        bad.refuse('bad_width', where, f'{wanted} expected on a line, found {line!r:.60}')
        return None
    return TextExample(name, first.strip(), second.strip() if tab else None, None, where)


def takes_pairs(task: TrainedTask) -> bool:
    """Whether a task is about two texts."""
    return merged(task.spec.layout.columns, task.columns).text_b is not None


def _from_table(task: TrainedTask | None, asked: Asked, form: str, bad: BadRows) -> list[Example]:
    named = Columns(**asked.columns)
    ending = f'.{form}'
    if task is None:
        rows = rows_of.read(asked.path, bad, ending=ending)
        key = named.text_a or 'text'
        return list(readers.texts.classified(rows, Columns(text_a=key), bad, None, False))
    # Whatever the split is called, it has no labels; what the user names goes before the usual.
    columns = merged(_usual(task, asked, ending), named)
    layout = dataclasses.replace(task.spec.layout, columns=columns, split_columns={})
    spec = dataclasses.replace(task.spec, layout=layout, test_splits=('test',), eval_splits=())
    options = Options(unanswerable=task.unanswerable)
    place = Place(asked.path)
    try:
        return readers.read(spec, place, 'test', options, task.known, ending, bad).examples
    except DataError as error:
        # The door has no config.
        raise DataError(str(error).replace('--config.task.columns.', '--columns=')) from error


# Where a file has neither the columns of training nor those of the task's test files.
_PLAIN = (
    Columns(text_a='text_a', text_b='text_b'),
    Columns(text_a='text'),
    Columns(text_a='sentence'),
    Columns(text_a='sentence1', text_b='sentence2'),
)


def _usual(task: TrainedTask, asked: Asked, ending: str) -> Columns:
    """The columns of the task that the file has, without labels, and its ids only if it has any."""
    layout = task.spec.layout
    known = merged(layout.columns, task.columns)
    if task.kind not in ('classification', 'regression') or ending == '.conll':
        return dataclasses.replace(known, id=None, label=None)
    names = _names(asked, known, ending)
    pair = takes_pairs(task)
    candidates = [known, *layout.split_columns.values(), *_PLAIN]
    for one in candidates:
        wanted = [name for name in (one.text_a, one.text_b) if name is not None]
        if bool(one.text_b) == pair and all(name in names for name in wanted):
            break
    else:
        one = known if known.header is not False else Columns(text_a='text')
    has_id = one.id if one.id in names else 'id' if 'id' in names else None
    return dataclasses.replace(one, id=has_id, label=None, header=None)


def _names(asked: Asked, known: Columns, ending: str) -> list[str]:
    """Of the file's columns, or of its first object's fields."""
    rows = rows_of.read(asked.path, BadRows(skip=True), True, known.separator, ending=ending)
    first = next(rows.rows, None)
    return list(first.values) if first else []
