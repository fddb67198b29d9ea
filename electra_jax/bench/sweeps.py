"""Many measurements by one command: each in fresh processes, with a record, and none made twice."""

import itertools
import pathlib
import time
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

from electra_jax.bench import evaluation, plots, records, tables, training
from electra_jax.bench.records import Record
from electra_jax.bench.training import Plan, Rival
from electra_jax.config.settings import Config
from electra_jax.core.errors import ConfigError, UserError
from electra_jax.train import workdir

Settings = Mapping[str, str]  # name of a setting -> its value, as typed


class Point(NamedTuple):
    """One measurement.

    Attributes:
      varied: what is special to it.
      path: of its record.
      measure: makes the record.
    """

    varied: Settings
    path: pathlib.Path
    measure: Callable[[], Record]


def plan_point(
    name: str,
    config: Config,
    rival: Rival | None,
    plan: Plan,
    varied: Settings,
    folder: pathlib.Path,
    say: Callable[[str], None],
) -> Point:
    """A measurement of a config: of its train step, or of evaluation where it names a task.

    Args:
        name: of the recipe.
        config: resolved.
        rival: what is measured beside it.
        plan: how long.
        varied: settings that are special to it.
        folder: of the records.
        say: told what happens.

    Raises:
        ConfigError: the rival cannot do it.
    """
    if config.task.name:
        measure, check = evaluation.measure, evaluation.check_rival
    else:
        measure, check = training.measure, training.check_rival
    if rival:
        check(config, rival)
    other = rival and {
        **rival._asdict(),
        'config': rival.config and workdir.as_json(rival.config),
    }
    what = records.identity(name, config, other, plan)

    def make() -> Record:
        found = measure(config, name, rival, plan, say)
        return records.complete(what, config, varied, found)

    return Point(varied, records.path_of(folder, what), make)


def points(axes: Mapping[str, Sequence[str]], grid: bool) -> list[Settings]:
    """The settings of each measurement: each axis by itself, or every value with every other.

    >>> points({'a': ['1', '2'], 'b': ['3']}, grid=False)
    [{'a': '1'}, {'a': '2'}, {'b': '3'}]
    >>> points({'a': ['1', '2'], 'b': ['3']}, grid=True)
    [{'a': '1', 'b': '3'}, {'a': '2', 'b': '3'}]
    """
    if grid:
        return [
            dict(zip(axes, values, strict=True)) for values in itertools.product(*axes.values())
        ]
    return [{name: value} for name, values in axes.items() for value in values]


def parse_axis(text: str) -> tuple[str, list[str]]:
    """``'batch_size=8,16'`` as its name and values.

    Raises:
        ConfigError: it is not of that form, or has a value twice.
    """
    name, is_whole, values = text.partition('=')
    found = values.split(',')
    if not is_whole or not all(found) or len(set(found)) < len(found):
        raise ConfigError(f'--sweep is {text!r}: type such as --sweep=batch_size=8,16,32')
    return name, found


def run(planned: Sequence[Point], say: Callable[[str], None]) -> tuple[list[Record], list[str]]:
    """Measures what has no record yet; a measurement that fails does not end the others.

    Returns:
        The records, in order, and a line about each that failed.
    """
    found, failed, took = [], [], []
    for number, point in enumerate(planned, 1):
        record = records.read(point.path)
        where = f'[{number} of {len(planned)}] {shown(point.varied)}'
        if record is not None:
            say(f'{where}: measured before, {point.path}')
            found.append(record)
            continue
        say(where + remaining(took, len(planned) - number + 1))
        began = time.monotonic()
        try:
            record = point.measure()
        except UserError as error:
            failed.append(f'{shown(point.varied)}: {error}')
            say(failed[-1])
            continue
        records.write(point.path, record)
        took.append(time.monotonic() - began)
        found.append(record)
    return found, failed


def remaining(took: Sequence[float], left: int) -> str:
    """What is known of the time to come.

    >>> remaining([50.0, 70.0], 3)
    ' (about 3 min left)'
    """
    if not took:
        return ''
    return f' (about {max(1, round(sum(took) / len(took) * left / 60))} min left)'


def shown(varied: Settings) -> str:
    """In words."""
    return ', '.join(f'{name} {value}' for name, value in varied.items())


def conclude(
    folder: pathlib.Path, name: str, axes: Sequence[str], found: Sequence[Record]
) -> Record:
    """Writes a sweep's table (.md), picture (.png) and checks (.json) beside its records.

    Args:
        folder: of the records.
        name: of the recipe.
        axes: settings that were varied.
        found: the records.

    Returns:
        'checks' as `tables.checks` has them, 'files', and 'text' for the terminal.
    """
    if not found:
        return {'checks': [], 'files': [], 'text': ''}
    stem = '-'.join([name, 'over', *(axis.rpartition('.')[2] for axis in axes)])
    paths = [folder / f'{stem}{ending}' for ending in ('.md', '.png', '.json')]
    checks = tables.checks(found)
    lines = [tables.check_line(check) for check in checks]
    text = '\n'.join([tables.markdown(found), *(f'- {line}' for line in lines)])
    paths[0].write_text(text + '\n')
    plots.draw(found, axes, paths[1])
    records.write(paths[2], {'checks': checks})
    return {'checks': checks, 'files': [str(path) for path in paths], 'text': text}
