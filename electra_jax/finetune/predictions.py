"""From the head's outputs on token rows to what a model says of each example, scored and told."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from electra_jax.finetune import metrics, span_answers, squad_metrics
from electra_jax.finetune.examples import Example, SpanExample
from electra_jax.finetune.metrics import Scores
from electra_jax.finetune.results import Trial
from electra_jax.finetune.span_answers import SpanAnswer, Window
from electra_jax.finetune.task import TrainedTask
from electra_jax.finetune.token_rows import Rows

Outputs = Sequence[Mapping[str, np.ndarray]]  # of each row; those of tokens as long as its batch's


class Predictions(NamedTuple):
    """What a model says of the examples of a split.

    Attributes:
      task: that it was trained on.
      examples: in the order of the file.
      values: of classes float [examples, C]; of scores float [examples]; of tags, for each
        sentence, float [words, C]; of spans a `SpanAnswer` each.
    """

    task: TrainedTask
    examples: Sequence[Example]
    values: Any


def predict(
    task: TrainedTask, examples: Sequence[Example], rows: Rows, outputs: Outputs
) -> Predictions:
    """Puts the outputs of all rows together.

    Args:
      task: of the model.
      examples: that the rows are of.
      rows: from `features.token_rows`.
      outputs: of each row, from `model.bind.task_answers`.
    """
    return Predictions(task, examples, READ[task.kind](task, examples, rows, outputs))


def softmax(logits: np.ndarray) -> np.ndarray:
    """Over the last dimension, in float64.

    >>> softmax(np.zeros(2)).tolist()
    [0.5, 0.5]
    """
    powers = np.exp(logits.astype(np.float64) - logits.max(axis=-1, keepdims=True))
    return powers / powers.sum(axis=-1, keepdims=True)


def _classes(task: TrainedTask, examples: Sequence, rows: Rows, outputs: Outputs) -> np.ndarray:
    return softmax(np.stack([output['logits'] for output in outputs]))


def _scores(task: TrainedTask, examples: Sequence, rows: Rows, outputs: Outputs) -> np.ndarray:
    low, high = task.score_range
    return low + (high - low) * np.array([float(output['logits'][0]) for output in outputs])


def _tags(task: TrainedTask, examples: Sequence, rows: Rows, outputs: Outputs) -> list[np.ndarray]:
    """A long sentence has its words in several rows, in their order."""
    found: list[list[np.ndarray]] = [[] for _ in examples]
    for row, output in enumerate(outputs):
        words = rows.marks['words'][row]
        probs = softmax(output['logits'][: len(words)][words >= 0])
        found[int(rows.example[row])].append(probs)
    return [np.concatenate(parts) for parts in found]


def _answers(
    task: TrainedTask, examples: Sequence[SpanExample], rows: Rows, outputs: Outputs
) -> list[SpanAnswer]:
    windows = (_window(task, rows, row, output) for row, output in enumerate(outputs))
    relative = task.style != 'reference'
    return span_answers.answers(examples, windows, task.n_best, relative)


def _window(
    task: TrainedTask, rows: Rows, row: int, output: Mapping[str, np.ndarray]
) -> tuple[Window, list[span_answers.Candidate], float]:
    stop_L = rows.marks['stop'][row]
    window = Window(
        int(rows.example[row]),
        rows.marks['begin'][row],
        stop_L,
        stop_L > 0,
        rows.marks['best'][row] > 0,
    )
    limits = (window, task.n_best, task.answer_length)
    if 'start' in output:
        start_L, end_L = output['start'][: len(stop_L)], output['end'][: len(stop_L)]
        none = float(start_L[0]) + float(end_L[0])
        return window, span_answers.from_logits(start_L, end_L, *limits), none
    # A short row has fewer places than beams: those beyond it are padding.
    start_K = np.minimum(output['start_index'], len(stop_L) - 1)
    end_KM = np.minimum(output['end_index'], len(stop_L) - 1)
    found = span_answers.from_beams(
        start_K, output['start_log_prob'], end_KM, output['end_log_prob'], *limits
    )
    return window, found, float(output['impossible'])


READ: dict[str, Callable[[TrainedTask, Sequence, Rows, Outputs], Any]] = {
    'classification': _classes,
    'regression': _scores,
    'tagging': _tags,
    'spans': _answers,
}


# ---------------------------------------------------------------------------------------------
# Scores


def answered(found: Predictions) -> bool:
    """Whether every example has the label that scoring needs."""
    if found.task.kind == 'tagging':
        return all(example.tags is not None for example in found.examples)
    if found.task.kind == 'spans':
        return all(example.references or example.impossible for example in found.examples)
    return all(example.label is not None for example in found.examples)


def score(found: Predictions) -> Scores:
    """The task's metrics; the examples must be `answered`."""
    return SCORE[found.task.kind](found)


def trial(seed: int, found: Mapping[str, Predictions]) -> Trial:
    """What a trial reached on each split that has labels.

    Args:
        seed: of the trial.
        found: by the name of the split.
    """
    scores, notes = {}, []
    for split, one in found.items():
        if answered(one):
            scored = score(one)
            scores |= {f'{split}/{metric}': value for metric, value in scored.values.items()}
            notes += [f'{split}: {note}' for note in scored.notes]
    return Trial(seed, scores, tuple(notes))


def _score_classes(found: Predictions) -> Scores:
    best = np.argmax(found.values, axis=-1)
    return metrics.classification(
        found.task.spec.metrics, gold_classes(found), best, found.task.labels
    )


def gold_classes(found: Predictions) -> list[int]:
    """The true class of each text."""
    numbers = {label: number for number, label in enumerate(found.task.labels)}
    return [numbers[example.label] for example in found.examples]


def _score_scores(found: Predictions) -> Scores:
    gold = [example.label for example in found.examples]
    return metrics.regression(found.task.spec.metrics, gold, found.values)


def _score_tags(found: Predictions) -> Scores:
    gold = [example.tags for example in found.examples]
    return metrics.tagging(gold, best_tags(found), found.task.learnt_scheme)


def best_tags(found: Predictions) -> list[list[str]]:
    """The likeliest tag of each word of each sentence."""
    labels = found.task.labels
    return [[labels[int(best)] for best in np.argmax(p, axis=-1)] for p in found.values]


def _score_answers(found: Predictions) -> Scores:
    texts = span_answers.best_texts(found.values)
    if not found.task.unanswerable:
        return squad_metrics.score(found.examples, texts)
    return squad_metrics.score_with_none(
        found.examples, texts, span_answers.none_scores(found.values), found.task.null_threshold
    )


SCORE: dict[str, Callable[[Predictions], Scores]] = {
    'classification': _score_classes,
    'regression': _score_scores,
    'tagging': _score_tags,
    'spans': _score_answers,
}


def headline(task: TrainedTask) -> str:
    """'SPLIT/METRIC' that stands for the task; plain tags have only an accuracy."""
    metric = 'accuracy' if task.learnt_scheme == 'plain' else task.spec.headline
    return f'{task.spec.eval_splits[0]}/{metric}'
