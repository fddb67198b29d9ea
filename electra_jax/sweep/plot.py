"""A picture of what runs reached: over their steps, and against each setting that varies."""

import pathlib
from collections.abc import Sequence

from electra_jax.core import metric_table
from electra_jax.sweep.arms import Arm
from electra_jax.sweep.shown import Shown, scored_name


def draw(
    runs: Sequence[Shown], metric: str, path: pathlib.Path, settings: Sequence[Arm] = ()
) -> str:
    """Draws the metric against the step, and its last value against each setting that varies.

    Of a sweep over seeds: also the mean of each of the `settings` with its deviation. Returns a
    line for the terminal.
    """
    try:
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure
    except ImportError:
        return 'no plot: type pip install matplotlib'
    points = {run.name: points_of(run, metric) for run in runs}
    of_trials = metric == 'median'
    scores = dict.fromkeys(run.headline.get('metric', metric) for run in runs)
    name = ', '.join(scores) if of_trials else metric
    drawn = [run for run in runs if points[run.name]]
    varied = list(dict.fromkeys(key for run in drawn for key in run.varied))
    over_seeds = [arm for arm in settings if drawn and metric in arm.values]
    panels = 1 + len(varied) + bool(over_seeds)
    figure = Figure(figsize=(5 * panels, 4), layout='tight')
    FigureCanvasAgg(figure)
    over_steps, *others = figure.subplots(1, panels, squeeze=False)[0]
    over_settings = others[: len(varied)]
    for run in drawn:
        over_steps.plot(*zip(*points[run.name], strict=True), '.-', label=run.name)
    over_steps.set(xlabel='step', ylabel=name)
    if drawn:
        over_steps.legend(fontsize=7)
    for axes, key in zip(over_settings, varied, strict=True):
        last = {run.name: end_of(run, metric, points[run.name]) for run in drawn}
        ends = [(run.varied[key], last[run.name]) for run in drawn if key in run.varied]
        ends.sort(key=lambda end: in_order(end[0]))
        axes.plot(*zip(*ends, strict=True), 'o')
        axes.set(xlabel=key, ylabel=f'{name}, {"median" if of_trials else "last"}')
    if over_seeds:
        scale = metric_table.scale(scored_name(drawn[0].headline, metric))
        means = [scale * (arm.mean(metric) or 0.0) for arm in over_seeds]
        deviations = [scale * (arm.deviation(metric) or 0.0) for arm in over_seeds]
        names = [arm.name for arm in over_seeds]
        others[-1].errorbar(means, names, xerr=deviations, fmt='o', capsize=3)
        others[-1].set(xlabel=f'{name}, mean and standard deviation over seeds')
    figure.savefig(path, dpi=120)
    return f'plot: {path}'


def points_of(run: Shown, metric: str) -> list[tuple[int, float]]:
    """(step, value for people) of a metric; of the median of trials, each evaluation's score."""
    if metric == 'median':
        score = str(run.headline.get('metric', '')).rpartition('/')[2]
        metric = f'finetune/{run.read.results.get("task")}/{score}'
    scale = metric_table.scale(metric)
    return [(step, scale * value) for step, value in run.read.series(metric)]


def end_of(run: Shown, metric: str, points: Sequence[tuple[int, float]]) -> float:
    """What a run reached, for people: the median of its trials, or the last of its points."""
    value = run.headline.get(metric)
    if value is None:
        return points[-1][1]
    return metric_table.scale(scored_name(run.headline, metric)) * float(value)


def in_order(value: str) -> tuple[float, str]:
    """A key that sorts numbers by size, and other values after them."""
    try:
        return float(value), ''
    except ValueError:
        return float('inf'), value
