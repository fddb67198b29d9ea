"""What to type where a table or a row lacks columns that are read: for all of them at once.

Everywhere here `missing` are fields of `Columns` with the names of the columns that are not there.
"""

import pathlib
from collections.abc import Collection, Mapping, Sequence

from electra_jax.core.errors import DataError, nearest
from electra_jax.finetune.files import lines


def of_row(names: Collection[str], missing: Mapping[str, str]) -> str:
    """The problem of an object that has the names alone."""
    has = ', '.join(map(repr, sorted(names)[:10])) or 'none'
    others = 'the name of another is' if len(missing) == 1 else 'the names of others are'
    listed = ' and none '.join(map(repr, missing.values()))
    return f'there is no field {listed}; it has {has}; {others} typed as {_typed(missing)}'


def of_table(where: str, names: Sequence[str], missing: Mapping[str, str]) -> DataError:
    """The error for the file `where`, whose columns have the names."""
    listed = ' and none '.join(
        repr(name) if name == field else f'{name!r} for {field}' for field, name in missing.items()
    )
    problem = f'{where}: there is no column {listed}; it has {", ".join(map(repr, names))}'
    if names[0].startswith('{"'):
        return DataError(f'{problem}: if the lines are JSON, give the file the ending .jsonl')
    other = next(filter(None, (_other_separator(names, x) for x in missing.values())), '')
    if other:
        return DataError(
            f'{problem}: if {other} separates the cells, type --config.task.separator={other}'
        )
    if not missing.keys() & {'words', 'tags'} and lines.holds_tags(pathlib.Path(where)):
        return DataError(f'{problem}. {lines.TAGGED}')
    (first, *others), named, meant = missing.values(), 'Name them with', ''
    if not others:
        named, meant = 'Name one with', nearest(first, names)
    return DataError(
        f'{problem}{meant or "."} {named} {_typed(missing)}{_other_reasons(names, missing)}'
    )


def _other_separator(names: Sequence[str], column: str) -> str:
    """What separates the cells of a first line that was cut at something else, as it is typed."""
    for mark, typed in ((';', "';'"), ('\t', "$'\\t'"), ('|', "'|'"), (',', "','")):
        inner = [cell.strip(' "') for name in names for cell in name.split(mark)]
        if len(inner) > len(names) and (len(names) == 1 or column in inner):
            return typed
    return ''


def _typed(missing: Mapping[str, str]) -> str:
    return ' '.join(f'--config.task.columns.{field}=NAME' for field in missing)


def _other_reasons(names: Sequence[str], missing: Mapping[str, str]) -> str:
    if any(name[:1] == '"' for name in names):
        typed = "--config.task.separator=$'\\t'"
        return f' (if quotation marks enclose cells, name the file .csv, and type {typed})'
    if all(name.isdigit() for name in names):
        return ', a number from 0'
    return (
        ' (if the first line is no header: --config.task.header=False '
        f'--config.task.columns.{next(iter(missing))}=0, and the other columns by their numbers as '
        'well)'
    )
