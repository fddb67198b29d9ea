"""Which of several runs is best, and what their numbers do not compare."""

from collections.abc import Mapping, Sequence
from typing import Any

from electra_jax.core import metric_table
from electra_jax.core.metric_table import METRICS
from electra_jax.sweep.shown import Shown, cell_of
from electra_jax.train import metric_lines
from electra_jax.train.runs import OTHER_TEXTS

# What ranks runs of pre-training, the first in which they differ. AUC comes where the generator is
# the same, as one that is frozen is.
_RANKED = ('eval/mlm_loss', 'eval/disc_auc')
_AGAINST_A_GENERATOR = ('eval/disc_auc', 'eval/disc_loss')
TEXT = 'held-out text'  # column with what stands for the tokens that a run is scored on
_OF_TEXT = ('eval/', 'train/')  # metrics that depend on it, and on its tokenizer
FAILED = 'failed'  # outcome of a run that has ended with an error
_ALIKE = 0.01  # generators whose losses differ by a smaller share are alike
_ERRORS = 2.0  # scores that differ by fewer standard errors are not told apart


def choose(runs: Sequence[Shown]) -> str:
    """What ranks runs where nothing is typed: the first of these in which they differ.

    Of fine-tuning: the median of the headline over the trials. Of pre-training: a loss or score on
    held-out text that does not depend on what else a run has learnt, and so can be compared.
    """
    if any(run.headline for run in runs):
        return 'median'
    ends = {name: {run.read.last(name) for run in runs} - {None} for name in _RANKED}
    most = max(_RANKED, key=lambda name: min(len(ends[name]), 2))  # the first where alike
    return most if ends[most] else 'train/loss'


def direction(metric: str) -> str:
    """Which values of a metric are better: 'lower', 'higher', or '' where neither is.

    >>> direction('eval/mlm_loss'), direction('train/loss'), direction('eval/fake_rate')
    ('lower', 'lower', '')
    >>> direction('median'), direction('mean'), direction('standard deviation')
    ('higher', 'higher', '')
    """
    key = metric_table.key_of(metric)
    if metric in ('median', 'mean') or (key and METRICS[key].better == 'higher'):
        return 'higher'
    is_loss = metric.endswith('loss') and 'unigram' not in metric
    return 'lower' if is_loss or (key and METRICS[key].better == 'lower') else ''


def best_row(rows: Sequence[Mapping[str, Any]], metric: str) -> int | None:
    """The index of the best row; None: they are not comparable, or alike."""
    values = {
        i: row[metric]
        for i, row in enumerate(rows)
        if row.get(metric) is not None and row.get('outcome') != FAILED
    }
    return best_of(values, metric) if is_comparison(rows, metric) else None


def best_of(values: Mapping[int, float], metric: str) -> int | None:
    """The key of the best value; None: there is nothing to choose from, or they are alike."""
    if not direction(metric) or len(values) < 2:
        return None
    extreme = max if direction(metric) == 'higher' else min
    best = extreme(values, key=lambda i: values[i])
    return best if list(values.values()).count(values[best]) == 1 else None


def is_comparison(rows: Sequence[Mapping[str, Any]], metric: str) -> bool:
    """Whether the values of the runs measure the same thing."""
    same = [len({row.get(name) for row in rows} - {None}) <= 1 for name in ('task', 'rows')]
    if not all(same) or len({row.get('metric') for row in rows}) > 1:
        return False
    if metric.startswith(_OF_TEXT) and has_several_texts(rows):
        return False
    return metric not in _AGAINST_A_GENERATOR or not _differ(generators(rows))


def has_several_texts(rows: Sequence[Mapping[str, Any]]) -> bool:
    """Whether runs are scored on different texts, or on tokens of different tokenizers."""
    return len({row.get(TEXT) for row in rows} - {None}) > 1


def generators(rows: Sequence[Mapping[str, Any]]) -> tuple[float, float] | None:
    """The lowest and the highest loss of the generators that runs have an AUC against."""
    found = ((row.get('eval/disc_auc'), row.get('eval/mlm_loss')) for row in rows)
    losses = [loss for auc, loss in found if auc is not None and loss is not None]
    return (min(losses), max(losses)) if losses else None


