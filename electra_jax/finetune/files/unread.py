"""Columns of one's own training table that are not read, which may be a mistake."""

import itertools
from collections.abc import Collection, Iterator, Sequence
from typing import Any

from electra_jax.finetune.files.source import Source
from electra_jax.finetune.files.tables import Row, Rows

_LOOKED_AT = 100  # rows, to see what the columns hold
_SHOWN = 20  # names that a note lists
_WORDS = 3  # of a text, in the mean


def noted(
    source: Source,
    rows: Rows,
    used: Collection[str | None],
    seconds: Collection[str] | None = None,
) -> Iterator[Row]:
    """The rows; columns of one's own training table that are not read are noted.

    `seconds` are those about which each row that has one is asked, where there may be pairs of
    texts; None: there are none.
    """
    if source.split != 'train' or source.files.folders:
        return rows.rows
    first = list(itertools.islice(rows.rows, _LOOKED_AT))
    names = rows.names or dict.fromkeys(name for row in first for name in row.values)
    unused = [name for name in names if name not in {*used, *(seconds or ())}]
    # Spreadsheets write columns of nothing after the last one.
    unused = [x for x in unused if not _is_nameless(x, rows) or any(r.values.get(x) for r in first)]
    if unused:
        listed = ', '.join(map(repr, unused[:_SHOWN])) + (', ...' if len(unused) > _SHOWN else '')
        source.complaints.note(f'{source.where}: columns that are not read: {listed}')
    is_single = source.columns.text_b is None and not {*names} & {*(seconds or ())}
    texts = (x for x in unused if _is_text([row.values.get(x) for row in first]))
    for name in itertools.islice(texts if is_single and seconds is not None else (), 1):
        source.complaints.note(
            f'{source.where}: the column {name!r} holds text, and is not read: for pairs of texts '
            f'type --config.task.columns.text_b={name}'
        )
    return itertools.chain(first, rows.rows)


def _is_nameless(name: str, rows: Rows) -> bool:
    """Whether a column has no name in the header."""
    return not name or ('' in rows.double and name.startswith('column '))


def _is_text(values: Sequence[Any]) -> bool:
    """Whether a column seems to hold texts: most values differ, and have several words."""
    found = [value for value in values if isinstance(value, str) and value.strip()]
    words = sum(len(value.split()) for value in found)
    return len(set(found)) > len(values) / 2 and words >= _WORDS * len(found)
