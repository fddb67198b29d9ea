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
    try:
        body = ast.parse(text).body
    except SyntaxError as error:
        raise ConfigError(f'{path}:{error.lineno}: not Python: {error.msg}') from error
    for node in body:
        targets = node.targets if isinstance(node, ast.Assign) else [getattr(node, 'target', None)]
        if not any(isinstance(one, ast.Name) and one.id == _NAME for one in targets):
            continue
        value = getattr(node, 'value', None)
        if not isinstance(value, ast.Dict):
            raise _not_read(f'{path}:{node.lineno}: {_NAME}')
        for key, call in zip(value.keys, value.values, strict=True):
            line = call.lineno if key is None else key.lineno
            name = f' has {ast.unparse(key)}, which' if key is not None else ''
            try:
                yield ast.literal_eval(key), line, _metric(call)  # type: ignore[arg-type]
            except (AttributeError, TypeError, ValueError) as error:
                raise _not_read(f'{path}:{line}: {_NAME}{name}') from error


def _not_read(what: str) -> ConfigError:
    return ConfigError(
        f"{what} is read as text, allowed: 'GROUP/NAME': Metric(UNIT, MEANING, BETTER, TRIVIAL) of "
        "strings; BETTER is 'lower', 'higher' or '', and TRIVIAL a number or the name of a metric; "
        'the last two may be left out'
    )


def _metric(call: Any) -> Metric:
    if call.func.id != Metric.__name__:
        raise ValueError(call.func.id)
    values = [ast.literal_eval(one) for one in call.args]
    metric = Metric(*values, **{one.arg: ast.literal_eval(one.value) for one in call.keywords})
    is_text = isinstance(metric.unit, str) and isinstance(metric.meaning, str)
    is_trivial = metric.trivial is None or type(metric.trivial) in (int, float, str)
    if not is_text or not is_trivial or metric.better not in ('', 'lower', 'higher'):
        raise ValueError(metric)
    return metric


def _check(what: str, key: str, known: Collection[str]) -> None:
    group, _, name = str(key).rpartition('/')
    if group not in _GROUPS or not name:
        raise unknown(f'{what} has {key!r}, whose group', group, _GROUPS)
    if key in known:
        raise ConfigError(f'{what} has {key!r}, which has a meaning already: choose another name')
