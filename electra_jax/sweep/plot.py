"""A picture of what runs reached: over their steps, and in a row for each of their settings."""

import collections
import pathlib
import statistics
from collections.abc import Iterator, Mapping, Sequence

from electra_jax.core import metric_table
from electra_jax.sweep import arms
from electra_jax.sweep.shown import Shown, cell_of, scored_name

# Those of Okabe and Ito without the yellow, which is hard to see on white: colour-blind people can
# tell them apart. The numbers of colours and marks have no common factor: 63 pairs differ.
_COLOURS = ('#0072b2', '#d55e00', '#009e73', '#cc79a7', '#e69f00', '#56b4e9', '#000000')
_MARKS = ('o', 's', '^', 'D', 'v', 'P', 'X', '<', '>')
_WIDTH, _DPI = 10.7, 120  # inches; 1,284 pixels
_LINE = 40  # letters of a label; longer ones have a line for each setting
_VALUE = 32  # letters of a setting's value, the last of it


def draw(
    runs: Sequence[Shown], metric: str, path: pathlib.Path, settings: Sequence[arms.Arm] = ()
) -> str:
    """Draws the metric against the step; and what each combination of settings reached, in a row.

    A row has each seed's run; of a sweep over seeds, whose `settings` are given, also their mean
    with its deviation. The lines of the first panel have the colours and marks of the rows. Returns
    a line for the terminal.
    """
    try:
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure
    except ImportError:
        return 'no plot: type pip install matplotlib'
    points = {run.name: points_of(run, metric) for run in runs}
    drawn = [run for run in runs if points[run.name]]
    rows = combinations(drawn)
    lines = sum(1 + label.count('\n') for label in rows)
    figure = Figure(figsize=(_WIDTH, max(4, 1 + 0.24 * lines)), layout='constrained')
    FigureCanvasAgg(figure)
    over_steps, reached = figure.subplots(1, 2)
    is_median = metric == 'median'
    scores = dict.fromkeys(str(run.headline.get('metric', metric)) for run in runs)
    name = ', '.join(scores) if is_median else metric
    means = {arm.name: arm for arm in settings if arm.values.get(metric)}
    for number, (label, group) in enumerate(rows.items()):
        colour, mark = _COLOURS[number % len(_COLOURS)], _MARKS[number % len(_MARKS)]
        style = {'color': colour, 'marker': mark, 'markersize': 5}
        for run in group:
            steps, values = zip(*points[run.name], strict=True)
            every = max(1, len(steps) // 6)
            over_steps.plot(steps, values, linewidth=1, markevery=every, label=label, **style)
        ends = [end_of(run, metric, points[run.name]) for run in group]
        scale = metric_table.scale(scored_name(group[0].headline, metric))
        arm = means.get(group[0].setting)
        mean = scale * (arm.mean(metric) or 0.0) if arm else statistics.fmean(ends)
        deviation = scale * ((arm and arm.deviation(metric)) or 0.0)
        if len(ends) > 1:
            reached.plot(ends, [label] * len(ends), linestyle='', alpha=0.4, **style)
        noise = [deviation] if deviation else None
        reached.errorbar([mean], [label], xerr=noise, capsize=4, markeredgecolor='k', **style)
        reached.annotate(
            cell_of({**group[0].headline, metric: mean / scale}, metric), (1.01, label),
            xycoords=('axes fraction', 'data'), va='center', fontsize=8,
        )  # fmt: skip
    over_steps.set(xlabel='step', ylabel=name)
    what = 'median' if is_median else 'last'
    more = '\nmean and standard deviation over seeds' if means else ''
    reached.set(xlabel=f'{name}, {what} ({arms.direction(metric)} is better){more}')
    reached.set_ylim(len(rows) - 0.5, -0.5)  # the first row is the highest
    if rows:
        over_steps.set_title('each line has the colour and the mark of its row', fontsize=8)
    reached.tick_params(axis='y', labelsize=8)
    reached.grid(axis='y', alpha=0.4)
    reached.set_axisbelow(True)
    figure.savefig(path, dpi=_DPI)
    return f'plot: {path}'


def combinations(runs: Sequence[Shown]) -> dict[str, list[Shown]]:
    """The runs that differ in their seeds alone by a label, in the order of their settings."""
    groups = collections.defaultdict(list)
    for run in sorted(runs, key=_order):
        groups[run.setting or run.name].append(run)
    varied = {name: _without_seed(group[0]) for name, group in groups.items()}
    labels = ['\n'.join(_lines(settings)) for settings in varied.values()]
    if len(set(labels)) < len(labels) or '' in labels:  # recipes that differ, or workdirs
        labels = list(groups)
    return dict(zip(labels, groups.values(), strict=True))


def _order(run: Shown) -> list[tuple[str, tuple[float, str]]]:
    return [(key, in_order(value)) for key, value in run.varied.items()]


def _without_seed(run: Shown) -> Mapping[str, str]:
    if not run.setting:
        return run.varied
    return {key: value for key, value in run.varied.items() if key != 'seed'}


def _lines(settings: Mapping[str, str]) -> Iterator[str]:
    """A label: on one line, or one for each setting where that is too long."""
    last_words = [key.rpartition('.')[2] for key in settings]
    found = []
    for word, (key, value) in zip(last_words, settings.items(), strict=True):
        short = value if len(value) <= _VALUE else f'…{value[-_VALUE:]}'
        found.append(f'{word if last_words.count(word) == 1 else key}={short}')
    one = ', '.join(found)
    yield from [one] if len(one) <= _LINE else found


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
