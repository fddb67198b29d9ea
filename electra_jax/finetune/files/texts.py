"""Rows with a text or a pair of texts and a label: their examples, and the classes of a task."""

import collections
import dataclasses
import math
import re
import shlex
import unicodedata
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

from electra_jax.core import formats
from electra_jax.core.complaints import Complaints, counted
from electra_jax.core.errors import DataError, nearest
from electra_jax.finetune.examples import Names, TextExample
from electra_jax.finetune.files import lines, unread
from electra_jax.finetune.files.lines import Refusing, UnusableError
from electra_jax.finetune.files.source import Source
from electra_jax.finetune.files.tables import Row, is_number

_SHOWN = 20  # classes that a message lists
# Usual names of the second text of a pair.
_SECONDS = ('text_b', 'text2', 'text_pair', 'sentence2', 'sentence_b', 'hypothesis')
# What programs write for a missing value, in any letter case; 'none' is a word, 'None' is Python's.
_NO_LABEL = ('nan', 'na', 'n/a', '#n/a', '<na>', 'null', '-', '--', '?')
_PYTHONS_NONE = 'None'
_TRUTH = {'true': '1', 'false': '0'}
# Joiners, marks of direction, variation selectors: seen by programs alone.
_UNSEEN = re.compile('[\u00ad\u200b-\u200f\u2060-\u2064\ufe00-\ufe0f\ufeff]')
_DECIMAL_COMMA = re.compile(r'[+-]?[0-9.\s]*,[0-9]+(\.[0-9]+)?')

# The label of a value of a row. Raises UnusableError for one that cannot be a label.
Label = str | float | tuple[str, ...]
Reader = Callable[[Any], Label | None]


def read(source: Source, label: Reader) -> Iterator[TextExample]:
    """Texts with a label each: one example for each usable row, with its texts stripped."""
    rows, columns, labelled = source.rows(), source.columns, source.labelled
    fields = ('text_a', 'text_b') if columns.text_b is not None else ('text_a',)
    others = [*(['label'] if labelled else []), *(['id'] if columns.id else [])]
    needed = rows.need_all([*fields, *others])
    keys = {field: needed[field] for field in fields}
    label_key, id_key = needed.get('label'), needed.get('id')
    if labelled is False and columns.label:
        label_key = rows.find('label')
    seconds = set() if columns.text_b else {*_SECONDS} - {*keys.values(), label_key, id_key}
    seconds &= seconds if rows.names is None else {*rows.names}
    used = {*keys.values(), label_key, id_key} - {None}
    names = named(keys.get('text_a'), keys.get('text_b'), label_key)
    for row in unread.noted(source, rows, used, seconds):
        more = next((name for name in seconds if row.values.get(name)), None)
        if more:
            problem = f'{row.where}: the row has a {more!r}, and one text alone'
            pairs = f'for pairs of texts type --config.task.columns.text_b={more}'
            if labelled is None or more == 'text_b':
                raise DataError(
                    f'{problem} would be read; {pairs}, or give that column another name'
                )
            # A model of one of the texts is a usual baseline.
            source.complaints.note(f'{problem} is read; {pairs}')
            seconds = set()
        with Refusing(source.complaints, row.where):
            row.check({**keys, 'label': label_key} if labelled and label_key else keys)
            first, *second = [
                lines.usable_text(row.values[key], f'column {key!r}').strip()
                for key in keys.values()
            ]
            if any(map(formats.ENTITY.search, (first, *second))):
                source.complaints.count('entities', row.where)
            name = row.id(id_key)
            found = _label(row, label_key, label, bool(labelled)) if label_key else None
            text_b = second[0] if second else None
            yield TextExample(name, first, text_b, found, row.where, names)


def named(*columns: str | None) -> Names:
    """The names of the columns of text_a, text_b and label; a column that has a number has none."""
    return Names(*(None if one is None or is_number(one) else one for one in columns))


def _label(row: Row, key: str, label: Reader, needed: bool) -> Label | None:
    if not needed and key not in row.values:
        return None
    value = row.value(key, 'label')
    try:
        return label(value)
    except UnusableError as error:
        # What stands for a label in files without labels, where it is no label of the task.
        if not needed and plain_label(value) in (None, '-1', '-1.0'):
            return None
        raise UnusableError(error.kind, f'{error.problem} (column {key!r})') from error


# ---------------------------------------------------------------------------------------------
# Classes and scores


