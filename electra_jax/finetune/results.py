"""What a run of trials reached, and its predictions, as files."""

import pathlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import jax
import numpy as np
from jax.experimental import multihost_utils

from electra_jax.core import files, metric_table
from electra_jax.core.complaints import counted
from electra_jax.finetune.kinds.kind import Kind, Predictions, Task
from electra_jax.finetune.kinds.table import KINDS
from electra_jax.finetune.written import write_json, write_json_lines
from electra_jax.runtime import distributed, terminal

RESULTS_FILE = 'results.json'
TABLE_FILE = 'results.md'
TRIAL_FILE = 'result.json'  # of a trial, written when it is finished


class Trial(NamedTuple):
    """One fine-tuning run of a task."""

    seed: int
    metrics: Mapping[str, float]  # 'SPLIT/METRIC', such as 'dev/accuracy', -> value
    notes: tuple[str, ...] = ()  # what a reader of the values must know


def can_be_scored(kind: Kind, examples: Iterable[Any]) -> bool:
    """Whether every example has the label that scoring needs."""
    return all(map(kind.has_label, examples))


def scored(seed: int, predictions: Mapping[str, Predictions]) -> Trial:
    """What a trial reached on each split, by its name, that has labels."""
    values: dict[str, float] = {}
    notes: list[str] = []
    for split, some in predictions.items():
        kind = KINDS[some.task.kind]
        if can_be_scored(kind, some.examples):
            scores = kind.score(some)
            values |= {f'{split}/{metric}': value for metric, value in scores.values.items()}
            notes += [f'{split}: {note}' for note in scores.notes]
    return Trial(seed, values, tuple(notes))


class Trivial(NamedTuple):
    """What answering without reading reaches."""

    answers: Mapping[str, str]  # split -> what is answered there
    metrics: Mapping[str, float]  # as those of a trial

    def lines(self) -> list[str]:
        """A sentence for each split."""
        return [f'trivial in {split}: {answer}' for split, answer in self.answers.items()]

    def lines_with_scores(self) -> list[str]:
        """The sentences, each with what its answer reaches."""
        found = []
        for split, line in zip(self.answers, self.lines(), strict=True):
            scores = {k: v for k, v in self.metrics.items() if k.startswith(f'{split}/')}
            found.append(f'{line}: {scores_line(scores)}')
        return found


def trivial(task: Task, known: Sequence[Any], scored: Mapping[str, Sequence[Any]]) -> Trivial:
    """The best trivial answers to the examples of splits; `known` ones may suggest them.

    Without any that are known, those to answer are.
    """
    answers: dict[str, str] = {}
    metrics: dict[str, float] = {}
    kind, headline = KINDS[task.kind], task.headline.rpartition('/')[2]
    for split, examples in scored.items():
        if can_be_scored(kind, examples):
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
    standard_error: float | None = None  # of the median, by the number of rows; None: not known


def summarize(
    trials: Sequence[Trial], means: Sequence[str] = (), rows: Mapping[str, int] | None = None
) -> dict[str, Summary]:
    """Each metric over the trials, in the order in which the trials name them.

    Those in `means` are means over rows, of which each split has as many as `rows` holds.
    """
    summary, rows = {}, rows or {}
    for name in dict.fromkeys(name for trial in trials for name in trial.metrics):
        values = np.array([t.metrics[name] for t in trials if name in t.metrics], np.float64)
        (split, _, metric), median = name.rpartition('/'), float(np.median(values))
        is_known = metric in means and split in rows
        summary[name] = Summary(
            median=median,
            mean=float(np.mean(values)),
            standard_deviation=float(np.std(values, ddof=1)) if len(values) > 1 else None,
            lowest=float(values.min()),
            highest=float(values.max()),
            trials=len(values),
            standard_error=metric_table.standard_error(median, rows[split]) if is_known else None,
        )
    return summary


# ---------------------------------------------------------------------------------------------
# All trials


def _shown(name: str, value: float | None) -> str:
    """A value of 'SPLIT/METRIC' as a person reads it."""
    return metric_table.score(f'finetune/{name}', value)


def scores_line(scores: Mapping[str, float]) -> str:
    """Scores on a line."""
    return '  '.join(f'{name} {_shown(name, value)}' for name, value in scores.items())


