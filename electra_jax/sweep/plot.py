"""Panels of lines, drawn side by side into one picture."""

import pathlib
from collections.abc import Sequence
from typing import Any, NamedTuple


class Line(NamedTuple):
    """A line of a panel; its values of x are numbers or words."""

    label: str
    x: Sequence[Any]
    y: Sequence[float]
    style: str = 'o-'


class Panel(NamedTuple):
    """Lines over the same axes; from_zero: the vertical one begins there."""

    xlabel: str
    ylabel: str
    lines: Sequence[Line]
    from_zero: bool = False


def draw(panels: Sequence[Panel], path: pathlib.Path) -> str:
    """Draws panels side by side into a PNG file.

    Returns:
        A line for the terminal: where the picture is, or what to install to have one.
    """
    try:
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure
    except ImportError:
        return 'no plot: type pip install matplotlib'
    figure = Figure(figsize=(5 * len(panels), 4), layout='tight')
    FigureCanvasAgg(figure)
    for axes, panel in zip(figure.subplots(1, len(panels), squeeze=False)[0], panels, strict=True):
        for line in panel.lines:
            axes.plot(line.x, line.y, line.style, label=line.label)
        axes.set(xlabel=panel.xlabel, ylabel=panel.ylabel)
        if panel.from_zero:
            axes.set_ylim(bottom=0)
        if any(line.label for line in panel.lines):
            axes.legend(fontsize=7)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=120)
    return f'plot: {path}'