def written_labels(source: Source, labels: Sequence[str]) -> tuple[str, ...]:
    """The numbers that a training file has for labels that are names; (): it has the names.

    Raises:
        DataError: the file has more numbers than there are names, or fewer.
    """
    if any(_number(label) is not None for label in labels):
        return ()
    values = _values_of_labels(source)
    numbers = {_number(value): value for value in values}
    if not values or None in numbers:
        return ()
    written = tuple(numbers[number] for number in sorted(numbers, key=lambda x: x or 0.0))
    if len(written) != len(labels):
        raise DataError(
            f'{source.where}: config.task.labels names {len(labels)} classes, but the file has '
            f'the numbers {", ".join(written[:_SHOWN])}: give each of these {len(written)} a name, '
            'in their order'
        )
    pairs = zip(written[:_SHOWN], labels, strict=False)
    read_as = ', '.join(f'{number} as {name!r}' for number, name in pairs)
    source.complaints.note(f'{source.where}: labels that are numbers are read as names: {read_as}')
    return written


def _values_of_labels(source: Source) -> set[str]:
    """What the file has for labels; rows that cannot be used are left to its next reading."""
    quiet = dataclasses.replace(source, complaints=Complaints('data.on_bad_row', 'skip'))
    rows = quiet.rows()
    key = rows.find('label')
    if key is None:  # its next reading names all columns that are missing
        return set()
    found: set[str | None] = set()
    for row in rows.rows:
        value = row.values.get(key)
        values = value.split('|') if isinstance(value, str) else value
        values = values if isinstance(values, list | tuple) else [values]
        found |= {plain_label(one) for one in values if not isinstance(one, dict | list)}
    return {label for label in found if label is not None}


def class_reader(labels: Sequence[str], written: Sequence[str] = ()) -> Reader:
    """Reads classes, which are among `labels`; (): those of the file, which are not known yet.

    `written`: the number that the file has for each label; (): it has the labels.
    """
    by_number = {_number(one): name for one, name in zip(written or labels, labels, strict=True)}
    by_name = {plain_label(label): label for label in labels}

    def read(value: Any) -> str:
        if isinstance(value, list | dict):
            listed = f'the label {value!r:.60} is not one class: a text has one'
            raise UnusableError('unknown_label', listed)
        label = plain_label(value)
        if label is None:
            raise UnusableError('unknown_label', 'the row has no label')
        problem = lines.text_problem(label)
        # Other programs write 1 as 1.0 where a column has gaps.
        number = _number(label)
        if label in by_name:
            label = by_name[label]
        elif number in by_number and number is not None:
            label = by_number[number]
        if labels and label not in labels:
            more = ', ...' if len(labels) > _SHOWN else ''
            listed = ', '.join(map(repr, labels[:_SHOWN]))
            problem = (
                f'the label {label!r:.60} is not one of the task: {listed}{more}'
                f'{nearest(label, labels)}'
            )
        if problem:
            raise UnusableError('unknown_label', problem)
        return label

    return read


def classes_reader(labels: Sequence[str], written: Sequence[str] = ()) -> Reader:
    """Reads any number of classes: a list, or names with '|' between; empty: the text has none."""
    one = class_reader(labels, written)

    def read(value: Any) -> tuple[str, ...]:
        if value is None:
            raise UnusableError('unknown_label', 'the row has no label; no class is written []')
        if isinstance(value, str):
            listed = lines.written_list(value, 'unknown_label')
            value = [x for x in value.split('|') if x.strip()] if listed is None else listed
        names = [str(one(x)) for x in (value if isinstance(value, list | tuple) else [value])]
        if len(set(names)) < len(names) and all(_number(name) is not None for name in names):
            problem = f'the label {value!r:.60} repeats numbers: name the classes that a text has, '
            raise UnusableError('unknown_label', f'{problem}in place of 0 or 1 for every class')
        return tuple(dict.fromkeys(names))

    return read


def score_reader(bounds: tuple[float, float] | None) -> Reader:
    """Reads finite scores, within `bounds` (lowest, highest) if there are any."""

    def read(value: Any) -> float:
        score = None if isinstance(value, bool) else _number(value)
        if score is None:
            problem = f'the score {value!r:.60} is not a finite number'
            if isinstance(value, str) and _DECIMAL_COMMA.fullmatch(value.strip()):
                problem += '; decimals follow a point, and nothing stands between thousands'
            raise UnusableError('bad_score', problem)
        if bounds is not None and not bounds[0] <= score <= bounds[1]:
            problem = f'the score {score} is not within {bounds[0]} to {bounds[1]}'
            raise UnusableError('bad_score', problem)
        return score

    return read


