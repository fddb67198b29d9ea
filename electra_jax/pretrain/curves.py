"""A picture of a run of pre-training: its losses, its held-out scores, its learning rate.

Drawn with matplotlib's Agg, which needs no display, and without pyplot, which keeps state.
"""

import io
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from etils import epath

from electra_jax.core.errors import first_line
from electra_jax.core.metric_table import METRICS
from electra_jax.train import metric_lines

FILE = 'curves.png'  # in the workdir


class Panel(NamedTuple):
    """One pair of axes: a number in training, on held-out text, or both."""

    title: str
    train: str | None
    held_out: str | None
    level: str | float | None = None  # a metric, or a number, to compare with
    level_name: str = ''


_PANELS = (
    Panel('generator', 'train/mlm_loss', 'eval/mlm_loss', 'eval/unigram_loss', 'unigram_loss'),
    Panel('discriminator', 'train/disc_loss', 'eval/disc_loss'),
    Panel('main network', 'train/restored_loss', 'eval/restored_loss'),
    Panel('discriminator', None, 'eval/disc_auc', 0.5, 'guessing'),
    Panel('main network', None, 'eval/restored_accuracy'),
    Panel('schedule', 'train/learning_rate', None),
)
# Blue and vermilion of Okabe and Ito, which colour-blind people tell apart; the marks differ, too.
_TRAIN, _HELD_OUT, _LEVEL = '#0072B2', '#D55E00', '0.45'
_POINTS = 400  # of a training curve, at most


def write(folder: epath.Path, title: str) -> str:
    """Draws the run in a workdir; returns a line about the picture for the terminal."""
    try:
        picture = draw(metric_lines.read(folder), title)
        (folder / FILE).write_bytes(picture)
    except ImportError:
        return f'no {FILE}: drawing it needs matplotlib (extra plots)'
    except Exception as error:  # a full disk; a bucket's errors are no OSError
        return f'no {FILE}: {first_line(error)}'
    return f'curves: {folder / FILE}'


def draw(lines: Sequence[Mapping[str, Any]], title: str) -> bytes:
    """The picture as a PNG, from the lines of metrics.jsonl.

    Raises:
        ImportError: matplotlib is not installed.
        ValueError: the lines have no metric that is drawn.
    """
    # Imported here, because it takes half a second, and only the end of a run draws.
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    written = {name for line in lines for name in line}
    panels = [panel for panel in _PANELS if {panel.train, panel.held_out} & written]
    if not panels:
        raise ValueError(f'{metric_lines.FILE} has nothing that is drawn')
    inches = 3.6 * len(panels)
    figure = Figure((inches, 3.2))
    FigureCanvasAgg(figure)
    for number, panel in enumerate(panels, 1):
        _draw(figure.add_subplot(1, len(panels), number), panel, lines)
    figure.suptitle(title, fontsize=10)
    # All text has one size, so margins are known; matplotlib's layouts would draw it all twice.
    figure.subplots_adjust(
        left=0.65 / inches, right=1 - 0.2 / inches, bottom=0.16, top=0.82, wspace=0.3
    )
    content = io.BytesIO()
    figure.savefig(content, dpi=120, format='png')
    return content.getvalue()


def _draw(axes: Any, panel: Panel, lines: Sequence[Mapping[str, Any]]) -> None:
    drawn = [
        (name, metric_lines.series(lines, name)) for name in (panel.train, panel.held_out) if name
    ]
    for name, points in drawn:
        if not points:
            continue
        is_train = name == panel.train
        steps, values = zip(*(thinned(points, _POINTS) if is_train else points), strict=True)
        axes.plot(
            steps, values, '-' if is_train else 'o-', color=_TRAIN if is_train else _HELD_OUT,
            label='training' if is_train else 'held out', linewidth=1.3, markersize=3.5,
        )  # fmt: skip
    level = panel.level
    if isinstance(level, str):
        level = metric_lines.last(lines, level)
    if level is not None:
        axes.axhline(level, color=_LEVEL, linestyle='--', linewidth=1, label=panel.level_name)
    name = panel.held_out or panel.train or ''
    unit = METRICS[name].unit
    short = name.rpartition('/')[2]
    axes.set_title(panel.title, fontsize=9)
    axes.set_xlim(left=0)
    axes.set_xlabel('step', fontsize=8)
    axes.set_ylabel(f'{short} ({unit})' if unit else short, fontsize=8)
    axes.tick_params(labelsize=7)
    axes.xaxis.set_major_locator(_few_ticks())
    axes.xaxis.set_major_formatter('{x:,.0f}')
    axes.spines[['top', 'right']].set_visible(False)
    axes.grid(color='0.92', linewidth=0.6)
    if len(drawn) > 1 or level is not None:
        axes.legend(fontsize=7, frameon=False)


def _few_ticks() -> Any:
    from matplotlib.ticker import MaxNLocator

    return MaxNLocator(5, integer=True)


def thinned(points: Sequence[tuple[int, float]], most: int) -> list[tuple[float, float]]:
    """Means of neighbouring points, so that at most so many are left.

    >>> thinned([(1, 2.0), (2, 4.0)], most=2), thinned([(1, 2.0), (2, 4.0)], most=1)
    ([(1.0, 2.0), (2.0, 4.0)], [(1.5, 3.0)])
    """
    size = -(-len(points) // most) or 1
    groups = (points[at : at + size] for at in range(0, len(points), size))
    return [(float(x), float(y)) for x, y in (np.mean(group, axis=0) for group in groups)]
