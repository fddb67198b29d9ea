"""What a run of trials reached, and its predictions, as files."""

import json
import pathlib
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from electra_jax.core import files
from electra_jax.finetune.kinds.kind import Kind, Predictions
from electra_jax.runtime import terminal

RESULTS_FILE = 'results.json'
TABLE_FILE = 'results.md'


class Trial(NamedTuple):
    """One fine-tuning run of a task.

    Attributes:
        seed: of the run.
        metrics: 'SPLIT/METRIC', such as 'dev/accuracy', -> value.
        notes: what a reader of the values must know.
    """

    seed: int
    metrics: Mapping[str, float]
    notes: tuple[str, ...] = ()


def can_be_scored(kind: Kind, predictions: Predictions) -> bool:
    """Whether every example has the label that scoring needs."""
    return all(map(kind.has_label, predictions.examples))


def scored(kind: Kind, seed: int, predictions: Mapping[str, Predictions]) -> Trial:
    """What a trial reached on each split that has labels.

    Args:
        kind: of the task.
        seed: of the trial.
        predictions: by the name of the split.
    """
    values: dict[str, float] = {}
    notes: list[str] = []
    for split, some in predictions.items():
        if can_be_scored(kind, some):
            scores = kind.score(some)
            values |= {f'{split}/{metric}': value for metric, value in scores.values.items()}
            notes += [f'{split}: {note}' for note in scores.notes]
    return Trial(seed, values, tuple(notes))


def write_predictions(
    folder: pathlib.Path, split: str, kind: Kind, predictions: Predictions
) -> None:
    """Writes the predictions of a split.

    SPLIT.jsonl, the files that official judges read, and pictures of what can be scored.
    """
    write_json_lines(folder / f'{split}.jsonl', kind.to_json(predictions))
    kind.write(folder, split, predictions)
    if can_be_scored(kind, predictions):
        kind.draw(folder, split, predictions)


class Summary(NamedTuple):
    """One metric over all trials that have it.

    Attributes:
        median: what the paper reports.
        mean: of the trials.
        standard_deviation: of a sample (n - 1); None: there is one trial only.
        lowest: of the trials.
        highest: of the trials.
        trials: how many.
    """

    median: float
    mean: float
    standard_deviation: float | None
    lowest: float
    highest: float
    trials: int


def summarize(trials: Sequence[Trial]) -> dict[str, Summary]:
    """Each metric over the trials, in the order in which the trials name them."""
    names = dict.fromkeys(name for trial in trials for name in trial.metrics)
    summary = {}
    for name in names:
        values = np.array([t.metrics[name] for t in trials if name in t.metrics], np.float64)
        summary[name] = Summary(
            median=float(np.median(values)),
            mean=float(np.mean(values)),
            standard_deviation=float(np.std(values, ddof=1)) if len(values) > 1 else None,
            lowest=float(values.min()),
            highest=float(values.max()),
            trials=len(values),
        )
    return summary


def write_results(
    folder: pathlib.Path,
    task: str,
    headline: str,
    trials: Sequence[Trial],
    about: Mapping[str, Any] | None = None,
) -> None:
    """Writes results.json and results.md, each in one step.

    Args:
        folder: made if it is not there.
        task: its name.
        headline: the metric that stands for it, 'dev/accuracy'.
        trials: at least one.
        about: what else results.json should hold, such as the checkpoint it started from.
    """
    summary = {name: found._asdict() for name, found in summarize(trials).items()}
    content = {
        'task': task,
        'headline': {'metric': headline, **summary.get(headline, {})},
        'summary': summary,
        'trials': [
            {'seed': t.seed, 'metrics': dict(t.metrics), 'notes': list(t.notes)} for t in trials
        ],
        **(about or {}),
    }
    write_json(folder / RESULTS_FILE, content)
    write_text(folder / TABLE_FILE, markdown(task, headline, trials))


def markdown(task: str, headline: str, trials: Sequence[Trial]) -> str:
    """A table of the metrics, a row each, with the headline first and every trial's value."""
    summary = summarize(trials)
    names = sorted(summary, key=lambda name: name != headline)
    seeds = [f'seed {trial.seed}' for trial in trials]
    head = ['metric', 'median', 'mean', 'standard deviation', *seeds]
    rows = []
    for name in names:
        found = summary[name]
        values = [found.median, found.mean, found.standard_deviation]
        values += [trial.metrics.get(name) for trial in trials]
        title = f'**{name}**' if name == headline else name
        rows.append([title, *(shown(name, value) for value in values)])
    table = terminal.markdown(head, rows).rstrip('\n')
    notes = [f'- seed {trial.seed}: {note}' for trial in trials for note in trial.notes]
    parts = [f'# {task}', 'Shares and correlations are times 100.', table, '\n'.join(notes)]
    return '\n\n'.join(part for part in parts if part) + '\n'


def shown(name: str, value: float | None) -> str:
    """A value as a person reads it: shares and correlations times 100.

    >>> shown('dev/accuracy', 0.91284), shown('dev/mse', 0.5), shown('dev/f1', None)
    ('91.28', '0.500', '')
    """
    if value is None:
        return ''
    is_plain = name.endswith(('/mse', '_threshold'))
    return f'{value:.3f}' if is_plain else f'{100 * value:.2f}'


def scores_line(scores: Mapping[str, float]) -> str:
    """Scores on a line, shares and correlations times 100."""
    return '  '.join(f'{name} {shown(name, value)}' for name, value in scores.items())


def result_lines(headline: str, trials: Sequence[Trial]) -> str:
    """The metrics over the trials, the headline first, shares and correlations times 100."""
    summary = summarize(trials)
    lines = []
    for name in sorted(summary, key=lambda name: name != headline):
        found = summary[name]
        text = f'{name:<24} {shown(name, found.median)}'
        if found.trials > 1:
            text += f'  median of {found.trials} trials; mean {shown(name, found.mean)}'
            text += f', standard deviation {shown(name, found.standard_deviation)}'
        lines.append(text)
    lines += [f'seed {trial.seed}: {note}' for trial in trials for note in trial.notes]
    return '\n'.join(lines)


# ---------------------------------------------------------------------------------------------
# Writing


def write_text(path: pathlib.Path, text: str) -> None:
    """Writes a file in one step, so that nobody reads half of it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    files.write_whole(path, text)


def write_json(path: pathlib.Path, value: Any) -> None:
    """Writes a JSON file in one step; a NaN in it is an error."""
    write_text(path, json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False) + '\n')


def write_json_lines(path: pathlib.Path, rows: Iterable[Mapping[str, Any]]) -> None:
    """Writes a JSON object a line, in one step."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with files.placed(path) as fresh, fresh.open('w', encoding='utf-8') as file:
        for row in rows:
            file.write(json.dumps(row, ensure_ascii=False, allow_nan=False) + '\n')
