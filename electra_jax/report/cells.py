"""What the tables of the page are made of, and how values are written in them."""

import json
from typing import Any, NamedTuple

from electra_jax.core import metric_table

_BIG = ((1e18, 'quintillion'), (1e15, 'quadrillion'), (1e12, 'trillion'), (1e9, 'billion'),
        (1e6, 'million'))  # fmt: skip

NOTHING = '\N{EN DASH}'  # in a table, where there is no value


class Cell(NamedTuple):
    """A value with what explains it, if anything does."""

    text: str
    note: str = ''


class Table(NamedTuple):
    """A table with a heading for each column; the first column names the row."""

    title: str
    columns: list[str]
    rows: list[list[Cell]]
    about: str = ''


def number(value: Any) -> str:
    """A number as people read it.

    >>> number(0.731234), number(1234567), number(3.2e9), number(2e-05)
    ('0.7312', '1.23 million', '3.2 billion', '2e-05')
    """
    if isinstance(value, bool) or not isinstance(value, int | float):
        return NOTHING if value is None else str(value)
    for size, word in _BIG:
        if abs(value) >= size and value < 1e21:
            return f'{value / size:.3g} {word}'
    if isinstance(value, int) or abs(value) >= 1000:
        return f'{value:,.0f}'
    return f'{value:.4g}'


def score(name: str, value: Any) -> str:
    """A score of a task, 'SPLIT/METRIC'."""
    is_number = isinstance(value, int | float)
    return metric_table.score(f'finetune/{name}', value) if is_number else NOTHING


def setting(value: Any) -> str:
    """The value of a setting."""
    if value is None:
        return NOTHING
    if isinstance(value, float):
        return f'{value:.6g}'
    return value if isinstance(value, str) else json.dumps(value)