def find_labels(labels: Iterable[str | float | None], where: str) -> tuple[str, ...]:
    """The classes among training labels, sorted as numbers if all of them are numbers.

    >>> find_labels(['10', '9', '10'], 'train.csv')
    ('9', '10')
    """
    counts = collections.Counter(str(label) for label in labels if label is not None)
    classes = sorted(counts)
    check_alike(counts, where)
    if len(classes) == counts.total() > _SHOWN:
        raise DataError(
            f'{where}: each of {len(classes)} rows has a label of its own, such as {classes[0]!r}; '
            'is --config.task.columns.label the right column? (Numbers that are no classes: '
            '--config.task.name=text_regression)'
        )
    if len(classes) < 2:
        raise DataError(
            f'{where}: a classifier needs two classes or more, and its labels are '
            f'{", ".join(map(repr, classes)) or "all missing"}; is --config.task.columns.label '
            'the right column?'
        )
    numbers = {label: _number(label) for label in classes}
    if None not in numbers.values():
        classes.sort(key=lambda label: (numbers[label], label))
    return tuple(classes)


def check_alike(counts: Mapping[str, int], where: str) -> None:
    """Refuses classes, each with its count, that differ as typing mistakes do."""
    problem = alike(counts)
    if problem:
        raise DataError(f'{where}: {problem}: write one of them everywhere{_if_meant(counts)}')


def alike(counts: Mapping[str, int]) -> str | None:
    """Which classes differ as typing mistakes do; None: none do."""
    known: dict[Any, str] = {}
    for label in counts:
        other = known.setdefault(_plain(label), label)
        if other != label:
            both = ' and '.join(
                f'{one!a} ({counted(counts[one], "times")})' for one in (other, label)
            )
            differ = 'differ in letter case, spaces, zeros or invisible characters alone'
            truth = any(one.casefold() in _TRUTH for one in (other, label))
            return f'the classes {both} {"mean the same" if truth else differ}'
    return None


def _plain(label: str) -> Any:
    """What classes have in common that look like one."""
    text = unicodedata.normalize('NFKC', label).casefold()
    text = ' '.join(_UNSEEN.sub('', text).split())
    number = _number(_TRUTH.get(text, text))
    return text if number is None else number


def _if_meant(classes: Iterable[str]) -> str:
    """How to name classes that look like a mistake and are none."""
    if any(',' in label for label in classes):
        return ''  # which separates labels
    labels = shlex.quote(','.join(sorted(classes)))
    return f'; if all are meant, type --config.task.labels={labels}'


def joined(counts: Mapping[str, int]) -> str | None:
    """A class that seems to be several with a sign between; None: there is none."""
    for label in counts:
        for sign in ',;/':
            parts = [part.strip() for part in label.split(sign)]
            if len(parts) > 1 and all(part in counts for part in parts):
                return (
                    f'{label!r} is read as one class, next to {parts[0]!r} and {parts[1]!r}: if it '
                    f'is several, write {"|".join(parts)}'
                )
    return None


def without_stand_ins(examples: Sequence[TextExample], complaints: Complaints) -> list[TextExample]:
    """The examples whose label is a class; what usually stands for no label is refused."""
    classes = {str(example.label) for example in examples}
    stand_ins = {x for x in classes if x.casefold() in _NO_LABEL or x == _PYTHONS_NONE}
    stand_ins -= {'-'} if '+' in classes else set()
    # Classes are words, or numbered from 0; but -1 and 1 alone are those of many programs.
    below = classes & {'-1', '-1.0'}
    others = classes - stand_ins - below
    if below and others == {'1'}:
        complaints.note(
            f'{examples[0].where.rpartition(":")[0]}: the labels -1 and 1 are read as two classes; '
            'if -1 stands for no label, delete its rows; to give both names, type '
            '--config.task.labels=negative,positive'
        )
    are_words = all(_number(label) is None for label in others)
    if are_words or others == {str(number) for number in range(len(others))}:
        stand_ins |= below
    for example in examples if stand_ins else ():
        if example.label in stand_ins:
            problem = f'the label {example.label!r} usually stands for none{_if_meant(classes)}'
            complaints.refuse('unknown_label', example.where, problem)
    return [example for example in examples if example.label not in stand_ins]


def score_span(scores: Iterable[float], where: str) -> tuple[float, float]:
    """The lowest and the highest of training scores, which must differ."""
    values = sorted(set(scores))
    if len(values) < 2:
        raise DataError(
            f'{where}: every score is {values[0]}, so there is nothing to learn; is '
            '--config.task.columns.label the right column?'
        )
    return values[0], values[-1]


def plain_label(value: Any) -> str | None:
    """A label as text, in Unicode's form NFC; None where the file gives none.

    >>> [plain_label(value) for value in (' 1 ', True, 3, '')]
    ['1', 'true', '3', None]
    """
    if isinstance(value, bool):
        return str(value).lower()
    return None if value is None else composed(str(value)).strip() or None


def composed(text: str) -> str:
    """Text in the form NFC, which most programs write: an accent is part of its letter."""
    return text if text.isascii() else unicodedata.normalize('NFC', text)


def _number(value: Any) -> float | None:
    """A finite number; None: the value is not one."""
    try:
        number = float(value)
    except (TypeError, ValueError):
        return None
    return number if math.isfinite(number) else None
