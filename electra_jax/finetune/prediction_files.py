"""What a model says of a split, as files: JSON lines, those that judges take, and pictures."""

import math
import pathlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from electra_jax.core import errors
from electra_jax.finetune import plots, predictions, results, span_answers, squad_metrics
from electra_jax.finetune.examples import SpanExample, TaggedExample, TextExample
from electra_jax.finetune.known import TaskSpec
from electra_jax.finetune.predictions import Predictions
from electra_jax.finetune.span_answers import SpanAnswer


def final_texts(found: Predictions) -> dict[str, str]:
    """Id of a question -> the answer, '' for none."""
    texts = span_answers.best_texts(found.values)
    if not found.task.unanswerable:
        return texts
    none = span_answers.none_scores(found.values)
    return span_answers.final_texts(texts, none, found.task.null_threshold)


def json_rows(found: Predictions) -> Iterable[dict[str, Any]]:
    """A JSON object for each example."""
    kind, labels = found.task.kind, found.task.labels
    if kind == 'classification':
        return text_rows(found.examples, found.values, labels)
    if kind == 'regression':
        return score_rows(found.examples, found.values)
    if kind == 'tagging':
        return tag_rows(found.examples, found.values, labels)
    return answer_rows(found.examples, found.values, final_texts(found))


def write(folder: pathlib.Path, split: str, found: Predictions) -> None:
    """Predictions of a split as JSON lines, and in the forms that its judges take.

    Pictures show how those with labels went.
    """
    task = found.task
    results.write_json_lines(folder / f'{split}.jsonl', json_rows(found))
    if split in task.spec.submissions:
        values = found.values
        if task.kind == 'classification':
            values = [task.labels[int(best)] for best in np.argmax(values, axis=-1)]
        write_glue(folder, task.spec, split, found.examples, values)
    if task.kind == 'spans':
        threshold = task.null_threshold if task.unanswerable else None
        write_squad(folder / f'{split}_squad', found.values, threshold)
    if predictions.answered(found):
        DRAW[task.kind](folder, split, found)


def _draw_classes(folder: pathlib.Path, split: str, found: Predictions) -> None:
    best, labels = np.argmax(found.values, axis=-1), found.task.labels
    path = folder / f'{split}_confusion.png'
    plots.confusion(path, predictions.gold_classes(found), best, labels, _title(split, found))


def _draw_scores(folder: pathlib.Path, split: str, found: Predictions) -> None:
    gold = [example.label for example in found.examples]
    plots.scatter(folder / f'{split}_scores.png', gold, found.values, _title(split, found))


def _draw_tags(folder: pathlib.Path, split: str, found: Predictions) -> None:
    """What type of span each word is in and is taken to be in; plain tags as they are."""
    plain = found.task.learnt_scheme == 'plain'

    def type_of(tag: str) -> str:
        return tag if plain else tag.partition('-')[2] or tag

    types = list(dict.fromkeys(map(type_of, found.task.labels)))
    numbers = {tag: types.index(type_of(tag)) for tag in found.task.labels}
    gold = [numbers[tag] for example in found.examples for tag in example.tags]
    best = [numbers[tag] for tags in predictions.best_tags(found) for tag in tags]
    title = f'{_title(split, found)}, words'
    plots.confusion(folder / f'{split}_confusion.png', gold, best, types, title)
    if not plain:
        by_type = predictions.score(found).by_type
        results.write_json(folder / f'{split}_types.json', by_type)


def _draw_answers(folder: pathlib.Path, split: str, found: Predictions) -> None:
    """How sure right and wrong answers are, and how no-answer scores lie."""
    groups: dict[str, list[float]] = {'right': [], 'wrong': []}
    for example, answer in zip(found.examples, found.values, strict=True):
        if answer.n_best:
            is_right = any(squad_metrics.exact(answer.best, r) for r in example.references)
            groups['right' if is_right else 'wrong'].append(answer.n_best[0].probability)
    path, what = folder / f'{split}_answers.png', 'probability of the best answer'
    plots.distribution(path, groups, _title(split, found), what)
    if found.task.unanswerable:
        none = span_answers.none_scores(found.values)
        groups = {
            name: [none[e.id] for e in found.examples if bool(e.references) == has]
            for name, has in (('with an answer', True), ('without', False))
        }
        path, what = folder / f'{split}_no_answer.png', 'no-answer score'
        plots.distribution(path, groups, _title(split, found), what, found.task.null_threshold)


