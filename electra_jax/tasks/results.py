"""Results of a task over its trials, and its predictions, as files."""

import json
import math
import pathlib
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from electra_jax.tasks.examples import SpanExample, TaggedExample, TextExample
from electra_jax.tasks.metrics import SHARES
from electra_jax.tasks.span_answers import SpanAnswer

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


class Summary(NamedTuple):
    """One metric over all trials that have it.

    Attributes:
      median: what the paper reports.
      mean: as said.
      standard_deviation: of a sample (n - 1); None: one trial has none.
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
    found = {}
    for name in names:
        values = np.array([t.metrics[name] for t in trials if name in t.metrics], np.float64)
        found[name] = Summary(
            median=float(np.median(values)),
            mean=float(np.mean(values)),
            standard_deviation=float(np.std(values, ddof=1)) if len(values) > 1 else None,
            lowest=float(values.min()),
            highest=float(values.max()),
            trials=len(values),
        )
    return found


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
      about: whatever else results.json should say, such as the checkpoint it started from.
    """
    summary = summarize(trials)
    content = {
        'task': task,
        'headline': {'metric': headline, **_of(summary, headline)},
        'summary': {name: found._asdict() for name, found in summary.items()},
        'trials': [
            {'seed': t.seed, 'metrics': dict(t.metrics), 'notes': list(t.notes)} for t in trials
        ],
        **(about or {}),
    }
    write_json(folder / RESULTS_FILE, content)
    write_text(folder / TABLE_FILE, markdown(task, headline, trials))


def _of(summary: Mapping[str, Summary], name: str) -> dict[str, Any]:
    return summary[name]._asdict() if name in summary else {}


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
    lines = [head, ['---', *['---:'] * (len(head) - 1)], *rows]
    table = '\n'.join(f'| {" | ".join(cells)} |' for cells in lines)
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
    return f'{100 * value:.2f}' if name.split('/')[-1] in SHARES else f'{value:.3f}'


# ---------------------------------------------------------------------------------------------
# Predictions of each example


def text_rows(
    examples: Sequence[TextExample], probs: np.ndarray, labels: Sequence[str]
) -> Iterable[dict[str, Any]]:
    """A row for each classified text.

    Args:
      examples: the texts.
      probs: float [examples, C].
      labels: the classes.
    """
    for example, probs_C in zip(examples, probs, strict=True):
        yield {
            **_texts(example),
            'prediction': labels[int(np.argmax(probs_C))],
            'probabilities': dict(zip(labels, map(_short, probs_C), strict=True)),
        }


def score_rows(
    examples: Sequence[TextExample], scores: Sequence[float]
) -> Iterable[dict[str, Any]]:
    """A row for each scored text."""
    for example, score in zip(examples, scores, strict=True):
        yield {**_texts(example), 'prediction': _short(score)}


def _texts(example: TextExample) -> dict[str, Any]:
    found: dict[str, Any] = {'id': example.id, 'text_a': example.text_a}
    if example.text_b is not None:
        found['text_b'] = example.text_b
    if example.label is not None:
        found['label'] = example.label
    return found


def tag_rows(
    examples: Sequence[TaggedExample], probs: Sequence[np.ndarray], labels: Sequence[str]
) -> Iterable[dict[str, Any]]:
    """A row for each sentence; `probs` holds float [words, C] for each."""
    for example, probs_WC in zip(examples, probs, strict=True):
        found: dict[str, Any] = {'id': example.id, 'words': list(example.words)}
        if example.tags is not None:
            found['tags'] = list(example.tags)
        best_W = np.argmax(probs_WC, axis=-1)
        found['predictions'] = [labels[int(best)] for best in best_W]
        found['probabilities'] = [
            _short(probs_C[best]) for probs_C, best in zip(probs_WC, best_W, strict=True)
        ]
        yield found


def answer_rows(
    examples: Sequence[SpanExample],
    answers: Sequence[SpanAnswer],
    texts: Mapping[str, str],
) -> Iterable[dict[str, Any]]:
    """A row for each question; `texts` has the final answers by id, '' for none."""
    for example, answer in zip(examples, answers, strict=True):
        found: dict[str, Any] = {'id': example.id, 'question': example.question}
        if example.references or example.impossible:
            found['references'] = list(dict.fromkeys(example.references))
        found['prediction'] = texts[example.id]
        if answer.n_best and texts[example.id]:
            found['start'] = answer.n_best[0].start
            found['probability'] = _short(answer.n_best[0].probability)
        if answer.none_score is not None:
            found['none_score'] = _short(answer.none_score)
        yield found


def _short(value: Any) -> float | None:
    """Six digits are all that float32 gives; a NaN is no JSON."""
    number = float(value)
    return float(f'{number:.6g}') if math.isfinite(number) else None


# ---------------------------------------------------------------------------------------------
# Writing


def write_text(path: pathlib.Path, text: str) -> None:
    """Writes a file in one step, so that nobody reads half of it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(path.name + '.tmp')
    temporary.write_text(text, encoding='utf-8')
    temporary.replace(path)


def write_json(path: pathlib.Path, value: Any) -> None:
    """Writes a JSON file in one step; a NaN in it is an error."""
    write_text(path, json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False) + '\n')


def write_json_lines(path: pathlib.Path, rows: Iterable[Mapping[str, Any]]) -> None:
    """Writes a JSON object a line, in one step."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(path.name + '.tmp')
    with temporary.open('w', encoding='utf-8') as file:
        for row in rows:
            file.write(json.dumps(row, ensure_ascii=False, allow_nan=False) + '\n')
    temporary.replace(path)
