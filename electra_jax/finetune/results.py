"""What a run of trials reached, and its predictions, as files."""

import json
import pathlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import jax
import numpy as np
from jax.experimental import multihost_utils

from electra_jax.core import files
from electra_jax.core.complaints import counted
from electra_jax.finetune.kinds.kind import Kind, Predictions, Task
from electra_jax.runtime import distributed, terminal

RESULTS_FILE = 'results.json'
TABLE_FILE = 'results.md'
TRIAL_FILE = 'result.json'  # of a trial, written when it is finished


class Trial(NamedTuple):
    """One fine-tuning run of a task."""

    seed: int
    metrics: Mapping[str, float]  # 'SPLIT/METRIC', such as 'dev/accuracy', -> value
    notes: tuple[str, ...] = ()  # what a reader of the values must know


def can_be_scored(kind: Kind, predictions: Predictions) -> bool:
    """Whether every example has the label that scoring needs."""
    return all(map(kind.has_label, predictions.examples))


def scored(kind: Kind, seed: int, predictions: Mapping[str, Predictions]) -> Trial:
    """What a trial reached on each split, by its name, that has labels."""
    values: dict[str, float] = {}
    notes: list[str] = []
    for split, some in predictions.items():
        if can_be_scored(kind, some):
            scores = kind.score(some)
            values |= {f'{split}/{metric}': value for metric, value in scores.values.items()}
            notes += [f'{split}: {note}' for note in scores.notes]
    return Trial(seed, values, tuple(notes))


class Trivial(NamedTuple):
    """What answering without reading reaches."""

    answers: Mapping[str, str]  # split -> what is answered there
    metrics: Mapping[str, float]  # as those of a trial

    def lines(self, kind: Kind | None = None) -> list[str]:
        """A sentence for each split, with the scores if `kind`, that of the task, is given."""
        lines = []
        for split, answer in self.answers.items():
            scores = {k: v for k, v in self.metrics.items() if k.startswith(f'{split}/')}
            shown = f': {scores_line(kind, scores)}' if kind else ''
            lines.append(f'trivial in {split}: {answer}{shown}')
        return lines


def trivial(
    kind: Kind, task: Task, known: Sequence[Any], scored: Mapping[str, Sequence[Any]]
) -> Trivial:
    """The best trivial answers to the examples of splits; `known` ones may suggest them.

    Without any that are known, those to answer are.
    """
    answers: dict[str, str] = {}
    metrics: dict[str, float] = {}
    headline = task.headline.rpartition('/')[2]
    for split, examples in scored.items():
        if all(map(kind.has_label, examples)):
            possible = {
                answer: kind.score(Predictions(task, examples, values)).values
                for answer, values in kind.trivial(task, known or examples, examples).items()
            }
            best = max(possible, key=lambda answer: possible[answer][headline])
            answers[split] = best
            metrics |= {f'{split}/{name}': value for name, value in possible[best].items()}
    return Trivial(answers, metrics)


class Summary(NamedTuple):
    """One metric over all trials that have it."""

    median: float  # what the paper reports
    mean: float
    standard_deviation: float | None  # of a sample (n - 1); None: there is one trial only
    lowest: float
    highest: float
    trials: int


def summarize(trials: Sequence[Trial]) -> dict[str, Summary]:
    """Each metric over the trials, in the order in which the trials name them."""
    summary = {}
    for name in dict.fromkeys(name for trial in trials for name in trial.metrics):
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


# ---------------------------------------------------------------------------------------------
# For people: shares and correlations are times 100, and the headline is first


def _shown(kind: Kind, name: str, value: float | None) -> str:
    """A value of 'SPLIT/METRIC' as a person reads it."""
    if value is None:
        return ''
    is_unscaled = name.rpartition('/')[2] in kind.unscaled_metrics
    return f'{value:.3f}' if is_unscaled else f'{100 * value:.2f}'


def scores_line(kind: Kind, scores: Mapping[str, float]) -> str:
    """Scores on a line."""
    return '  '.join(f'{name} {_shown(kind, name, value)}' for name, value in scores.items())


