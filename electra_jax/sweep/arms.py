"""Runs that differ in their seeds alone: their mean, their noise, and which of several differ."""

import collections
import math
import statistics
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from electra_jax.core.complaints import counted
from electra_jax.runtime import terminal
from electra_jax.sweep import rank
from electra_jax.sweep.shown import Shown, cell_of

_LEAST_SEEDS, _DEVIATIONS = 3, 2.0
_NO_MEAN = ('step', 'rows', 'trials')  # columns of numbers that say how a value came about


class Arm(NamedTuple):
    """The runs of one arm, which differ in their seeds."""

    name: str
    values: dict[str, list[float]]  # column -> of each run that has it

    def mean(self, column: str) -> float | None:
        """None: no run has the column."""
        return statistics.fmean(self.values[column]) if self.values.get(column) else None

    @property
    def seeds(self) -> int:
        """How many runs it has."""
        return max(map(len, self.values.values()))

    def deviation(self, column: str) -> float | None:
        """The standard deviation over the seeds; None: there are fewer than two."""
        found = self.values.get(column, [])
        return statistics.stdev(found) if len(found) > 1 else None


def noise(found: Sequence[Arm], metric: str) -> float | None:
    """The pooled standard deviation over seeds; None: no arm has three."""
    known = [arm.values[metric] for arm in found if len(arm.values.get(metric, ())) > 1]
    if not any(len(values) >= _LEAST_SEEDS for values in known):
        return None
    squares = sum((len(values) - 1) * statistics.variance(values) for values in known)
    return math.sqrt(squares / sum(len(values) - 1 for values in known))


def compare(arm: Arm, other: Arm, metric: str, floor: float) -> str:
    """'better', 'worse' or 'alike': more than two deviations of the difference of the means."""
    ours, theirs = arm.values.get(metric, []), other.values.get(metric, [])
    if not ours or not theirs:
        return ''
    limit = _DEVIATIONS * floor * math.sqrt(1 / len(ours) + 1 / len(theirs))
    ahead = statistics.fmean(ours) - statistics.fmean(theirs)
    if abs(ahead) <= limit:
        return 'alike'
    return 'better' if (ahead > 0) == (direction(metric) == 'higher') else 'worse'


def direction(metric: str) -> str:
    """Which values of a column are better, as `rank.direction`; a name without '/' is a task's."""
    return rank.direction(metric) if '/' in metric else 'higher'


def of_sweep(
    runs: Sequence[Shown], rows: Sequence[Mapping[str, Any]], columns: Sequence[str]
) -> list[Arm]:
    """The settings of a sweep whose seeds are an axis of it, with the values of runs that ended.

    Empty where no setting has two seeds.
    """
    names = collections.Counter(run.setting for run in runs if run.setting)
    if not any(count > 1 for count in names.values()):
        return []
    found = {name: Arm(name, {}) for name in names}
    for run, row in zip(runs, rows, strict=True):
        for column in columns if row.get('outcome') in (None, 'done') else ():
            value = row.get(column)
            if isinstance(value, int | float) and column not in _NO_MEAN:
                found[run.setting].values.setdefault(column, []).append(float(value))
    return [arm for arm in found.values() if arm.values]


def best(found: Sequence[Arm], rows: Sequence[Mapping[str, Any]], metric: str) -> Arm | None:
    """The setting with the best mean; None: settings are not comparable, or alike."""
    means = {i: mean for i, arm in enumerate(found) if (mean := arm.mean(metric)) is not None}
    number = rank.best_of(means, metric) if rank.is_comparison(rows, metric) else None
    return None if number is None else found[number]


def table(
    found: Sequence[Arm],
    columns: Sequence[str],
    metric: str,
    row: Mapping[str, Any],
    top: Arm | None,
) -> str:
    """A Markdown table with a line for each setting: means, and deviations over seeds in brackets.

    `row` is one of the runs', by whose kind of score the values are written; `top` is the best.
    """
    shown = [name for name in columns if any(name in arm.values for arm in found)]
    lines = []
    for arm in found:
        cells = [arm.name, str(arm.seeds)]
        for name in shown:
            cells.append(cell_of({**row, name: arm.mean(name)}, name))
            if (deviation := arm.deviation(name)) is not None:
                cells[-1] += f' ({cell_of({**row, name: deviation}, name)})'
            if arm is top and name == metric:
                cells[-1] = f'**{cells[-1]}**'
        lines.append([f'**{arm.name}**' if arm is top else arm.name, *cells[1:]])
    return terminal.markdown(['mean (standard deviation) over seeds', 'seeds', *shown], lines)


def notes(found: Sequence[Arm], metric: str, row: Mapping[str, Any], top: Arm | None) -> list[str]:
    """Which setting is best, and which are not told from it by the noise of seeds."""
    if top is None:
        return []
    count, floor = len(top.values[metric]), noise(found, metric)
    what = f'{row["metric"]} (median)' if metric == 'median' else metric
    mean = cell_of({**row, metric: top.mean(metric)}, metric)
    lines = [
        f'best: {top.name}, by the mean of {what} over {counted(count, "seeds")}, {mean} '
        f'({rank.direction(metric)} is better)'
    ]
    if floor is None:
        return [
            *lines,
            'note: no setting has three seeds, so that the noise of seeds is not known and it is '
            'open whether settings differ; --grid seed=0,1,2 adds seeds',
        ]
    alike = [
        one.name for one in found if one is not top and compare(one, top, metric, floor) == 'alike'
    ]
    if alike:
        lines.append(
            f'note: {", ".join(alike)}: no difference from the best, for the means are less than '
            'two standard deviations of a difference apart (the deviation over seeds is '
            f'{cell_of({**row, metric: floor}, metric)})'
        )
    return lines
