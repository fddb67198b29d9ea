"""Predictions in the forms that the judges of GLUE and SQuAD take."""

import math
import pathlib
from collections.abc import Sequence
from typing import Any

from electra_jax.core import errors
from electra_jax.tasks import results, span_answers
from electra_jax.tasks.examples import TextExample
from electra_jax.tasks.span_answers import SpanAnswer
from electra_jax.tasks.table import TaskSpec


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
