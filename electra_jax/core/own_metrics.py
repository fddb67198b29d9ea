"""Meanings of metrics that the file of an objective, or of a kind of task, has next to its code.

They are read as text, because those files import JAX, and `--explain` and reports answer without.
"""

import ast
import pathlib
from collections.abc import Collection, Iterator
from typing import Any, NamedTuple

from electra_jax.core.errors import ConfigError, unknown

_NAME = 'MEANINGS'  # of the variable
_FOLDERS = ('objectives', 'finetune/kinds')
_GROUPS = ('train', 'eval', 'finetune/TASK')
_PACKAGE = pathlib.Path(__file__).parent.parent


class Metric(NamedTuple):
    """What a number is."""

    unit: str
    meaning: str  # a sentence
    better: str = ''  # 'lower' or 'higher', where one is better whatever the other numbers are
    # What needs no model: a number, or the metric that has it; None: it is not known beforehand.
    trivial: float | str | None = None


def read(shipped: Collection[str], package: pathlib.Path = _PACKAGE) -> dict[str, Metric]:
    """The metrics that files of the package declare by `MEANINGS = {'eval/NAME': Metric(...)}`.

    Args:
        shipped: keys that have a meaning already.
        package: the folder of the package.

    Raises:
        ConfigError: a declaration is no dict of plain values, its key names no group, or has a
            meaning already.
    """
    found: dict[str, Metric] = {}
    for folder in _FOLDERS:
        for path in sorted((package / folder).glob('*.py')):
            text = path.read_text(encoding='utf-8')
            if f'\n{_NAME}' in text:  # parsing every file would take a tenth of a second
                for key, line, metric in _declared(path, text):
                    _check(f'{path}:{line}: {_NAME}', key, {*shipped, *found})
                    found[key] = metric
    return found


def _declared(path: pathlib.Path, text: str) -> Iterator[tuple[str, int, Metric]]:
    """Key, line and metric of each entry of the file's own table."""
    for node in ast.parse(text).body:
        targets = node.targets if isinstance(node, ast.Assign) else [getattr(node, 'target', None)]
        if not any(isinstance(one, ast.Name) and one.id == _NAME for one in targets):
            continue
        try:
            yield from _entries(node)
        except (AttributeError, TypeError, ValueError) as error:
            raise ConfigError(
                f"{path}:{node.lineno}: {_NAME} is read as text: write 'GROUP/NAME': "
                'Metric(UNIT, MEANING, BETTER) with strings and numbers alone'
            ) from error


def _entries(node: Any) -> Iterator[tuple[str, int, Metric]]:
    for key, call in zip(node.value.keys, node.value.values, strict=True):
        if call.func.id != Metric.__name__:
            raise ValueError(call.func.id)
        values = [ast.literal_eval(one) for one in call.args]
        named = {one.arg: ast.literal_eval(one.value) for one in call.keywords}
        yield str(ast.literal_eval(key)), key.lineno, Metric(*values, **named)


def _check(what: str, key: str, known: Collection[str]) -> None:
    group, _, name = key.rpartition('/')
    if group not in _GROUPS or not name:
        raise unknown(f'{what} has {key!r}, whose group', group, _GROUPS)
    if key in known:
        raise ConfigError(f'{what} has {key!r}, which has a meaning already: choose another name')
