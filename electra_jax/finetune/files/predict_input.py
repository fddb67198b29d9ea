"""New text for a trained model: examples without labels, from tables, JSON lines or plain lines."""

import codecs
import dataclasses
import itertools
import pathlib
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import NamedTuple

from electra_jax.core import compressed
from electra_jax.core.errors import ConfigError, DataError, nearest
from electra_jax.finetune.bad_rows import BadRows
from electra_jax.finetune.examples import Example, SpanExample, TaggedExample, TextExample
from electra_jax.finetune.files import conll, squad, texts
from electra_jax.finetune.files import tables as rows_of
from electra_jax.finetune.files.columns import Columns, is_number, merged, resolve
from electra_jax.finetune.files.tables import Rows
from electra_jax.finetune.task import TrainedTask

# How input may be written; 'lines': a text each, 'a<TAB>b' for a pair, 'question<TAB>text'.
FORMATS = ('lines', 'csv', 'tsv', 'jsonl', 'json', 'conll', 'conllu')
_SUFFIXES = {f'.{name}': name for name in FORMATS[1:]} | {'.ndjson': 'jsonl'}


_BEGINNING = 4096  # bytes that tell how a file is written


class Asked(NamedTuple):
    """What to read."""

    path: pathlib.Path
    format: str  # of FORMATS
    columns: Mapping[str, str]  # field of `Columns` -> name


def parse_columns(text: str | None) -> dict[str, str]:
    """``'text_a=body,id=key'`` as a mapping.

    Raises:
        ConfigError: a part is not of this form, or names no field.

    >>> parse_columns('text_a=body,id=key')
    {'text_a': 'body', 'id': 'key'}
    """
    known = ('text_a', 'text_b', 'words', 'context', 'question', 'id')
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


def format_of(path: pathlib.Path, task: TrainedTask | None) -> str:
    """By the name's ending; failing that, by how the file begins.

    JSON lines begin with a brace, a list of objects with a bracket before one; for a tagger, lines
    of as many cells each, two or more, with a blank line somewhere, are CoNLL's, which training
    reads from .txt files, too.
    """
    suffix = rows_of.kind_of(path)
    if suffix in _SUFFIXES:
        return _SUFFIXES[suffix]
    if compressed.is_compressed(path):
        return 'lines'
    with path.open('rb') as file:
        start = file.read(_BEGINNING)
    start = start.removeprefix(codecs.BOM_UTF8)
    if json_begins := re.match(rb'\s*(\[\s*)?\{', start):
        return 'json' if json_begins[1] else 'jsonl'
    whole = start.splitlines()[: -1 if len(start) == _BEGINNING else None]
    widths = {len(line.split()) for line in whole}
    is_conll = 0 in widths and len(widths) == 2 and max(widths) > 1
    return 'conll' if task is not None and task.kind == 'tagging' and is_conll else 'lines'


def read(task: TrainedTask | None, asked: Asked, bad: BadRows) -> list[Example]:
    """Examples of new text; `task` None: texts alone, for a model that is not fine-tuned.

    Raises:
        DataError: the file cannot be used, or holds no usable row.
        ConfigError: it is of a format that the model cannot take.
    """
    kind = 'classification' if task is None else task.kind
    if asked.format.startswith('conll') and kind != 'tagging':
        raise ConfigError('the input is in CoNLL format, but the model was not trained to tag')
    if asked.format == 'lines':
        found = [
            example
            for number, line in rows_of.lines(asked.path, bad)
            if line.strip() and (example := _from_line(task, line, number, asked.path, bad))
        ]
    else:
        try:
            found = list(READERS[kind](task, asked, bad))
        except DataError as error:
            raise DataError(_for_predict(str(error))) from error
    if not found:
        raise DataError(f'{asked.path}: no usable rows')
    return found


def _for_predict(text: str) -> str:
    """Advice for a door that has columns to name, and no config."""
    text = text.replace('--config.task.columns.', '--columns=')
    return re.sub(r' \(if [^()]*--config\.[^()]*\)', '', text)


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
    return _known_columns(task).text_b is not None


def _known_columns(task: TrainedTask | None) -> Columns:
    """Those of training."""
    if task is None:
        return Columns(text_a='text')
    return merged(task.spec.layout.columns, task.columns)


