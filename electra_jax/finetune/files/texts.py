"""Rows with a text or a pair of texts and a label: their examples, and the classes of a task."""

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

from electra_jax.core.complaints import Complaints
from electra_jax.core.errors import DataError, nearest
from electra_jax.finetune.examples import TextExample
from electra_jax.finetune.files import tables
from electra_jax.finetune.files.tables import Columns, Row, Rows, UnusableError

# What stands for a label in files without labels, where it is no label of the task.
_NOT_GIVEN = (None, '-1', '-1.0')
_SHOWN = 20  # classes that a message lists


def classified(
    rows: Rows,
    columns: Columns,
    complaints: Complaints,
    labels: Sequence[str] | None,
    labelled: bool,
) -> Iterator[TextExample]:
    """Texts with a class each.

    Args:
        rows: of the file.
        columns: which of them hold what.
        complaints: rows that cannot be used are refused or counted here.
        labels: the classes; None: those of the file, which are not known yet.
        labelled: whether every row must have a label; otherwise the column may be absent too.

    Yields:
        One example for each usable row, with its texts stripped.
    """

    def label_of(value: Any) -> str | None:
        label = plain_label(value)
        problem = _label_problem(label, labels)
        if problem and (labelled or label not in _NOT_GIVEN):
            raise UnusableError('unknown_label', problem)
        return None if problem else label

    return _examples(rows, columns, complaints, labelled, label_of)


def scored(
    rows: Rows,
    columns: Columns,
    complaints: Complaints,
    bounds: tuple[float, float] | None,
    labelled: bool,
) -> Iterator[TextExample]:
    """Texts with a score each; as `classified`, with `bounds` (lowest, highest) for the scores."""

    def score_of(value: Any) -> float | None:
        problem = _score_problem(value, bounds)
        if problem and (labelled or plain_label(value) not in _NOT_GIVEN):
            raise UnusableError('bad_score', problem)
        return None if problem else float(value)

    return _examples(rows, columns, complaints, labelled, score_of)


def _examples(
    rows: Rows,
    columns: Columns,
    complaints: Complaints,
    labelled: bool,
    label_of: Callable[[Any], str | float | None],
) -> Iterator[TextExample]:
    keys = [tables.need_column(rows, columns.text_a or 'text_a', 'text_a')]
    if columns.text_b is not None:
        keys.append(tables.need_column(rows, columns.text_b, 'text_b'))
    label_key = columns.label and tables.find_column(rows, columns.label)
    if labelled:
        label_key = tables.need_column(rows, columns.label or 'label', 'label')
    id_key = columns.id and tables.need_column(rows, columns.id, 'id')
    ignores_second = 'text_b' not in (*keys, label_key, id_key)

    def example(row: Row) -> TextExample:
        if ignores_second and columns.text_b is None and row.values.get('text_b'):
            raise DataError(
                f"{row.where}: the row has a 'text_b', and one text alone would be read; for pairs "
                'of texts type --config.task.columns.text_b=text_b, or give that column another '
                'name'
            )
        values = [tables.find_value(row, key) for key in keys]
        texts = [
            tables.usable_text(value, f'column {key!r}').strip()
            for key, value in zip(keys, values, strict=True)
        ]
        name = tables.row_id(row, id_key)
        label = None
        if label_key and (labelled or label_key in row.values):
            value = tables.find_value(row, label_key)
            try:
                label = label_of(value)
            except UnusableError as error:
                problem = f'{error.problem} (column {label_key!r})'
                raise UnusableError(error.kind, problem) from error
        return TextExample(name, texts[0], [*texts, None][1], label, row.where)

    return tables.usable(rows.rows, example, lambda row: row.where, complaints)


# ---------------------------------------------------------------------------------------------
# Classes and scores


def find_labels(labels: Iterable[str | float | None], where: str) -> tuple[str, ...]:
    """The classes among training labels, sorted as numbers if all of them are numbers.

    >>> find_labels(['10', '9', '10'], 'train.csv')
    ('9', '10')

    Raises:
        DataError: there are fewer than two.
    """
    classes = sorted({str(label) for label in labels if label is not None})
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


def score_span(scores: Iterable[float], where: str) -> tuple[float, float]:
    """The lowest and the highest of training scores.

    Raises:
        DataError: they are all equal.
    """
    values = sorted(set(scores))
    if len(values) < 2:
        raise DataError(
            f'{where}: every score is {values[0]}, so there is nothing to learn; is '
            '--config.task.columns.label the right column?'
        )
    return values[0], values[-1]


def plain_label(value: Any) -> str | None:
    """A label as text; None where the file gives none.

    >>> [plain_label(value) for value in (' 1 ', True, 3, '')]
    ['1', 'true', '3', None]
    """
    if isinstance(value, bool):
        return str(value).lower()
    return None if value is None else str(value).strip() or None


def _label_problem(label: str | None, labels: Sequence[str] | None) -> str | None:
    if label is None:
        return 'the row has no label'
    if labels is None:
        return tables.text_problem(label)
    if label not in labels:
        more = ', ...' if len(labels) > _SHOWN else ''
        listed = ', '.join(map(repr, labels[:_SHOWN]))
        return (
            f'the label {label!r:.60} is not one of the task: {listed}{more}'
            f'{nearest(label, labels)}'
        )
    return None


def _number(value: Any) -> float | None:
    """A finite number; None: the value is not one."""
    try:
        number = float(value)
    except (TypeError, ValueError):
        return None
    return number if math.isfinite(number) else None


def _score_problem(value: Any, bounds: tuple[float, float] | None) -> str | None:
    score = None if isinstance(value, bool) else _number(value)
    if score is None:
        return f'the score {value!r:.60} is not a finite number'
    if bounds is not None and not bounds[0] <= score <= bounds[1]:
        return f'the score {score} is not within {bounds[0]} to {bounds[1]}'
    return None
