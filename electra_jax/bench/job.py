"""A benchmark from its command line to its records: one measurement, or one for each value."""

import functools
import json
import pathlib
import sys
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

from electra_jax.bench import evaluation, records, tables, training
from electra_jax.bench.contest import Plan
from electra_jax.bench.records import Record
from electra_jax.bench.versus import Rival
from electra_jax.config import fields, resolve
from electra_jax.core.errors import ConfigError, UserError
from electra_jax.finetune import known
from electra_jax.objectives import table
from electra_jax.sweep import plan as sweep_plan
from electra_jax.sweep import plot

Settings = Mapping[str, str]  # name of a setting -> its value, as typed


class Request(NamedTuple):
    """A command line; `changed`: settings, and another recipe or None -> the config."""

    name: str
    typed: frozenset[str]
    changed: Callable[..., fields.Settings]
    versus: str | None
    versus_set: Settings
    variants: tuple[str, ...] | None
    axes: Mapping[str, Sequence[str]]
    grid: bool
    turns: int
    steps: int | None
    warmup: int
    folder: pathlib.Path


class Point(NamedTuple):
    """One measurement: how it differs from the others, its record's file, and what makes that."""

    varied: Settings
    path: pathlib.Path
    measure: Callable[[], Record]


def measure_one(request: Request) -> Record:
    """Measures the config of a command line, and writes its record."""
    point = plan_point(request, {})
    record = point.measure()
    records.write(point.path, record)
    report(f'record: {point.path}')
    return record


def sweep(request: Request) -> tuple[Record, list[str]]:
    """Measures every point that has no record yet; then writes table and plot of all.

    Returns:
        'files' and 'text' for the terminal, and a line about each point that failed.
    """
    planned = [plan_point(request, varied) for varied in points(request.axes, request.grid)]
    measured, failed = measure_all(planned, report)
    summary = conclude(request.folder, request.name, list(request.axes), measured)
    report(f'files: {", ".join(summary["files"])}')
    return summary, failed


def points(axes: Mapping[str, Sequence[str]], grid: bool) -> list[dict[str, str]]:
    """The settings of each measurement: one axis after another, or every value with every other.

    >>> points({'a': ['1', '2'], 'b': ['3']}, grid=False)
    [{'a': '1'}, {'a': '2'}, {'b': '3'}]
    """
    if grid:
        return sweep_plan.points(axes)
    return [{name: value} for name, values in axes.items() for value in values]


def plan_point(request: Request, varied: Settings) -> Point:
    """A measurement of the command line with some settings changed: of its train step, or of
    evaluation where it names a task.

    Raises:
        ConfigError: a setting cannot be used, or the rival cannot do it.
    """
    config = as_measured(request, request.changed(varied), varied)
    job = evaluation if config.task.name else training
    rival = make_rival(request, varied)
    other = None
    if rival:
        job.check_rival(config, rival)
        other = {**rival._asdict(), 'config': rival.config and records.as_json(rival.config)}
    plan = Plan(request.turns, request.steps or (1 if config.task.name else 10), request.warmup)
    identity = records.identity(request.name, config, other, plan._asdict())

    def measure() -> Record:
        measured = job.measure(config, request.name, rival, plan, report)
        return records.complete(identity, varied, measured)

    return Point(varied, records.path_of(request.folder, identity), measure)


def as_measured(request: Request, config: fields.Settings, changes: Settings) -> fields.Settings:
    """The config as it is measured.

    A task's rows are as long as the task has them. Pre-training is measured on random tokens,
    unless the command names its text.
    """
    if config.task.name:
        row_length = known.get(config.task.name).row_length
        return resolve.fill(table.complete(config), row_length=row_length)
    full = resolve.fill(table.complete(config))
    if 'data.path' not in {*request.typed, *changes}:
        full.data.path = None
    return full


def make_rival(request: Request, varied: Settings) -> Rival | None:
    """What the config is compared with; another recipe is given the same settings.

    Raises:
        ConfigError: the other recipe does not exist, or cannot use a setting.
    """
    if request.versus is None or request.versus == 'transformers':
        if request.versus_set:
            raise ConfigError('--versus_set is for another recipe: type --versus=FILE.py, too')
        return Rival(request.versus, None, request.variants) if request.versus else None
    changes = {**varied, **request.versus_set}
    config = request.changed(changes, request.versus)
    return Rival(pathlib.Path(request.versus).stem, as_measured(request, config, changes))


def measure_all(
    planned: Sequence[Point], report: Callable[[str], None]
) -> tuple[list[Record], list[str]]:
    """Measures what has no record yet; a measurement that fails does not end the others.

    Returns:
        The records, in order, and a line about each that failed.
    """
    measured, failed = [], []
    for number, point in enumerate(planned, 1):
        name = ', '.join(f'{key} {value}' for key, value in point.varied.items())
        report(f'[{number} of {len(planned)}] {name}')
        record = records.read(point.path)
        if record is not None:
            report(f'measured before: {point.path}')
        else:
            try:
                record = point.measure()
            except UserError as error:
                failed.append(f'{name}: {error}')
                report(failed[-1])
                continue
            records.write(point.path, record)
        measured.append(record)
    return measured, failed


def conclude(
    folder: pathlib.Path, name: str, axes: Sequence[str], measured: Sequence[Record]
) -> Record:
    """Writes a sweep's table (.md) and picture (.png) next to its records.

    Args:
        folder: of the records.
        name: of the recipe.
        axes: settings that were varied.
        measured: the records.

    Returns:
        'files', and 'text' for the terminal.
    """
    if not measured:
        return {'files': [], 'text': ''}
    stem = '-'.join([name, 'over', *(axis.rpartition('.')[2] for axis in axes)])
    paths = [folder / f'{stem}{ending}' for ending in ('.md', '.png')]
    text = tables.markdown(measured)
    paths[0].write_text(text)
    plot.draw(tables.panels(measured, axes), paths[1])
    return {'files': [str(path) for path in paths if path.exists()], 'text': text}


def as_text(result: Record, failed: Sequence[str] | None, as_json: bool) -> str:
    """A record, or the summary of a sweep, for people or for machines."""
    if as_json:
        return json.dumps(result if failed is None else {**result, 'failed': failed})
    return tables.text(result) if failed is None else str(result['text'])


report = functools.partial(print, file=sys.stderr, flush=True)  # standard output has the result