class Results(NamedTuple):
    """What the trials of a task reached, and what is trivial."""

    task: Task
    trials: Sequence[Trial]
    easy: Trivial
    rows: Mapping[str, int] = {}  # split -> how many examples were scored; {}: not known

    def lines(self) -> str:
        """The metrics over the trials, a line each with what is trivial, and the notes."""
        lines = []
        for name, found in self._headline_first():
            text = f'{name:<24} {_shown(name, found.median)}'
            if found.trials > 1:
                text += f'  median of {counted(found.trials, "trials")}'
                text += f'; mean {_shown(name, found.mean)}'
                deviation = _shown(name, found.standard_deviation)
                text += f', standard deviation {deviation}'
            if name in self.easy.metrics:
                text += f'  (trivial: {_shown(name, self.easy.metrics[name])})'
            lines.append(text)
        return '\n'.join([*lines, *self._notes()])

    def markdown(self) -> str:
        """A table of the metrics, a row each, with every trial's value, and the notes."""
        rows = []
        for name, found in self._headline_first():
            values = [found.median, found.mean, found.standard_deviation]
            values += [trial.metrics.get(name) for trial in self.trials]
            values.append(self.easy.metrics.get(name))
            title = f'**{name}**' if name == self.task.headline else name
            rows.append([title, *(_shown(name, value) for value in values)])
        seeds = [f'seed {trial.seed}' for trial in self.trials]
        columns = ['metric', 'median', 'mean', 'standard deviation', *seeds, 'trivial']
        table = terminal.markdown(columns, rows).rstrip('\n')
        notes = '\n'.join(f'- {note}' for note in self._notes())
        parts = [f'# {self.task.name}', 'Shares and correlations are times 100.', table, notes]
        return '\n\n'.join(part for part in parts if part) + '\n'

    def _headline_first(self) -> list[tuple[str, Summary]]:
        return sorted(self._summary().items(), key=lambda item: item[0] != self.task.headline)

    def _summary(self) -> dict[str, Summary]:
        return summarize(self.trials, KINDS[self.task.kind].means, self.rows)

    def _notes(self) -> list[str]:
        of_trials = [f'seed {one.seed}: {note}' for one in self.trials for note in one.notes]
        name, found = self._headline_first()[0]
        if found.standard_error is not None:
            rows = counted(self.rows[name.rpartition('/')[0]], 'rows')
            error = f'standard error of {name}, by {rows}: {_shown(name, found.standard_error)}'
            of_trials.append(error)
        return [*self.easy.lines(), *of_trials]

    def write(self, folder: pathlib.Path, about: Mapping[str, Any]) -> None:
        """Writes results.json, with `about` in it, and results.md, on the first host."""
        summary = {name: found._asdict() for name, found in self._summary().items()}
        headline = self.task.headline
        content = {
            'task': self.task.name,
            'headline': {'metric': headline, **summary.get(headline, {})},
            'summary': summary,
            'trials': [trial._asdict() for trial in self.trials],
            'trivial': self.easy._asdict(),
            'rows': dict(self.rows),
            **about,
        }

        def write() -> None:
            write_json(folder / RESULTS_FILE, content)
            files.write_whole(folder / TABLE_FILE, self.markdown())

        on_first_host(write)


# ---------------------------------------------------------------------------------------------
# Files


def on_first_host(act: Callable[[], object]) -> None:
    """Calls `act` on the first host while the other hosts wait."""
    if distributed.is_first():
        act()
    if jax.process_count() > 1:
        multihost_utils.sync_global_devices('files of a trial')


def write_predictions(folder: pathlib.Path, predicted: Mapping[str, Predictions]) -> None:
    """Writes predictions by split, on the first host.

    SPLIT.jsonl, the files that official judges read, and pictures of what can be scored.
    """

    def write() -> None:
        for split, some in predicted.items():
            kind = KINDS[some.task.kind]
            write_json_lines(folder / f'{split}.jsonl', kind.to_json(some))
            kind.write(folder, split, some)
            if can_be_scored(kind, some.examples):
                kind.draw(folder, split, some)

    on_first_host(write)