def _differ(losses: tuple[float, float] | None) -> bool:
    return losses is not None and losses[1] > losses[0] * (1 + _ALIKE)


def untaught(runs: Sequence[Shown]) -> list[str]:
    """Which runs predict tokens no better than their frequencies alone do, if some do."""
    names = []
    for run in runs:
        config = run.read.about.get('config', {})
        generator = config.get('model', {}).get('generator')
        is_frozen = config.get('objective', {}).get('freeze_generator')
        losses = run.read.last('eval/mlm_loss'), run.read.last('eval/unigram_loss')
        if metric_lines.is_untaught(*losses, generator, is_frozen):
            names.append(run.name)
    which = f'of {", ".join(names)}' if len(names) < len(runs) else 'of all runs'
    return [
        f'warning: the mlm_loss {which} is not below unigram_loss: '
        'tokens are predicted no better there than by their frequencies alone, and places in the '
        'table are chance; train longer, with a larger minutes or total_steps (--set '
        'total_steps=NUMBER)'
    ][: bool(names)]


def notes(
    names: Sequence[str], rows: Sequence[Mapping[str, Any]], metric: str, best: int | None
) -> list[str]:
    """What a reader of the table must know: what ranks the runs, and what does not compare them."""
    lines = []
    if best is not None:
        row = rows[best]
        what = f'{row["metric"]} (median)' if metric == 'median' else metric
        lines.append(
            f'best: {row["run"]}, by {what}, {cell_of(row, metric)} ({direction(metric)} is better)'
        )
    lines += of_few_rows(rows, metric, best)
    trivial = {cell_of(row, 'trivial') for row in rows} - {''}
    if len(trivial) == 1 and 'trivial' not in names:
        lines.append(f'trivial: answering without a model reaches {trivial.pop()}')
    if failed := [row['run'] for row in rows if row.get('outcome') == FAILED]:
        lines.append(
            f'note: {", ".join(failed)} failed: what the table has of that is older than the '
            'failure, and is not ranked'
        )
    if all(row.get(metric) is None for row in rows):
        lines.append(f'note: no run has {metric}, so none is ranked')
    if has_several_texts(rows):
        lines.append(
            f'note: {OTHER_TEXTS}; none is best. The column "{TEXT}" tells which share one'
        )
    found = generators(rows)
    if found is None or has_several_texts(rows):
        return lines
    low, high = found
    if 'eval/disc_auc' in names and _differ(found):
        lines.append(
            f'note: each eval/disc_auc was reached against the generator of its run, of mlm_loss '
            f'{low:.3f} to {high:.3f}: they are no comparison of discriminators, because a weak '
            'generator is easily seen through; fine-tune the runs to compare them'
        )
    if metric == 'eval/mlm_loss':
        lines.append(
            'note: eval/mlm_loss is the loss of the generator; to compare the discriminators, '
            'fine-tune the runs on a task'
        )
    return lines


def of_few_rows(rows: Sequence[Mapping[str, Any]], metric: str, best: int | None) -> list[str]:
    """Which fine-tunings the scored rows do not tell from the best one, or from trivial answers."""
    if metric not in ('median', 'mean'):
        return []
    known = [
        row
        for row in rows
        if row.get(metric) is not None
        and row.get('standard error')
        and row.get('outcome') != FAILED
    ]
    lines, top = [], rows[best] if best is not None else {}
    near = [
        row['run']
        for row in known
        if row is not top and top and top[metric] - row[metric] < _ERRORS * row['standard error']
    ]
    if near:
        lines.append(
            f'note: {", ".join(near)}: less than two standard errors below the best, which so few '
            'rows do not tell apart'
        )
    easy = [
        row['run']
        for row in known
        if 'trivial' in row and row[metric] - row['trivial'] < _ERRORS * row['standard error']
    ]
    if easy:
        lines.append(
            f'note: {", ".join(easy)}: not two standard errors above what is trivial, so that '
            'nothing shows yet that such a run has learned from the texts'
        )
    return lines
