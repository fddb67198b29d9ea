"""Which column of a task's file plays which part."""

import dataclasses
import re
from collections.abc import Sequence
from typing import Any

from electra_jax.config.settings import ColumnsConfig
from electra_jax.core import errors
from electra_jax.finetune.bad_rows import BadRows
from electra_jax.finetune.files.tables import Row, Rows, half_character


@dataclasses.dataclass(frozen=True)
class Columns(ColumnsConfig):
    """Names of columns or JSON fields, and how a table is cut into them.

    What is None is not in the file, or as usual for its task: 'words' and 'tags' (in CoNLL files 0
    and -1, the first and the last), numbered rows for want of an id.

    Attributes:
      header: whether the first line of a table names its columns; None: it does.
      separator: between cells; None: as the file's ending says.
    """

    header: bool | None = None
    separator: str | None = None


def merged(usual: Columns, given: Columns) -> Columns:
    """The usual columns of a task, but for those that are given."""
    changes = {k: v for k, v in dataclasses.asdict(given).items() if v is not None}
    return dataclasses.replace(usual, **changes)


def is_number(column: str) -> bool:
    """Whether a column is given by its number, from 0 or, below it, from the end.

    >>> is_number('3'), is_number('-1'), is_number('--1'), is_number('²')
    (True, True, False, False)
    """
    return re.fullmatch('-?[0-9]+', column) is not None


def resolve(rows: Rows, column: str, part: str, needed: bool = True) -> str | None:
    """The key of a column in every row's values.

    Args:
      rows: of the file.
      column: as the config names it.
      part: the field of `Columns`, for the message.
      needed: whether its absence is an error; otherwise it gives None.

    Raises:
      errors.DataError: naming the columns that are there.
    """
    names = rows.names
    if names is None or column in names:
        return column
    if is_number(column) and -len(names) <= int(column) < len(names):
        return names[int(column)]
    if not needed:
        return None
    raise errors.DataError(
        f'{rows.where}: no column {column!r} for {part}; it has '
        f'{", ".join(map(repr, names))}{errors.nearest(column, names)}. Name one with '
        f'--config.task.columns.{part}=NAME{_other_reasons(names)}'
    )


def _other_reasons(names: Sequence[str]) -> str:
    if len(names) == 1:
        for mark, typed in ((';', "';'"), ('\t', "$'\\t'"), (',', "','")):
            if mark in names[0]:
                return f' (if {typed} separates the cells: --config.task.separator={typed})'
    if all(name.isdigit() for name in names):
        return ', a number from 0'
    return ' (if the first line is no header: --config.task.header=False, and numbers from 0)'


def column_value(row: Row, key: str) -> tuple[Any, str | None]:
    """The value of a row under `key`, and what is wrong if there is none."""
    if key in row.values:
        return row.values[key], None
    has = ', '.join(map(repr, sorted(row.values)[:10])) or 'none'
    return None, f'no field {key!r}; it has {has}'


def row_id(row: Row, key: str | None, bad: BadRows) -> str | None:
    """The id that a row carries, or its number in the file; None: it was refused."""
    given = row.values.get(key) if key is not None else None
    return usable_id(row.number if given is None else given, row.where, bad)


def usable_id(value: Any, where: str, bad: BadRows) -> str | None:
    """An id as text; None: it cannot be written, and was refused."""
    problem = half_character(str(value))
    if problem:
        bad.refuse('not_text', where, f'in the id: {problem}')
        return None
    return str(value)
