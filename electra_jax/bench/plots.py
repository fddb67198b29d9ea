"""What a token costs along the axes of a sweep, drawn."""

import pathlib
from collections.abc import Sequence

from electra_jax.bench import tables
from electra_jax.bench.records import Record


def draw(records: Sequence[Record], axes: Sequence[str], path: pathlib.Path) -> None:
    """One picture: time per token against each axis, and compile time against depth.

    Args:
        records: of a sweep.
        axes: names of the settings that were varied.
        path: of the PNG.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    panels = [(axis, 'time per token, us', tables.cost) for axis in axes]
    if 'model.num_layers' in axes:
        panels.append(('model.num_layers', 'compile time, s', lambda r: r['compile_seconds']))
    figure = Figure(figsize=(5 * len(panels), 4), layout='tight')
    FigureCanvasAgg(figure)
    places = figure.subplots(1, len(panels), squeeze=False)
    for panel, (axis, label, value) in zip(places[0], panels, strict=True):
        for name, line in tables.series(records, axis).items():
            ticks = [record['varied'][axis] for record in line]
            panel.plot(ticks, [value(record) for record in line], 'o-', label=name or 'electra_jax')
            if value is tables.cost and all(record['peer'] for record in line):
                theirs = [1e6 / record['peer_tokens_per_second'] for record in line]
                panel.plot(ticks, theirs, 's--', label=f'{name} {line[0]["peer"]}'.strip())
        panel.set(xlabel=axis, ylabel=label)
        panel.set_ylim(bottom=0)
        panel.legend(fontsize=7)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=120)
