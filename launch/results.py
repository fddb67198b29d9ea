"""What runs reached, side by side: a table (Markdown and CSV) and a plot.

python launch/results.py runs/one runs/two [--metric=train/loss] [--folder=runs/compared]
"""

import argparse
import contextlib
import csv
import json
import pathlib
import re
import statistics
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple


class Shown(NamedTuple):
    """A run as the table shows it."""

    name: str
    folder: pathlib.Path  # its workdir
    varied: Mapping[str, str] = {}  # the settings in which it differs from the others
    outcome: str | None = None


def read_metrics(folder: pathlib.Path) -> list[dict[str, Any]]:
    """The lines of metrics.jsonl, without what is still being written or was torn by a crash."""
    path = folder / 'metrics.jsonl'
    found = []
    for line in path.read_text().splitlines() if path.exists() else []:
        with contextlib.suppress(ValueError):
            found.append(json.loads(line))
    return found


def last_step(folder: pathlib.Path) -> int:
    """Of the newest line of metrics.jsonl, reading no more than its end; 0 before the first."""
    path = folder / 'metrics.jsonl'
    if not path.exists():
        return 0
    with path.open('rb') as file:
        file.seek(max(path.stat().st_size - 8192, 0))
        found = re.findall(rb'^{"step": (\d+)', file.read(), re.MULTILINE)
    return int(found[-1]) if found else 0


def read_about(folder: pathlib.Path) -> dict[str, Any]:
    """What config.json says of a run; nothing where it has not begun."""
    path = folder / 'config.json'
    return json.loads(path.read_text()) if path.exists() else {}


def series(lines: Sequence[Mapping[str, Any]], name: str) -> list[tuple[int, float]]:
    """(step, value) of a metric, where it is a number."""
    return [(line['step'], line[name]) for line in lines if line.get(name) is not None]


def summary(run: Shown, metric: str, columns: Sequence[str] | None) -> dict[str, Any]:
    """A run's row of the table; of fine-tuning the spread of its headline over the trials.

    Args:
        run: whose workdir is read.
        metric: whose first and last value are shown.
        columns: further metrics, the last value of each; None: every held-out one.
    """
    row: dict[str, Any] = {'run': run.name}
    if run.outcome:
        row['outcome'] = run.outcome
    trials = run.folder / 'results.json'
    if trials.exists():
        headline = json.loads(trials.read_text())['headline']
        shown = ('metric', 'median', 'mean', 'standard_deviation', 'trials')
        return row | {name.replace('_', ' '): headline.get(name) for name in shown}
    lines = read_metrics(run.folder)
    values = series(lines, metric)
    row['step'] = lines[-1]['step'] if lines else None
    row[f'{metric} first'] = values[0][1] if values else None
    row[f'{metric} last'] = values[-1][1] if values else None
    scores = ('eval/', 'finetune/')
    held_out = dict.fromkeys(name for line in lines for name in line if name.startswith(scores))
    for name in held_out if columns is None else columns:
        row[name] = next((value for _, value in reversed(series(lines, name))), None)
    return row


def costs(run: Shown) -> dict[str, float | None]:
    """What a step takes: its median time, and its operations where config.json counts them.

    'GFLOP/step' is the convention of MFU, matrix products alone; '(paper)' that of the ELECTRA
    paper's appendix.
    """
    rates = [rate for _, rate in series(read_metrics(run.folder), 'speed/steps_per_second')]
    found = {'ms/step': 1000 / statistics.median(rates) if rates else None}
    about = read_about(run.folder)
    flops = about.get('flops_per_token')
    if flops:
        tokens = about['config']['batch_size'] * about['config']['data']['row_length']
        found['GFLOP/step'] = flops['mfu'] * tokens / 1e9
        found['GFLOP/step (paper)'] = flops['paper'] * tokens / 1e9
    return found


def table(
    runs: Sequence[Shown], metric: str, columns: Sequence[str] | None = None
) -> tuple[list[str], list[dict[str, Any]]]:
    """The columns and the rows; a row lacks the columns that its run knows nothing of."""
    reached, cost = [summary(run, metric, columns) for run in runs], [costs(run) for run in runs]
    names = dict.fromkeys(name for row in [*reached, *cost] for name in row)
    return list(names), [{**a, **b} for a, b in zip(reached, cost, strict=True)]


