"""What the page tells of runs in numbers and words: results, settings, text, hardware."""

import json
import shlex
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from electra_jax.config import fields, resolve
from electra_jax.config.recipe import IN_PLACE_OF, parse_setting, recipe
from electra_jax.config.settings import LEFT_TO_DEVICES, Config
from electra_jax.core import metric_table
from electra_jax.core.complaints import counted
from electra_jax.core.errors import UserError
from electra_jax.core.metric_table import METRICS
from electra_jax.report.runs import Run, within
from electra_jax.runtime.terminal import duration
from electra_jax.train.clock import goodput

# Settings that follow from others or from the devices where nobody has typed them.
_DERIVED = ('model.generator', *(f'model.{name}' for name in LEFT_TO_DEVICES))
_HIDDEN = ('job', 'remark')
_BIG = ((1e18, 'quintillion'), (1e15, 'quadrillion'), (1e12, 'trillion'), (1e9, 'billion'),
        (1e6, 'million'))  # fmt: skip


NOTHING = '\N{EN DASH}'  # in a table, where there is no value


class Cell(NamedTuple):
    """A value with what explains it, if anything does."""

    text: str
    note: str = ''


class Table(NamedTuple):
    """A table with a heading for each column; the first column names the row."""

    title: str
    columns: list[str]
    rows: list[list[Cell]]
    about: str = ''


def number(value: Any) -> str:
    """A number as people read it.

    >>> number(0.731234), number(1234567), number(3.2e9), number(2e-05)
    ('0.7312', '1.23 million', '3.2 billion', '2e-05')
    """
    if isinstance(value, bool) or not isinstance(value, int | float):
        return NOTHING if value is None else str(value)
    for size, word in _BIG:
        if abs(value) >= size and value < 1e21:
            return f'{value / size:.3g} {word}'
    if isinstance(value, int) or abs(value) >= 1000:
        return f'{value:,.0f}'
    return f'{value:.4g}'


# ---------------------------------------------------------------------------------------------
# One run


