"""Rows with a text or a pair of texts, as examples."""

from collections.abc import Iterator, Sequence

from electra_jax.finetune.bad_rows import BadRows
from electra_jax.finetune.examples import TextExample
from electra_jax.finetune.files.columns import Columns, column_value, resolve, row_id
from electra_jax.finetune.files.tables import Row, Rows, text_problem
from electra_jax.finetune.labels import label_problem, plain_label, score_problem

# What stands for a label in files without labels, where it is no label of the task.
_NOT_GIVEN = (None, '-1', '-1.0')


def classified(
    rows: Rows, columns: Columns, bad: BadRows, labels: Sequence[str] | None, labelled: bool
) -> Iterator[TextExample]:
    """Texts with a class each.

    Args:
      rows: of the file.
      columns: which of them hold what.
      bad: rows that cannot be used are refused or counted here.
      labels: the classes; None: whatever the file holds.
      labelled: whether every row must have a label; otherwise the column may be absent too.

    Yields:
      One for each usable row, texts stripped.
    """
    for row, key, example in _texts(rows, columns, bad, labelled):
        label = plain_label(row.values[key]) if key else None
        problem = label_problem(label, labels)
        if not problem:
            yield example._replace(label=label)
        elif not labelled and label in _NOT_GIVEN:
            yield example
        else:
            bad.refuse('unknown_label', row.where, f'{problem} (column {key!r})')


def scored(
    rows: Rows,
    columns: Columns,
    bad: BadRows,
    bounds: tuple[float, float] | None,
    labelled: bool,
) -> Iterator[TextExample]:
    """Texts with a score each; as `classified`, and `bounds` is what a score may be."""
    for row, key, example in _texts(rows, columns, bad, labelled):
        value = row.values[key] if key else None
        problem = score_problem(value, bounds)
        if not problem:
            yield example._replace(label=float(value))
        elif not labelled and plain_label(value) in _NOT_GIVEN:
            yield example
        else:
            bad.refuse('bad_score', row.where, f'{problem} (column {key!r})')


def _texts(
    rows: Rows, columns: Columns, bad: BadRows, labelled: bool
) -> Iterator[tuple[Row, str | None, TextExample]]:
    """Each row with the key of its label, if any, and its example so far."""
    keys = [resolve(rows, columns.text_a, 'text_a')]
    if columns.text_b is not None:
        keys.append(resolve(rows, columns.text_b, 'text_b'))
    label_key = columns.label and resolve(rows, columns.label, 'label', labelled)
    id_key = columns.id and resolve(rows, columns.id, 'id')
    for row in rows.rows:
        texts = _usable_texts(row, keys, bad)
        name = None if texts is None else row_id(row, id_key, bad)
        if name is None:
            continue
        key = label_key if label_key in row.values else None
        if labelled and key is None:
            _, problem = column_value(row, str(label_key))
            bad.refuse('missing_field', row.where, f'{problem} (for label)')
            continue
        a, b = [*texts, None][:2]
        yield row, key, TextExample(name, a, b, None, row.where)


def _usable_texts(row: Row, keys: Sequence[str], bad: BadRows) -> list[str] | None:
    texts = []
    for key in keys:
        found, problem = column_value(row, key)
        if problem:
            bad.refuse('missing_field', row.where, problem)
            return None
        problem = text_problem(found)
        if problem:
            kind = 'empty_text' if isinstance(found, str) and not found.strip() else 'not_text'
            bad.refuse(kind, row.where, f'{problem} (column {key!r})')
            return None
        texts.append(found.strip())
    return texts
