"""What runs reached: the trials of a task, and several runs next to one another."""

from collections.abc import Sequence

from electra_jax.config import fields
from electra_jax.config.settings import Config
from electra_jax.core import metric_table
from electra_jax.core.metric_table import METRICS
from electra_jax.report.cells import NOTHING, Cell, Table, number, score, setting
from electra_jax.report.differences import DERIVED, HIDDEN
from electra_jax.train.runs import OTHER_TEXTS, Run, held_out, within


def results(run: Run) -> Table | None:
    """What the trials of a fine-tuning run reached."""
    summary, trials = run.results.get('summary'), run.results.get('trials')
    if not isinstance(summary, dict) or not isinstance(trials, list):
        return None
    easy = within(run.results, 'trivial.metrics')
    rows, error = [], 'standard_error'
    has_error = any(found.get(error) is not None for found in summary.values())
    for name, found in summary.items():
        values = [found.get(key) for key in ('median', 'mean', 'standard_deviation')]
        values += [within(trial, 'metrics').get(name) for trial in trials]
        values += [easy.get(name)] if isinstance(easy, dict) else []
        key = metric_table.key_of(f'finetune/{name}')
        note = METRICS[key].meaning if key else ''
        if has_error:
            values.insert(3, found.get(error))
        rows.append([Cell(name, note), *(Cell(score(name, value)) for value in values)])
    columns = ['metric', 'median', 'mean', 'standard deviation']
    columns += ['standard error, by rows'] if has_error else []
    columns += [f'seed {trial.get("seed")}' for trial in trials]
    columns += ['trivial answer'] if isinstance(easy, dict) else []
    return Table(
        f'Fine-tuning: {run.results.get("task")}',
        columns,
        rows,
        'Shares and correlations are times 100.',
    )


def _headline(run: Run) -> Cell:
    name, median = (within(run.results, f'headline.{key}') for key in ('metric', 'median'))
    return Cell(f'{name} {score(name, median)}' if isinstance(name, str) else NOTHING)


def comparison(runs: Sequence[Run]) -> Table:
    """A row for each run: the settings that tell runs apart, and what was reached."""
    flat = [{name: run.setting(name) for name in fields.leaves(Config)} for run in runs]
    varied = [
        name for name in fields.leaves(Config)
        if name not in (*HIDDEN, *DERIVED) and len({setting(one[name]) for one in flat}) > 1
    ]  # fmt: skip
    metrics = [
        name
        for name in ('eval/mlm_loss', 'eval/disc_auc', 'eval/restored_accuracy', 'train/loss',
                     'speed/tokens_per_second')
        if any(run.last(name) is not None for run in runs)
    ]  # fmt: skip
    rows = []
    for run, settings in zip(runs, flat, strict=True):
        cells = [Cell(run.name), *(Cell(setting(settings[name])) for name in varied)]
        cells.append(Cell(f'{run.last_step:,}'))
        if any(one.results for one in runs):
            cells.append(_headline(run))
        rows.append([*cells, *(Cell(number(run.last(name))) for name in metrics)])
    columns = ['run', *varied, 'steps']
    columns += ['task, median'] if any(run.results for run in runs) else []
    note = ''
    if len({text for text in held_out(runs) if text}) > 1:
        note = f'{OTHER_TEXTS[0].upper()}{OTHER_TEXTS[1:]}.'
    elif 'eval/disc_auc' in metrics:
        note = (
            'Each AUC was reached against the generator of its own run: values at different '
            'eval/mlm_loss do not compare discriminators; fine-tuning does.'
        )
    return Table('Runs', [*columns, *metrics], rows, note)