def markdown(columns: Sequence[str], rows: Sequence[Mapping[str, Any]]) -> str:
    """The table as Markdown."""
    rule = ['---' if name in ('run', 'outcome') else '---:' for name in columns]
    lines = [columns, rule, *([cell(row.get(name)) for name in columns] for row in rows)]
    return ''.join(f'| {" | ".join(line)} |\n' for line in lines)


def cell(value: Any) -> str:
    """A value as people read it.

    >>> cell(0.73251), cell(1234567.0), cell(200), cell(None)
    ('0.7325', '1,234,567', '200', '')
    """
    if isinstance(value, float):
        return f'{value:,.0f}' if abs(value) >= 1000 else f'{value:.4g}'
    return '' if value is None else str(value)


def plot(runs: Sequence[Shown], metric: str, path: pathlib.Path) -> str:
    """Draws the metric against the step, and its last value against each setting that varies.

    Returns:
        A line for the terminal: where the plot is, or what to install for one.
    """
    try:
        import matplotlib
    except ImportError:
        return 'no plot: type pip install matplotlib'
    matplotlib.use('Agg')
    from matplotlib import pyplot

    found = {run.name: series(read_metrics(run.folder), metric) for run in runs}
    drawn = [run for run in runs if found[run.name]]
    keys = list(dict.fromkeys(key for run in drawn for key in run.varied))
    figure, axes = pyplot.subplots(1, 1 + len(keys), figsize=(6 + 4 * len(keys), 4), squeeze=False)
    for run in drawn:
        axes[0, 0].plot(*zip(*found[run.name], strict=True), marker='.', label=run.name)
    axes[0, 0].set(xlabel='step', ylabel=metric)
    if drawn:
        axes[0, 0].legend(fontsize=7)
    for axis, key in zip(axes[0, 1:], keys, strict=True):
        points = [(run.varied[key], found[run.name][-1][1]) for run in drawn if key in run.varied]
        axis.plot(*zip(*sorted(points, key=in_order), strict=True), 'o')
        axis.set(xlabel=key, ylabel=f'{metric}, last')
    figure.tight_layout()
    figure.savefig(path, dpi=120)
    pyplot.close(figure)
    return f'plot: {path}'


def in_order(point: tuple[str, float]) -> tuple[float, str]:
    """Numbers by size, and other values after them."""
    try:
        return float(point[0]), ''
    except ValueError:
        return float('inf'), point[0]


def write(
    runs: Sequence[Shown], metric: str, columns: Sequence[str] | None, folder: pathlib.Path
) -> str:
    """Writes table.md, table.csv and plot.png into `folder`; returns what to say of them."""
    folder.mkdir(parents=True, exist_ok=True)
    names, rows = table(runs, metric, columns)
    text = markdown(names, rows)
    (folder / 'table.md').write_text(text)
    keys = list(dict.fromkeys(key for run in runs for key in run.varied))
    with (folder / 'table.csv').open('w', newline='') as file:
        writer = csv.writer(file)
        writer.writerow([names[0], *keys, *names[1:]])
        for run, row in zip(runs, rows, strict=True):
            writer.writerow([run.name, *map(run.varied.get, keys), *map(row.get, names[1:])])
    drawn = plot(runs, metric, folder / 'plot.png')
    return f'{text}\ntable: {folder / "table.md"} (and table.csv)\n{drawn}'


def main() -> None:
    """Reads the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument('workdirs', nargs='+', type=pathlib.Path, help='folders of runs')
    parser.add_argument('--metric', default='train/loss', help='compared (default: %(default)s)')
    parser.add_argument('--columns', help='further metrics, with commas; default: held-out ones')
    parser.add_argument('--folder', type=pathlib.Path, default=pathlib.Path('runs/compared'))
    args = parser.parse_args()
    for folder in args.workdirs:
        if not (folder / 'metrics.jsonl').exists():
            parser.error(f'{folder} is not the workdir of a run: it has no metrics.jsonl')
    runs = [Shown(str(folder), folder) for folder in args.workdirs]
    columns = args.columns.split(',') if args.columns else None
    print(write(runs, args.metric, columns, args.folder))


if __name__ == '__main__':
    main()
