"""Classes of a task: found in its training file, or known, and then checked."""

import math
from collections.abc import Iterable, Sequence
from typing import Any

from electra_jax.core import errors
from electra_jax.finetune.files.tables import text_problem

_SHOWN = 20


def plain_label(value: Any) -> str | None:
    """A label as text; None where the file gives none.

    >>> [plain_label(value) for value in (' 1 ', True, 3, '')]
    ['1', 'true', '3', None]
    """
    if isinstance(value, bool):
        return str(value).lower()
    return None if value is None else str(value).strip() or None


def find_labels(labels: Iterable[str | float | None], where: str) -> tuple[str, ...]:
    """The classes among training labels: in the order of their numbers, or of the alphabet.

    >>> find_labels(['10', '9', '10'], 'train.csv')
    ('9', '10')

    Raises:
      errors.DataError: fewer than two.
    """
    found = sorted({str(label) for label in labels if label is not None})
    if len(found) < 2:
        raise errors.DataError(
            f'{where}: a classifier needs two classes or more, and its labels are '
            f'{", ".join(map(repr, found)) or "all missing"}; is --config.task.columns.label '
            'the right column?'
        )
    if all(number(label) is not None for label in found):
        found.sort(key=lambda label: (number(label), label))
    return tuple(found)


def score_span(scores: Iterable[float], where: str) -> tuple[float, float]:
    """The lowest and the highest of training scores.

    Raises:
      errors.DataError: they are all equal.
    """
    found = sorted(set(scores))
    if len(found) < 2:
        raise errors.DataError(
            f'{where}: every score is {found[0]}, so there is nothing to learn; is '
            '--config.task.columns.label the right column?'
        )
    return found[0], found[-1]


def label_problem(label: str | None, known: Sequence[str] | None) -> str | None:
    """What is wrong with a class, or None; `known` is None while classes are being found."""
    if label is None:
        return 'the row has no label'
    if known is None:
        problem = text_problem(label)
        return problem and f'in the label: {problem}'
    if label not in known:
        more = ', ...' if len(known) > _SHOWN else ''
        listed = ', '.join(map(repr, known[:_SHOWN]))
        return (
            f'the label {label!r:.60} is not one of the task: {listed}{more}'
            f'{errors.nearest(label, known)}'
        )
    return None


def number(value: Any) -> float | None:
    """A finite number, or None where it is none."""
    try:
        found = float(value)
    except (TypeError, ValueError):
        return None
    return found if math.isfinite(found) else None


def score_problem(value: Any, bounds: tuple[float, float] | None) -> str | None:
    """What is wrong with a score, or None."""
    found = None if isinstance(value, bool) else number(value)
    if found is None:
        return f'the score {value!r:.60} is not a finite number'
    if bounds is not None and not bounds[0] <= found <= bounds[1]:
        return f'the score {found} is not within {bounds[0]} to {bounds[1]}'
    return None
