"""Texts to read with a text to write: rows of a table, or the lines of two parallel files."""

import pathlib
from collections.abc import Iterator

from electra_jax.core import compressed
from electra_jax.core.complaints import counted
from electra_jax.core.errors import DataError
from electra_jax.finetune.examples import WrittenExample
from electra_jax.finetune.files import lines, unread
from electra_jax.finetune.files.lines import Refusing
from electra_jax.finetune.files.source import Source


def read(source: Source) -> Iterator[WrittenExample]:
    """An example for each usable row, or each usable pair of lines, with its texts stripped."""
    if source.path is not None and source.ending == f'.{source.columns.source}'.lower():
        return _of_files(source, source.path)
    return _of_rows(source)


def _of_rows(source: Source) -> Iterator[WrittenExample]:
    rows, labelled = source.rows(), source.labelled
    others = [*(['target'] if labelled else []), *(['id'] if source.columns.id else [])]
    needed = rows.need_all(['source', *others])
    read_key, write_key, id_key = needed['source'], needed.get('target'), needed.get('id')
    if labelled is False:
        write_key = rows.find('target')
    sides = {field: key for field, key in needed.items() if field != 'id'}
    for row in unread.noted(source, rows, {*needed.values()}):
        with Refusing(source.complaints, row.where):
            row.check(sides)
            text = _text(row.values[read_key], f'column {read_key!r}')
            target = None
            if write_key is not None and (labelled or row.values.get(write_key) is not None):
                target = _text(row.values[write_key], f'column {write_key!r}')
            yield WrittenExample(row.id(id_key), text, target, row.where)


def _of_files(source: Source, path: pathlib.Path) -> Iterator[WrittenExample]:
    other = other_side(path, str(source.columns.source), str(source.columns.target))
    if other is None and source.labelled:
        raise DataError(
            f'{path}: there is no file next to it with the other side, whose name would end '
            f'in .{source.columns.target}; another ending is named by '
            '--config.task.columns.target=ENDING'
        )
    sides = [path, other] if other is not None else [path]
    read = [list(lines.numbered(one, source.complaints)) for one in sides]
    if len(read[0]) != len(read[-1]):
        raise DataError(
            f'{path} has {counted(len(read[0]), "lines")}, and {other} has {len(read[-1]):,}: line '
            'by line one must be the translation of the other'
        )
    for number, row in enumerate(zip(*read, strict=True), 1):
        where = f'{path}:{number}'
        with Refusing(source.complaints, where):
            given = [text for _, text in row if text is not None]
            if len(given) == len(sides):  # the others are refused already
                pairs = zip(given, sides, strict=True)
                text, *target = (_text(x, f'line {number} of {side.name}') for x, side in pairs)
                yield WrittenExample(str(number), text, next(iter(target), None), where)


def _text(value: object, part: str) -> str:
    return lines.usable_text(value, part).strip()


def other_side(path: pathlib.Path, ending: str, other: str) -> pathlib.Path | None:
    """The file with the other side of parallel text; None: there is none.

    It has the same name but for the ending, and may be packed in another way.
    """
    bare = path
    while compressed.is_packed(bare):
        bare = bare.with_suffix('')
    stem = bare.name[: -len(ending) - 1]
    names = [f'{stem}.{other}{packed}' for packed in ('', *compressed.DECOMPRESSORS)]
    return next((path.with_name(name) for name in names if path.with_name(name).exists()), None)
