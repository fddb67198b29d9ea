"""What runs reached, next to each other: a table in Markdown and in CSV."""

import csv
import pathlib
import statistics
from collections.abc import Mapping, Sequence
from typing import Any

from electra_jax.runtime import terminal
from electra_jax.sweep import arms, plot, rank
from electra_jax.sweep.arms import Arm
from electra_jax.sweep.shown import Shown, cell_of
from electra_jax.train import runs as workdirs

HELD_OUT = ('eval/', 'finetune/')
_COSTS = ('ms/step', 'GFLOP/step')
_SHOWN = (
    'eval/mlm_loss',
    'eval/disc_auc',
    'eval/restored_accuracy',
    'eval/selection_accuracy',
    'mean',
    'standard deviation',
    'standard error',
    'trivial',
    'trials',
    rank.TEXT,
    *_COSTS,
)


def summary(run: Shown, metric: str, columns: Sequence[str] | None) -> dict[str, Any]:
    """A run's row of the table: the last value of `metric` and of `columns`.

    In addition it has the training loss, where `columns` is None also every held-out metric; or,
    for fine-tuning, the spread of the headline over the trials, its error, and what is trivial.
    """
    row: dict[str, Any] = {'run': run.name}
    if run.outcome:
        row['outcome'] = run.outcome
    headline = run.headline
    if headline:
        names = ('metric', 'median', 'mean', 'standard_deviation', 'trials')
        row |= {name.replace('_', ' '): headline.get(name) for name in names} | run.of_rows
        asked = {
            name: run.read.last(name) for name in (metric, *(columns or ())) if name not in row
        }
        return row | {name: value for name, value in asked.items() if value is not None}
    lines = run.read.metrics
    row['step'] = lines[-1]['step'] if lines else None
    found = dict.fromkeys(name for line in lines for name in line if name.startswith(HELD_OUT))
    wanted = [metric, 'train/loss', *(found if columns is None else columns)]
    if 'eval/disc_auc' in wanted and 'eval/mlm_loss' in found:
        wanted.append('eval/mlm_loss')  # of the generator that it was reached against
    return row | {name: run.read.last(name) for name in wanted}


def costs(run: Shown) -> dict[str, float | None]:
    """The median time of a step, and its operations where config.json counts them.

    'GFLOP/step' follows the convention of MFU, matrix products alone; '(paper)' that of the
    ELECTRA paper's appendix.
    """
    rates = [rate for _, rate in run.read.series('speed/steps_per_second')]
    cost = {'ms/step': 1000 / statistics.median(rates) if rates else None}
    about = run.read.about
    flops = about.get('flops_per_token')
    if flops:
        tokens = about['config']['batch_size'] * about['config']['data']['row_length']
        cost['GFLOP/step'] = flops['mfu'] * tokens / 1e9
        cost['GFLOP/step (paper)'] = flops['paper'] * tokens / 1e9
    return cost


def table(
    runs: Sequence[Shown], metric: str, columns: Sequence[str] | None = None
) -> tuple[list[str], list[dict[str, Any]]]:
    """The columns and the rows; a row lacks the columns that its run knows nothing about."""
    reached, cost = [summary(run, metric, columns) for run in runs], [costs(run) for run in runs]
    texts = workdirs.held_out([run.read for run in runs])
    for run, row, text in zip(runs, reached, texts, strict=True):
        if text and not run.headline:
            row[rank.TEXT] = text
    names = dict.fromkeys(name for row in [*reached, *cost] for name in row)
    return list(names), [{**a, **b} for a, b in zip(reached, cost, strict=True)]


