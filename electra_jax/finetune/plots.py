"""Pictures of how a model did: which classes it confuses, and how its scores are distributed.

Drawn with matplotlib's Agg, which needs no display, and without pyplot, which keeps state.
"""

import pathlib
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

_MOST_CLASSES_WITH_NUMBERS = 20


def confusion(
    path: pathlib.Path,
    gold: Sequence[int],
    predicted: Sequence[int],
    labels: Sequence[str],
    title: str,
) -> None:
    """Draws how many examples of each true class (its number in `labels`) are predicted as each."""
    C = len(labels)
    counts_CC = np.zeros((C, C), np.int64)
    np.add.at(counts_CC, (np.asarray(gold), np.asarray(predicted)), 1)
    shares_CC = counts_CC / np.maximum(counts_CC.sum(axis=1, keepdims=True), 1)
    size = min(3 + 0.45 * C, 20)
    figure, axes = _figure(size + 1.2, size)
    image = axes.imshow(shares_CC, cmap='Blues', vmin=0, vmax=1)
    figure.colorbar(image, ax=axes, label='share of the true class')
    axes.set_xticks(range(C), labels, rotation=45, ha='right')
    axes.set_yticks(range(C), labels)
    axes.set(title=title, xlabel='predicted', ylabel='true')
    if C <= _MOST_CLASSES_WITH_NUMBERS:
        for (row, column), count in np.ndenumerate(counts_CC):
            color = 'white' if shares_CC[row, column] > 0.5 else 'black'
            axes.text(column, row, f'{count:,}', ha='center', va='center', color=color, fontsize=8)
    _save(figure, path)


def scatter(
    path: pathlib.Path, gold: Sequence[float], predicted: Sequence[float], title: str
) -> None:
    """Draws predicted against true scores, as a PNG."""
    figure, axes = _figure(5, 5)
    axes.scatter(gold, predicted, s=8, alpha=0.4, linewidths=0)
    both = np.concatenate([np.asarray(gold, np.float64), np.asarray(predicted, np.float64)])
    ends = [float(both.min()), float(both.max())]
    axes.plot(ends, ends, color='grey', linewidth=0.8)
    axes.set(title=title, xlabel='true score', ylabel='predicted score')
    _save(figure, path)


def distribution(
    path: pathlib.Path,
    groups: Mapping[str, Sequence[float]],
    title: str,
    quantity: str,
    threshold: float | None = None,
) -> None:
    """Draws how scores are distributed in groups, such as questions with and without an answer.

    Empty groups are left out, and a threshold is drawn as a line.
    """
    arrays = {name: np.asarray(scores, np.float64) for name, scores in groups.items() if scores}
    figure, axes = _figure(6, 4)
    if arrays:
        every = np.concatenate(list(arrays.values()))
        edges = np.histogram_bin_edges(every[np.isfinite(every)], bins=40)
        for name, scores in arrays.items():
            axes.hist(scores, edges, alpha=0.55, label=f'{name} ({len(scores):,})')
        axes.legend()
    if threshold is not None:
        axes.axvline(threshold, color='black', linewidth=0.8, linestyle='--')
    axes.set(title=title, xlabel=quantity, ylabel='examples')
    _save(figure, path)


def _figure(width: float, height: float) -> tuple[Any, Any]:
    # Imported here, because it takes half a second, and only the end of a run draws.
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure((width, height), layout='constrained')
    FigureCanvasAgg(figure)
    return figure, figure.add_subplot()


def _save(figure: Any, path: pathlib.Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=120)
