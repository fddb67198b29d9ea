"""A study: arms of equal compute with several seeds each, their scores, and what a rule decides.

docs/study.md has the rule; `sweep.records` says where the numbers come from.
"""

import collections
import csv
import math
import pathlib
import re
import statistics
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from electra_jax.core.errors import ConfigError, unknown
from electra_jax.runtime import terminal
from electra_jax.sweep import records
from electra_jax.sweep.arms import Arm, compare, noise
from electra_jax.sweep.records import COSTS, Record, Values
from electra_jax.sweep.shown import cell

SCORE = 'score'  # the mean over tasks and minimal pairs, times 100
_ROUNDING = 0.02  # of a budget, to whole steps
_SEED = re.compile(r'-?\bseed=\d+')
_BUDGET = re.compile(r'-?\bpetaflop=[\d.e+-]+')


class Rule(NamedTuple):
    """What an arm is compared with."""

    metric: str = SCORE
    baseline: str = 'electra'
    controls: Mapping[str, str] = {}  # arm -> the arm that has all of it but what is claimed


def arms(found: Mapping[str, Record]) -> list[Arm]:
    """The arms of a study's runs, in the order of their names.

    Raises:
        ConfigError: runs of one arm have different budgets.
    """
    runs = {name: dict(record.values) for name, record in found.items()}
    tasks = _tested(runs)
    grouped: dict[str, dict[str, list[float]]] = collections.defaultdict(dict)
    for name, run in runs.items():
        if tasks and tasks <= run.keys():
            run[SCORE] = statistics.fmean(run[task] for task in tasks)
        for column, value in run.items():
            grouped[_SEED.sub('', name) or name].setdefault(column, []).append(value)
    for name, values in grouped.items():
        costs = values.get(COSTS[0]) or [0.0]
        if not _alike(min(costs), max(costs)):
            raise ConfigError(
                f'runs of {name} have from {min(costs):g} to {max(costs):g} petaFLOP: those of '
                f'another budget belong to an arm of their own, {name}-petaflop=N-seed=N '
                f'(pretrain/, and the lines of {records.FILE})'
            )
    return [Arm(name, values) for name, values in sorted(grouped.items())]


def _tested(runs: Mapping[str, Values]) -> set[str]:
    """Columns that are scores of tasks."""
    return {c for run in runs.values() for c in run if '/' not in c and c not in (*COSTS, SCORE)}


def seeds(arm: Arm, metric: str) -> str:
    """How many runs an arm has, as '3'; '2 of 3' where only so many have the metric."""
    having = len(arm.values.get(metric, ()))
    return str(having) if having == arm.seeds else f'{having} of {arm.seeds}'


def verdict(arm: Arm, found: Mapping[str, Arm], rule: Rule, floor: float | None) -> str:
    """What the rule decides about an arm, against the baseline of the same budget.

    An arm whose control is not there cannot win. Where no baseline has the budget of an arm, the
    arm is compared with the cheapest one that had as many operations or more.

    Raises:
        ConfigError: the baseline is not among the arms.
    """
    kind = _BUDGET.sub('', arm.name)
    if kind == rule.baseline:
        return 'baseline'
    names = [one for one in found if _BUDGET.sub('', one) == rule.baseline]
    if not names:
        raise ConfigError(f'there is no arm {rule.baseline}, allowed: {", ".join(found)}')
    if floor is None:
        return f'no noise floor: no arm has a {rule.metric} of three seeds'
    budget = arm.name.removeprefix(kind)
    baseline = found.get(f'{rule.baseline}{budget}')
    if baseline is None or not _alike(arm.mean(COSTS[0]), baseline.mean(COSTS[0])):
        return _with_fewer_operations(arm, [found[name] for name in names], rule, floor)
    first = compare(arm, baseline, rule.metric, floor)
    if first != 'better':
        return first
    control = f'{rule.controls.get(kind, rule.baseline)}{budget}'
    if control not in found:
        return f'better; its control {control} is not here'
    return 'wins' if compare(arm, found[control], rule.metric, floor) == 'better' else 'better'


