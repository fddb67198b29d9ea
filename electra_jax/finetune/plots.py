"""Pictures of how a model did: what it takes for what, and how its scores lie.

Drawn with matplotlib's Agg, which needs no display, and without pyplot, which keeps state.
"""

import pathlib
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_MOST_CLASSES_WITH_NUMBERS = 20


def confusion(
    path: pathlib.Path,
    gold: Sequence[int],
    predicted: Sequence[int],
    labels: Sequence[str],
    title: str,
) -> None:
    """How many examples of each true class are taken for each class, as a PNG.

    Args:
      path: of the file.
      gold: classes as ids.
      predicted: likewise.
      labels: name of each class.
      title: of the picture.
    """
    C = len(labels)
    counts_CC = np.zeros((C, C), np.int64)
    np.add.at(counts_CC, (np.asarray(gold), np.asarray(predicted)), 1)
    shares_CC = counts_CC / np.maximum(counts_CC.sum(axis=1, keepdims=True), 1)
    size = min(3 + 0.45 * C, 20)
    figure, axes = _new(size + 1.2, size)
    image = axes.imshow(shares_CC, cmap='Blues', vmin=0, vmax=1)
    figure.colorbar(image, ax=axes, label='share of the true class')
    axes.set_xticks(range(C), labels, rotation=45, ha='right')
    axes.set_yticks(range(C), labels)
    axes.set(title=title, xlabel='predicted', ylabel='true')
    if C <= _MOST_CLASSES_WITH_NUMBERS:
        _number(axes, counts_CC, shares_CC)
    _save(figure, path)


def _number(axes: 'Axes', counts_CC: np.ndarray, shares_CC: np.ndarray) -> None:
    for (row, column), count in np.ndenumerate(counts_CC):
        colour = 'white' if shares_CC[row, column] > 0.5 else 'black'
        axes.text(column, row, f'{count:,}', ha='center', va='center', color=colour, fontsize=8)


def scatter(
    path: pathlib.Path, gold: Sequence[float], predicted: Sequence[float], title: str
) -> None:
    """Predicted against true scores, as a PNG."""
    figure, axes = _new(5, 5)
    axes.scatter(gold, predicted, s=8, alpha=0.4, linewidths=0)
    both = np.concatenate([np.asarray(gold, np.float64), np.asarray(predicted, np.float64)])
    ends = [float(both.min()), float(both.max())]
    axes.plot(ends, ends, color='grey', linewidth=0.8)
    axes.set(title=title, xlabel='true score', ylabel='predicted score')
    _save(figure, path)


def distribution(
    path: pathlib.Path,
    groups: dict[str, Sequence[float]],
    title: str,
    what: str,
    threshold: float | None = None,
) -> None:
    """How scores lie in each group, such as of questions with and without an answer, as a PNG.

    Args:
      path: of the file.
      groups: name -> scores; empty groups are left out.
      title: of the picture.
      what: the scores are.
      threshold: drawn as a line.
    """
    groups = {name: np.asarray(found, np.float64) for name, found in groups.items() if len(found)}
    figure, axes = _new(6, 4)
    if groups:
        every = np.concatenate(list(groups.values()))
        edges = np.histogram_bin_edges(every[np.isfinite(every)], bins=40)
        for name, found in groups.items():
            axes.hist(found, edges, alpha=0.55, label=f'{name} ({len(found):,})')
        axes.legend()
    if threshold is not None:
        axes.axvline(threshold, color='black', linewidth=0.8, linestyle='--')
    axes.set(title=title, xlabel=what, ylabel='examples')
    _save(figure, path)


def _new(width: float, height: float):
    # Here, because it takes half a second to import, and only the end of a run draws.
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure((width, height), layout='constrained')
    FigureCanvasAgg(figure)
    return figure, figure.add_subplot()


def _save(figure, path: pathlib.Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=120)