def narrow(
    names: Sequence[str],
    rows: Sequence[Mapping[str, Any]],
    metric: str,
    columns: Sequence[str] | None,
) -> list[str]:
    """The columns that are worth printing; table.csv has all.

    The run, the metric that ranks, and what was asked for; of the others those that tell runs
    apart, and a few with what runs reached.
    """
    asked = ['run', 'metric', metric, *(columns or ())]
    if columns is None:
        others = ['outcome', 'step', *_SHOWN]
    else:
        others = ['outcome', 'step', rank.TEXT, *_COSTS]
    if rank.generators(rows) and 'eval/disc_auc' in [*asked, *others]:
        asked.append('eval/mlm_loss')  # an AUC is never shown without it
    kept = [name for name in others if len(rows) < 2 or len({row.get(name) for row in rows}) > 1]
    if kept.count('outcome') and {row.get('outcome') for row in rows} == {'done'}:
        kept.remove('outcome')
    if kept.count('mean') and all(row.get('mean') == row.get('median') for row in rows):
        kept.remove('mean')  # of one trial each
    order = ['run', 'outcome', 'step', 'metric', metric, *names]
    return list(dict.fromkeys(n for n in order if n in names and n in [*asked, *kept]))


def write(
    runs: Sequence[Shown], metric: str | None, columns: Sequence[str] | None, folder: pathlib.Path
) -> str:
    """Writes table.md, table.csv and plot.png into `folder`; returns the text to print.

    `metric` ranks the runs (None: `rank.choose`).
    """
    folder.mkdir(parents=True, exist_ok=True)
    metric = metric or rank.choose(runs)
    names, rows = table(runs, metric, columns)
    settings = arms.of_sweep(runs, rows, names)  # of which one is best, not one seed
    top = arms.best(settings, rows, metric)
    best = None if settings else rank.best_row(rows, metric)
    printed = narrow(names, rows, metric, columns)
    cells = [[cell_of(row, name) for name in printed] for row in rows]
    if best is not None:
        cells[best] = [
            f'**{text}**' if name in ('run', metric) else text
            for name, text in zip(printed, cells[best], strict=True)
        ]
    found = [*rank.notes(printed, rows, metric, best), *rank.untaught(runs)]
    text = terminal.markdown(printed, cells)
    if settings:
        text += '\n' + arms.table(settings, printed, metric, rows[0], top)
        found = [*arms.notes(settings, metric, rows[0], top), *found]
    text += ''.join(f'\n{line}\n' for line in found)
    (folder / 'table.md').write_text(text)
    lines = _of_runs(runs, names, rows, best)
    if settings:
        lines[0] += ['seeds', 'standard deviation over seeds']
        for line in lines[1:]:  # a run is of one seed
            line += ['', '']
        lines += _of_settings(runs, names, settings, top, metric)
    with (folder / 'table.csv').open('w', newline='') as file:
        csv.writer(file).writerows(lines)
    picture = plot.draw(runs, metric, folder / 'plot.png', settings)
    return f'{text}\ntable: {folder / "table.md"} (and table.csv, with all columns)\n{picture}'


def _of_runs(
    runs: Sequence[Shown], names: Sequence[str], rows: Sequence[Mapping[str, Any]], best: int | None
) -> list[list[Any]]:
    """The header and a line for each run, as table.csv has them."""
    keys = _axes(runs)
    lines: list[list[Any]] = [[names[0], *keys, *names[1:], 'best']]
    for number, (run, row) in enumerate(zip(runs, rows, strict=True)):
        values = [*map(run.varied.get, keys), *map(row.get, names[1:])]
        lines.append([run.name, *values, 'yes' * (number == best)])
    return lines


def _of_settings(
    runs: Sequence[Shown],
    names: Sequence[str],
    settings: Sequence[Arm],
    top: Arm | None,
    metric: str,
) -> list[list[Any]]:
    """A line for each setting that has several seeds: its means, and the noise of its metric."""
    lines = []
    for arm in settings:
        shared = {**next(run.varied for run in runs if run.setting == arm.name), 'seed': None}
        values = [*map(shared.get, _axes(runs)), *map(arm.mean, names[1:]), 'yes' * (arm is top)]
        lines.append([arm.name, *values, arm.seeds, arm.deviation(metric)])
    return lines


def _axes(runs: Sequence[Shown]) -> list[str]:
    """The settings that vary."""
    return list(dict.fromkeys(key for run in runs for key in run.varied))