def tiles(run: Run) -> list[tuple[str, Cell]]:
    """The few numbers that come first: what each is called, its value, a note."""
    total = run.setting('total_steps')
    trials = run.setting('trials') or 1
    of_all = f'of {total * trials:,}' if isinstance(total, int) else ''
    found = [('Training steps', Cell(f'{run.last_step:,}', of_all))]
    if (name := within(run.results, 'headline.metric')) is not None:
        note = f'median of {counted(within(run.results, "headline.trials") or 1, "trials")}'
        value = _score(str(name), within(run.results, 'headline.median'))
        found.append((str(name), Cell(value, note)))
    loss, level = run.last('eval/mlm_loss'), run.last('eval/unigram_loss')
    if loss is not None:
        note = f'nats; word frequencies alone {number(level)}' if level else 'nats a masked token'
        found.append(('Held-out generator loss', Cell(number(loss), note)))
    if (auc := run.last('eval/disc_auc')) is not None:
        first = run.setting('objective.generator_steps') or 0
        note = f'not trained until step {first:,}' if run.last_step <= first else '0.5 is guessing'
        found.append(('Held-out discriminator AUC', Cell(number(auc), note)))
    if (seconds := run.last('speed/elapsed')) is not None:
        note = f'{goodput(run.starts):.1%} of it in steps (goodput)' if run.starts else ''
        seconds = sum(start.seconds for start in run.starts) or seconds
        found.append(('Time', Cell(duration(seconds), note)))
    rates = sorted(rate for _, rate in run.series('speed/tokens_per_second'))
    if rates:
        found.append(('Tokens per second', Cell(number(rates[len(rates) // 2]), 'median')))
    return found


def noticed(run: Run) -> list[str]:
    """What the run noticed about its health, a sentence each."""
    lines = []
    for name in sorted({name for line in run.metrics for name in line if 'health/' in name}):
        points = run.series(name)
        key = metric_table.key_of(name)
        if points and key:
            first, last = points[0][0], points[-1][0]
            when = f'at step {first:,}' if first == last else f'from step {first:,} to {last:,}'
            times = counted(len(points), 'times')
            lines.append(f'{name.partition("/")[2]}, {times}, {when}: {METRICS[key].meaning}')
    loss, level = run.last('eval/mlm_loss'), run.last('eval/unigram_loss')
    if loss is not None and level is not None and loss >= level:
        lines.append(
            f'eval/mlm_loss ({number(loss)}) is not below eval/unigram_loss ({number(level)}): the '
            'generator has learned no more than how frequent words are'
        )
    return lines


def held_out(run: Run) -> Table | None:
    """The newest value of each held-out metric, with its meaning."""
    names = dict.fromkeys(name for line in run.metrics for name in line if 'eval/' in name)
    rows = []
    for name in names:
        metric = METRICS.get(name)
        value = Cell(number(run.last(name)), metric.unit if metric else '')
        rows.append([Cell(name), value, Cell(metric.meaning if metric else '')])
    return (
        Table('Held-out text, newest evaluation', ['metric', 'value', 'meaning'], rows)
        if rows
        else None
    )


def about(run: Run) -> Table | None:
    """Model, devices, text, work and versions of a run."""
    stored = run.about
    rows = [
        ('Model', _model(run)),
        ('Devices', Cell(str(stored.get('devices') or ''))),
        *_texts(stored.get('corpora')),
        ('Work', _work(run)),
        ('Versions', Cell(_versions(stored))),
        ('Code', Cell(str(stored.get('revision') or ''), 'git revision')),
        ('Command', Cell(_command(stored))),
    ]
    shown = [[Cell(name), cell] for name, cell in rows if cell.text]
    return Table('This run', ['what', 'value'], shown) if shown else None


def _model(run: Run) -> Cell:
    words = [run.setting('objective.name'), run.setting('model.size')]
    parameters = run.about.get('parameters')
    if not isinstance(parameters, dict) or not parameters:
        return Cell(' '.join(map(str, filter(None, words))))
    each = ', '.join(f'{name} {number(count)}' for name, count in parameters.items())
    return Cell(f'{words[0]} {words[1]}, {number(sum(parameters.values()))} parameters', each)


def _texts(corpora: Any) -> list[tuple[str, Cell]]:
    found = []
    for corpus in corpora if isinstance(corpora, list) else []:
        if not isinstance(corpus, dict):
            continue
        words = [
            f'{number(corpus[name])} {what}'
            for name, what in (
                ('documents', 'documents'), ('text_bytes', 'bytes of text'),
                ('train_rows', 'training rows'), ('train_tokens', 'tokens in them'),
                ('held_out_rows', 'held-out rows'),
            )
            if name in corpus
        ]  # fmt: skip
        found.append(('Text', Cell(str(corpus.get('source', '')), ', '.join(words))))
        found.append(('Hash of its rows', Cell(str(corpus.get('fingerprint', '')), 'sha256')))
    return found


def _work(run: Run) -> Cell:
    """Tokens that were read, and the arithmetic for them."""
    rows, length = run.setting('batch_size'), run.setting('data.row_length')
    flops = [within(run.about, f'flops_per_token.{name}') for name in ('mfu', 'paper')]
    if not isinstance(rows, int) or not isinstance(length, int) or run.setting('task.name'):
        return Cell('')
    tokens = run.last_step * rows * length
    epochs = run.last('progress/epochs')
    notes = [f'{number(rows)} rows of {number(length)} tokens a step']
    if epochs:
        notes.append(f'{number(epochs)} times through the text')
    for each, count in zip(flops, ('in matrix products', 'by the count of the paper'), strict=True):
        if each:
            notes.append(f'{each * tokens:.3g} FLOP {count}')
    return Cell(f'{number(tokens)} tokens', ', '.join(notes))


def _versions(stored: Mapping[str, Any]) -> str:
    packages = stored.get('packages')
    listed = [f'Python {stored["python"]}'] if stored.get('python') else []
    if isinstance(packages, dict):
        listed += [f'{name} {version}' for name, version in packages.items() if version]
    return ', '.join(listed)


def _command(stored: Mapping[str, Any]) -> str:
    words = stored.get('command')
    return shlex.join(map(str, words)) if isinstance(words, list) else ''


def typed(run: Run) -> dict[str, str]:
    """The settings that the command line of a run names."""
    found = {}
    words = run.about.get('command')
    for word in words if isinstance(words, list) else []:
        if str(word).startswith('--config.'):
            try:
                name, value = parse_setting(str(word))
            except UserError:  # of another version
                continue
            found[name] = value
    return found


def differences(run: Run) -> Table | None:
    """The settings of a run that are not the defaults; those that were typed come first."""
    if not isinstance(run.about.get('config'), dict):
        return None
    named, usual, rows = typed(run), _defaults(run), []
    known = [name for name in fields.leaves(Config) if has(run, name)]
    for name in sorted(known, key=lambda name: name not in named):
        value, default = run.setting(name), fields.get(usual, name)
        if name in _HIDDEN or value == default or (name in _DERIVED and name not in named):
            continue
        where = 'command line' if name in named else 'recipe'
        others = [one for one in IN_PLACE_OF.get(name, ()) if run.setting(one) is not None]
        if name not in named and others:
            where = others[0]  # which it follows from
        rows.append([Cell(name), Cell(_value(value)), Cell(_value(default)), Cell(where)])
    title = 'Settings that differ from the defaults'
    return Table(title, ['setting', 'value', 'default', 'from'], rows) if rows else None


def has(run: Run, name: str) -> bool:
    """Whether the version that the run was made by had a setting."""
    group, _, last = f'config.{name}'.rpartition('.')
    return last in (within(run.about, group) or {})


def _defaults(run: Run) -> fields.Settings:
    """The settings of a run of the same size and task that names nothing else."""
    changes = {name: run.setting(name) for name in ('job', 'init_from')}
    changes |= {'model': {'size': run.setting('model.size')}}
    changes |= {'task': {'name': run.setting('task.name')}}
    try:
        return resolve.fill(recipe(changes))
    except (UserError, TypeError):  # of another version
        return recipe({})


def _value(value: Any) -> str:
    if value is None:
        return NOTHING
    if isinstance(value, float):
        return f'{value:.6g}'
    return value if isinstance(value, str) else json.dumps(value)


# ---------------------------------------------------------------------------------------------
# Tasks


def results(run: Run) -> Table | None:
    """What the trials of a fine-tuning run reached."""
    summary, trials = run.results.get('summary'), run.results.get('trials')
    if not isinstance(summary, dict) or not isinstance(trials, list):
        return None
    easy = within(run.results, 'trivial.metrics')
    rows = []
    for name, found in summary.items():
        values = [found.get(key) for key in ('median', 'mean', 'standard_deviation')]
        values += [within(trial, 'metrics').get(name) for trial in trials]
        values += [easy.get(name)] if isinstance(easy, dict) else []
        key = metric_table.key_of(f'finetune/{name}')
        note = METRICS[key].meaning if key else ''
        rows.append([Cell(name, note), *(Cell(_score(name, value)) for value in values)])
    columns = ['metric', 'median', 'mean', 'standard deviation']
    columns += [f'seed {trial.get("seed")}' for trial in trials]
    columns += ['trivial answer'] if isinstance(easy, dict) else []
    return Table(
        f'Fine-tuning: {run.results.get("task")}',
        columns,
        rows,
        'Shares and correlations are times 100.',
    )


def _score(name: str, value: Any) -> str:
    """A score; shares and correlations times 100."""
    if not isinstance(value, int | float):
        return NOTHING
    is_share = metric_table.unit_of(f'finetune/{name}') in ('share, 0 to 1', '-1 to 1')
    return f'{100 * value:.2f}' if is_share else number(float(value))


def _headline(run: Run) -> Cell:
    name, median = (within(run.results, f'headline.{key}') for key in ('metric', 'median'))
    return Cell(f'{name} {_score(name, median)}' if isinstance(name, str) else NOTHING)


# ---------------------------------------------------------------------------------------------
# Several runs


def comparison(runs: Sequence[Run]) -> Table:
    """A row for each run: the settings that tell runs apart, and what was reached."""
    flat = [{name: run.setting(name) for name in fields.leaves(Config)} for run in runs]
    varied = [
        name for name in fields.leaves(Config)
        if name not in (*_HIDDEN, *_DERIVED) and len({_value(one[name]) for one in flat}) > 1
    ]  # fmt: skip
    metrics = [
        name
        for name in ('eval/mlm_loss', 'eval/disc_auc', 'eval/restored_accuracy', 'train/loss',
                     'speed/tokens_per_second')
        if any(run.last(name) is not None for run in runs)
    ]  # fmt: skip
    rows = []
    for run, settings in zip(runs, flat, strict=True):
        cells = [Cell(run.name), *(Cell(_value(settings[name])) for name in varied)]
        cells.append(Cell(f'{run.last_step:,}'))
        if any(one.results for one in runs):
            cells.append(_headline(run))
        rows.append([*cells, *(Cell(number(run.last(name))) for name in metrics)])
    columns = ['run', *varied, 'steps']
    columns += ['task, median'] if any(run.results for run in runs) else []
    note = ''
    if 'eval/disc_auc' in metrics:
        note = (
            'Each AUC was reached against the generator of its own run: values at different '
            'eval/mlm_loss do not compare discriminators; fine-tuning does.'
        )
    return Table('Runs', [*columns, *metrics], rows, note)
