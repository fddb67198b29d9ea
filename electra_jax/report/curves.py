"""Which curves of runs the page draws, each with its unit and its explanation."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from electra_jax.core import metric_table
from electra_jax.core.metric_table import METRICS
from electra_jax.report.reference import Band, Reference, thinned
from electra_jax.train.runs import Run

_POINTS = 300  # of a curve, at most


class Panel(NamedTuple):
    """One pair of axes: metrics of one unit."""

    title: str
    metrics: tuple[str, ...]
    level: str | float | None = None  # a metric whose last value, or a number, to compare with
    level_name: str = ''
    log: bool = False  # whether the vertical axis is logarithmic


# In the order of the page; a section or panel that no run has anything for is left out.
SECTIONS: dict[str, tuple[Panel, ...]] = {
    'Learning': (
        Panel(
            'Generator loss', ('train/mlm_loss', 'eval/mlm_loss'),
            'eval/unigram_loss', 'word frequencies alone',
        ),
        Panel('Discriminator loss', ('train/disc_loss', 'eval/disc_loss')),
        Panel('Discriminator AUC', ('eval/disc_auc',), 0.5, 'guessing'),
        Panel('Replaced tokens', ('train/fake_rate', 'eval/fake_rate')),
        Panel('Main network loss', ('train/restored_loss', 'eval/restored_loss')),
        Panel('Main network accuracy', ('eval/restored_accuracy',)),
        Panel('Selection loss', ('train/selection_loss', 'eval/selection_loss')),
        Panel('Selection accuracy', ('eval/selection_accuracy',)),
        Panel('Generator accuracy', ('eval/mlm_accuracy',)),
        Panel('Samples that are right', ('eval/sampled_accuracy',)),
        Panel('Total loss', ('train/loss',)),
    ),
    'Optimization': (
        Panel('Gradient norm', ('train/grad_norm',), log=True),
        Panel('Update norm', ('train/update_norm',), log=True),
        Panel('Learning rate', ('train/learning_rate',)),
    ),
    'Speed': (
        Panel('Tokens per second', ('speed/tokens_per_second',)),
        Panel('Waiting for text and for devices', ('speed/input_share', 'speed/device_share')),
        Panel('Goodput', ('speed/goodput', 'speed/run_goodput')),
        Panel('Model FLOPs utilization', ('speed/mfu',)),
    ),
}  # fmt: skip
# Named where they begin to mean something: `_start_of`.
_OF_THE_DISCRIMINATOR = ('Discriminator loss', 'Discriminator AUC')
# How the curves of a panel are called.
_LABELS = {
    'train': 'training',
    'eval': 'held out',
    'speed/input_share': 'waiting for text',
    'speed/device_share': 'waiting for devices',
    'speed/goodput': 'this start',
    'speed/run_goodput': 'all starts',
}


def sections(runs: Sequence[Run], reference: Reference) -> list[dict[str, Any]]:
    """The charts of each section as the script draws them."""
    bands = reference.as_long_as(runs[0].setting('total_steps'))
    scores = {name for run in runs for line in run.metrics for name in line}
    scored = sorted(name for name in scores if name.startswith('finetune/'))
    tasks = tuple(Panel(name.removeprefix('finetune/'), (name,)) for name in scored)
    found = []
    for title, panels in {**SECTIONS, 'Tasks': tasks}.items():
        charts = [chart for panel in panels if (chart := _chart(panel, runs, bands))]
        if charts:
            found.append({'title': title, 'charts': charts})
    return found


def _chart(
    panel: Panel, runs: Sequence[Run], measured: Mapping[str, Band]
) -> dict[str, Any] | None:
    curves: list[dict[str, Any]] = []
    for number, run in enumerate(runs):
        for name in panel.metrics:
            points = _points(run, name)
            # A run of one start has the same goodput twice.
            is_new = all((one['run'], one['y']) != (number, points.get('y')) for one in curves)
            if points and is_new:
                curves.append({'run': number, **_looks(panel, name), **points})
    if all(len(curve['x']) < 2 for curve in curves):
        return None
    keys = [key for name in panel.metrics if (key := metric_table.key_of(name))]
    bands = [measured[name] for name in reversed(panel.metrics) if name in measured]
    return {
        'title': panel.title,
        'unit': metric_table.shown_unit(panel.metrics[0]),
        'log': panel.log,
        'meaning': [[key, METRICS[key].meaning] for key in keys],
        'curves': curves,
        'level': _level(panel, runs),
        'start': _start_of(runs) if panel.title in _OF_THE_DISCRIMINATOR else None,
        'reference': bands[0]._asdict() if bands else None,
    }


def _looks(panel: Panel, name: str) -> dict[str, Any]:
    """What a curve is called, and how it is drawn: held-out text has one colour everywhere."""
    group = name.partition('/')[0]
    is_held_out = group in ('eval', 'finetune')
    kind = 1 if is_held_out else panel.metrics.index(name)
    label = _LABELS.get(name) or _LABELS.get(group) or panel.title.lower()
    return {'kind': kind, 'label': label, 'dots': is_held_out}


def _points(run: Run, name: str) -> dict[str, Any]:
    """A curve: steps, values, and the minutes that the run had taken; {}: there is none."""
    points = thinned(run.series(name), _POINTS)
    if not points:
        return {}
    steps, values = zip(*points, strict=True)
    scale = metric_table.scale(name)
    shown = [float(f'{scale * value:.5g}') for value in values]
    curve = {'x': [round(step, 1) for step in steps], 'y': shown}
    elapsed = np.array(run.series('speed/elapsed'))
    if len(elapsed) > 1:
        minutes = np.interp(steps, elapsed[:, 0], elapsed[:, 1]) / 60
        curve['minutes'] = [round(float(minute), 2) for minute in minutes]
    return curve


def _start_of(runs: Sequence[Run]) -> int | None:
    """The step after which the discriminator is trained, of runs in two stages."""
    steps = {run.first_stage for run in runs}
    return (steps.pop() or None) if len(steps) == 1 else None


def _level(panel: Panel, runs: Sequence[Run]) -> dict[str, Any] | None:
    value = panel.level
    if isinstance(value, str):
        levels = {run.last(value) for run in runs} - {None}
        value = levels.pop() if len(levels) == 1 else None  # runs on different text have others
    return None if value is None else {'value': value, 'name': panel.level_name}