# ---------------------------------------------------------------------------------------------
# Rows of tables, objects, CoNLL files. Labels, tags and answers beside the text are not looked at.


def _texts(task: TrainedTask | None, asked: Asked, bad: BadRows) -> Iterator[Example]:
    usual = _usual_texts(task)
    known = usual[0]
    header = _has_header(asked, known, usual[1:])
    if known.header is False:
        usual = usual[1:] if header else usual[:1]
    rows = rows_of.read(asked.path, bad, header, known.separator, ending=f'.{asked.format}')
    begun = list(itertools.islice(rows.rows, 1))  # its first row names the columns
    first = rows._replace(names=tuple(begun[0].values) if begun else ())
    columns = merged(_text_columns(usual, first), Columns(**asked.columns))
    rows = rows._replace(rows=itertools.chain(begun, rows.rows))
    return texts.classified(rows, columns, bad, labels=None, labelled=False)


def _sentences(task: TrainedTask, asked: Asked, bad: BadRows) -> Iterator[Example]:
    known, given, ending = _known_columns(task), Columns(**asked.columns), f'.{asked.format}'
    word_a_line = conll.has_word_a_line(asked.path, merged(known, given), None, ending)
    header = not word_a_line and _has_header(asked, known, [Columns(words='words')])
    columns = Columns(header=header, separator=known.separator)
    # Without a header columns have numbers, elsewhere names.
    if known.words is not None and is_number(known.words) != header:
        columns = dataclasses.replace(columns, words=known.words)
    return conll.read(asked.path, merged(columns, given), bad, None, ending)


def _has_header(asked: Asked, known: Columns, usual: Iterable[Columns]) -> bool:
    """Whether columns have names, as in JSON and in tables that begin with them.

    Where tables had no header in training, this one has one if its first line holds the names of
    the columns asked for, or usual ones.
    """
    ending = f'.{asked.format}'
    if known.header is not False or ending not in rows_of.SEPARATORS:
        return True
    first = set(rows_of.first_cells(asked.path, known.separator, ending))
    named = {name for name in asked.columns.values() if not is_number(name)}
    return any(names and names <= first for names in (named, *map(_names, usual)))


def _names(columns: Columns) -> set[str]:
    """Of the columns that a file must have."""
    parts = ('text_a', 'text_b', 'words', 'context', 'question')
    return {name for part in parts if (name := getattr(columns, part)) is not None}


def _questions(task: TrainedTask, asked: Asked, bad: BadRows) -> Iterator[Example]:
    known = dataclasses.replace(_known_columns(task), id=None)
    usual = Columns(context='context', question='question')
    header = _has_header(asked, known, [usual])
    if header and known.header is False:
        known = merged(usual, Columns(separator=known.separator))
    columns = merged(dataclasses.replace(known, header=header), Columns(**asked.columns))
    ending = f'.{asked.format}'
    return squad.read(asked.path, columns, bad, task.unanswerable, None, ending)


# Kind of task -> its reader; a pre-trained model takes texts.
READERS: dict[str, Callable[..., Iterator[Example]]] = {
    'classification': _texts,
    'regression': _texts,
    'tagging': _sentences,
    'spans': _questions,
}

# Where a file has neither the columns of training nor those of the task's test files.
_PLAIN = (
    Columns(text_a='text_a', text_b='text_b'),
    Columns(text_a='text'),
    Columns(text_a='sentence'),
    Columns(text_a='sentence1', text_b='sentence2'),
)


def _usual_texts(task: TrainedTask | None) -> list[Columns]:
    """What the texts' columns may be called: first as in training."""
    known = _known_columns(task)
    others = task.spec.layout.split_columns.values() if task else ()
    return [one for one in (known, *others, *_PLAIN) if bool(one.text_b) == bool(known.text_b)]


def _text_columns(usual: Sequence[Columns], rows: Rows) -> Columns:
    """The first of the usual ones that a file has, and its ids' if it has any."""
    one = next((one for one in usual if _names(one) <= set(rows.names)), usual[0])
    ids = [name for name in (one.id, 'id') if name and resolve(rows, name, 'id', needed=False)]
    return Columns(text_a=one.text_a, text_b=one.text_b, id=next(iter(ids), None))