def _alike(ours: float | None, theirs: float | None) -> bool:
    """Whether two budgets are one, whose runs differ by the rounding of steps; unknown ones are."""
    if ours is None or theirs is None:
        return True
    return math.isclose(ours, theirs, rel_tol=_ROUNDING)


def _with_fewer_operations(arm: Arm, baselines: Sequence[Arm], rule: Rule, floor: float) -> str:
    cost = arm.mean(COSTS[0])
    costs = [(theirs, one) for one in baselines if (theirs := one.mean(COSTS[0])) is not None]
    enough = [one for one in costs if cost is not None and one[0] >= cost * (1 - _ROUNDING)]
    if cost is None or not enough:
        return f'no {rule.baseline} was trained with as many operations'
    theirs, other = min(enough, key=lambda one: one[0])
    found = compare(arm, other, rule.metric, floor)
    return f'{found} with {cost / theirs:.0%} of the operations of {other.name}' if found else ''


def write(folder: pathlib.Path, rule: Rule) -> str:
    """Writes records.jsonl, study.md, study.csv and study.png; returns the text to print.

    Raises:
        ConfigError: no arm has the metric or the name of the rule, or the folder is no study.
    """
    runs = records.read(folder)
    records.write(folder, runs)
    found = arms(runs)
    by_name, floor = {arm.name: arm for arm in found}, noise(found, rule.metric)
    columns = list(dict.fromkeys(column for arm in found for column in arm.values))
    if rule.metric not in (SCORE, *columns):
        raise unknown('--metric', rule.metric, columns)
    columns.sort(key=lambda name: (name not in COSTS, name != SCORE, '/' in name))
    head, rows = ['arm', 'seeds', *columns, 'by the rule'], []
    for arm in found:
        cells = [arm.name, seeds(arm, rule.metric)]
        for column in columns:
            cells.append(cell(arm.mean(column)))
            deviation = arm.deviation(column)
            if column not in COSTS and deviation is not None:
                cells[-1] += f' ({cell(deviation)})'
        rows.append([*cells, verdict(arm, by_name, rule, floor)])
    text = terminal.markdown(head, rows)
    if floor is not None:
        text += (
            f'\nNoise floor of {rule.metric}: {cell(floor)}, the standard deviation over '
            f'seeds, pooled over arms. {rule.baseline} is the baseline; better and worse are more '
            'than two standard deviations of the difference; wins: better than its control, too.\n'
        )
    (folder / 'study.md').write_text(text)
    with (folder / 'study.csv').open('w', newline='') as file:
        writer = csv.writer(file)
        writer.writerow(['arm', 'column', 'mean', 'standard deviation', 'runs'])
        for arm in found:
            for column, values in arm.values.items():
                row = [arm.name, column, arm.mean(column), arm.deviation(column), len(values)]
                writer.writerow(row)
    picture = draw(found, rule.metric, folder / 'study.png')
    return f'{text}\ntable: {folder / "study.md"} (and study.csv, {records.FILE})\n{picture}'


def draw(found: Sequence[Arm], metric: str, path: pathlib.Path) -> str:
    """Draws the metric of each arm against its operations, with deviations over seeds.

    Budgets of one arm (ARM-petaflop=N) are one line. Returns a line for the terminal.
    """
    try:
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure
    except ImportError:
        return 'no plot: matplotlib is not installed'
    lines: dict[str, list[tuple[float, float, float]]] = collections.defaultdict(list)
    for arm in found:
        cost, mean = arm.mean(COSTS[0]), arm.mean(metric)
        if cost is not None and mean is not None:
            point = (cost, mean, arm.deviation(metric) or 0.0)
            lines[_BUDGET.sub('', arm.name)].append(point)
    figure = Figure(figsize=(8, 5), layout='tight')
    FigureCanvasAgg(figure)
    axes = figure.subplots()
    for name, points in lines.items():
        x, y, deviation = zip(*sorted(points), strict=True)
        axes.errorbar(x, y, yerr=deviation, fmt='o-', capsize=3, label=name)
    axes.set(xlabel='petaFLOP of pre-training (matrix products)', ylabel=metric)
    if lines:
        axes.legend(fontsize=7, loc='center left', bbox_to_anchor=(1, 0.5))
    figure.savefig(path, dpi=120)
    return f'plot: {path}'
