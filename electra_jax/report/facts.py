"""What the page tells of one run in numbers and words: results, text, hardware, work."""

import shlex
from collections.abc import Mapping
from typing import Any

from electra_jax.core import metric_table
from electra_jax.core.complaints import counted
from electra_jax.core.metric_table import METRICS
from electra_jax.report.cells import Cell, Table, number, score
from electra_jax.runtime.terminal import duration
from electra_jax.train import metric_lines
from electra_jax.train.clock import goodput
from electra_jax.train.runs import Run, within

_CLASSES = 20  # that are named


def tiles(run: Run) -> list[tuple[str, Cell]]:
    """The few numbers that come first: what each is called, its value, a note."""
    total = run.setting('total_steps')
    trials = run.setting('trials') or 1
    of_all = f'of {total * trials:,}' if isinstance(total, int) else ''
    found = [('Training steps', Cell(f'{run.last_step:,}', of_all))]
    if (name := within(run.results, 'headline.metric')) is not None:
        note = f'median of {counted(within(run.results, "headline.trials") or 1, "trials")}'
        value = score(str(name), within(run.results, 'headline.median'))
        found.append((str(name), Cell(value, note)))
    loss, level = run.last('eval/mlm_loss'), run.last('eval/unigram_loss')
    if loss is not None:
        note = f'nats; word frequencies alone {number(level)}' if level else 'nats a masked token'
        found.append(('Held-out generator loss', Cell(number(loss), note)))
    if (auc := run.last('eval/disc_auc')) is not None:
        first = run.first_stage
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
    generator, is_frozen = run.setting('model.generator'), run.setting('objective.freeze_generator')
    if metric_lines.is_untaught(loss, level, generator, is_frozen):
        lines.append(
            f'eval/mlm_loss ({number(loss)}) is not below eval/unigram_loss ({number(level)}): the '
            'generator predicts tokens no better than their frequencies alone do'
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
        ('Examples', _examples(stored)),
        ('Classes', _classes(stored)),
        ('Work', _work(run)),
        ('Versions', Cell(_versions(stored))),
        ('Code', Cell(str(stored.get('revision') or ''), 'git revision')),
        ('Command', Cell(_command(stored))),
    ]
    shown = [[Cell(name), cell] for name, cell in rows if cell.text]
    return Table('This run', ['what', 'value'], shown) if shown else None


def _model(run: Run) -> Cell:
    words = [run.setting('objective.name'), run.setting('model.size')]
    if run.setting('job') == 'finetune':
        words = [run.setting('task.name'), f'with head {run.setting("task.head")}']
    parameters = run.about.get('parameters')
    if not isinstance(parameters, dict) or not parameters:
        return Cell(' '.join(map(str, filter(None, words))))
    each = ', '.join(f'{name} {number(count)}' for name, count in parameters.items())
    return Cell(f'{words[0]} {words[1]}, {number(sum(parameters.values()))} parameters', each)


def _examples(stored: Mapping[str, Any]) -> Cell:
    """How many examples each split of a task has."""
    examples = stored.get('examples')
    numbers = examples.items() if isinstance(examples, dict) else ()
    return Cell(', '.join(f'{name} {number(count)}' for name, count in numbers))


def _classes(stored: Mapping[str, Any]) -> Cell:
    """Those of a task, the first by name."""
    labels = stored.get('labels')
    if not isinstance(labels, list) or not labels:
        return Cell('')
    names = ', '.join(map(str, labels[:_CLASSES])) + ', ...' * (len(labels) > _CLASSES)
    return Cell(number(len(labels)), names)


def outputs(run: Run) -> list[str]:
    """The results, predictions and pictures of a fine-tuning run, by their paths in its workdir."""
    folders = sorted(run.folder.glob('trials/*/predictions'))
    found = [run.folder / 'results.md', *(file for one in folders for file in one.iterdir())]
    return sorted(str(file.relative_to(run.folder)) for file in found if file.exists())


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
                ('train_words', 'words in them'),
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
    if words := run.last('progress/words_read'):
        notes.append(f'{number(words)} words of it')
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