def _title(split: str, found: Predictions) -> str:
    return f'{found.task.name}, {split}'


# Kind of task -> what is drawn of predictions with labels.
DRAW: dict[str, Callable[[pathlib.Path, str, Predictions], None]] = {
    'classification': _draw_classes,
    'regression': _draw_scores,
    'tagging': _draw_tags,
    'spans': _draw_answers,
}


# ---------------------------------------------------------------------------------------------
# A JSON object for each example


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
# For the judges of GLUE and SQuAD


def write_glue(
    folder: pathlib.Path,
    spec: TaskSpec,
    split: str,
    examples: Sequence[TextExample],
    predictions: Sequence[str | float],
) -> pathlib.Path:
    r"""Writes the file of a test split for https://gluebenchmark.com: "index\tprediction" lines.

    Args:
      folder: made if it is not there.
      spec: of a GLUE task.
      split: a key of its `submissions`.
      examples: of the whole test file (`check_whole`), in any order.
      predictions: for each, its label, or its score.

    Returns:
      The file, under GLUE's name for it.
    """
    pairs = sorted(zip(examples, predictions, strict=True), key=lambda pair: _index(pair[0]))
    rows = [f'{example.id}\t{_cell(spec, prediction)}' for example, prediction in pairs]
    path = folder / spec.submissions[split]
    results.write_text(path, '\n'.join(['index\tprediction', *rows]) + '\n')
    return path


def check_whole(examples: Sequence[TextExample]) -> None:
    """Refuses a test file that GLUE would refuse the predictions of; to be asked before training.

    Raises:
      errors.DataError: rows are missing, or not numbered from 0.
    """
    for number, example in enumerate(sorted(examples, key=_index)):
        if _index(example) != number:
            raise errors.DataError(
                f'{example.where}: GLUE wants one prediction for every row of the test file, '
                f'numbered from 0, and where number {number} should be the file has '
                f'{example.id!r}; use the official file whole (--config.data.on_bad_row=error)'
            )


def _index(example: TextExample) -> int:
    return int(example.id) if example.id.isdecimal() else -1


def _cell(spec: TaskSpec, prediction: str | float) -> str:
    if spec.kind != 'regression':
        return str(prediction)
    low, high = spec.score_range or (-math.inf, math.inf)
    return f'{min(max(float(prediction), low), high):.3f}'


def write_squad(
    folder: pathlib.Path,
    answers: Sequence[SpanAnswer],
    threshold: float | None,
) -> None:
    """Writes the files that the official scripts of SQuAD and MRQA read.

    'predictions.json' ({id: answer}) and 'n_best.json'. With a threshold also, for SQuAD 2.0,
    'null_odds.json' (the no-answer scores as they are), 'na_prob.json' (the same between 0 and 1)
    and 'best_texts.json' (answers whatever the threshold): evaluate-v2.0.py finds the best
    threshold of `best_texts.json` with `--na-prob-file na_prob.json`.

    Args:
      folder: made if it is not there.
      answers: to all questions.
      threshold: no answer above this no-answer score; None: every question has one.
    """
    texts = span_answers.best_texts(answers)
    listed = {answer.id: [_listed(found) for found in answer.n_best] for answer in answers}
    results.write_json(folder / 'n_best.json', listed)
    if threshold is None:
        results.write_json(folder / 'predictions.json', texts)
        return
    none = span_answers.none_scores(answers)
    final = span_answers.final_texts(texts, none, threshold)
    results.write_json(folder / 'predictions.json', final)
    results.write_json(folder / 'best_texts.json', texts)
    results.write_json(folder / 'null_odds.json', none)
    results.write_json(folder / 'na_prob.json', {k: _sigmoid(v) for k, v in none.items()})


def _listed(found: span_answers.Found) -> dict[str, Any]:
    return {
        'text': found.text,
        'probability': found.probability,
        'score': found.score,
        'start': found.start,
    }


def _sigmoid(value: float) -> float:
    """Between 0 and 1, also where exp would overflow."""
    power = math.exp(-abs(value))
    return 1 / (1 + power) if value >= 0 else power / (1 + power)