def result_lines(kind: Kind, headline: str, trials: Sequence[Trial], easy: Trivial) -> str:
    """The metrics over the trials, a line each with what is trivial, and the notes."""
    lines = []
    for name, found in _headline_first(headline, trials):
        text = f'{name:<24} {_shown(kind, name, found.median)}'
        if found.trials > 1:
            text += f'  median of {counted(found.trials, "trials")}'
            text += f'; mean {_shown(kind, name, found.mean)}'
            text += f', standard deviation {_shown(kind, name, found.standard_deviation)}'
        if name in easy.metrics:
            text += f'  (trivial: {_shown(kind, name, easy.metrics[name])})'
        lines.append(text)
    return '\n'.join([*lines, *easy.lines(), *_notes(trials)])


def markdown(
    kind: Kind, task: str, headline: str, trials: Sequence[Trial], easy: Trivial | None = None
) -> str:
    """A table of the metrics, a row each, with every trial's value, and the notes."""
    seeds = [f'seed {trial.seed}' for trial in trials]
    rows = []
    for name, found in _headline_first(headline, trials):
        values = [found.median, found.mean, found.standard_deviation]
        values += [trial.metrics.get(name) for trial in trials]
        title = f'**{name}**' if name == headline else name
        values += [easy.metrics.get(name)] if easy else []
        rows.append([title, *(_shown(kind, name, value) for value in values)])
    last = ['trivial'] if easy else []
    columns = ['metric', 'median', 'mean', 'standard deviation', *seeds, *last]
    table = terminal.markdown(columns, rows)
    lines = [*(easy.lines() if easy else ()), *_notes(trials)]
    notes = '\n'.join(f'- {note}' for note in lines)
    parts = [f'# {task}', 'Shares and correlations are times 100.', table.rstrip('\n'), notes]
    return '\n\n'.join(part for part in parts if part) + '\n'


def _headline_first(headline: str, trials: Sequence[Trial]) -> list[tuple[str, Summary]]:
    return sorted(summarize(trials).items(), key=lambda item: item[0] != headline)


def _notes(trials: Sequence[Trial]) -> list[str]:
    return [f'seed {trial.seed}: {note}' for trial in trials for note in trial.notes]


# ---------------------------------------------------------------------------------------------
# Files


def on_first_host(act: Callable[[], object]) -> None:
    """Calls `act` on the first host while the other hosts wait."""
    if distributed.is_first():
        act()
    if jax.process_count() > 1:
        multihost_utils.sync_global_devices('files of a trial')


def write_predictions(
    folder: pathlib.Path, kind: Kind, predicted: Mapping[str, Predictions]
) -> None:
    """Writes predictions by split, on the first host.

    SPLIT.jsonl, the files that official judges read, and pictures of what can be scored.
    """

    def write() -> None:
        for split, some in predicted.items():
            write_json_lines(folder / f'{split}.jsonl', kind.to_json(some))
            kind.write(folder, split, some)
            if can_be_scored(kind, some):
                kind.draw(folder, split, some)

    on_first_host(write)


def write_results(
    folder: pathlib.Path,
    kind: Kind,
    task: str,
    headline: str,
    trials: Sequence[Trial],
    about: Mapping[str, Any] | None = None,
    easy: Trivial | None = None,
) -> None:
    """Writes results.json and results.md, on the first host; `about` goes into the former, too."""
    summary = {name: found._asdict() for name, found in summarize(trials).items()}
    content = {
        'task': task,
        'headline': {'metric': headline, **summary.get(headline, {})},
        'summary': summary,
        'trials': [
            {'seed': t.seed, 'metrics': dict(t.metrics), 'notes': list(t.notes)} for t in trials
        ],
        **({'trivial': easy._asdict()} if easy else {}),
        **(about or {}),
    }

    def write() -> None:
        write_json(folder / RESULTS_FILE, content)
        files.write_whole(folder / TABLE_FILE, markdown(kind, task, headline, trials, easy))

    on_first_host(write)


def write_json(path: pathlib.Path, value: Any) -> None:
    """Writes a JSON file in one step; a NaN in it is an error."""
    text = json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False) + '\n'
    path.parent.mkdir(parents=True, exist_ok=True)
    files.write_whole(path, text)


def write_json_lines(path: pathlib.Path, rows: Iterable[Mapping[str, Any]]) -> None:
    """Writes a JSON object a line, in one step."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with files.placed(path) as fresh, fresh.open('w', encoding='utf-8') as file:
        for row in rows:
            file.write(json.dumps(row, ensure_ascii=False, allow_nan=False) + '\n')
