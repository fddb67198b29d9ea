"""How good predictions are, by the official metrics of GLUE and of CoNLL.

Shares and correlations are fractions here; tables for people show them times 100.
"""

import warnings
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from electra_jax.core import errors
from electra_jax.finetune.files import tag_schemes

# Those that are shown times 100.
SHARES = frozenset(
    {
        'accuracy',
        'f1',
        'macro_f1',
        'matthews',
        'pearson',
        'spearman',
        'precision',
        'recall',
        'exact_match',
        'has_answer_exact',
        'has_answer_f1',
        'no_answer_exact',
        'no_answer_f1',
        'best_exact',
        'best_f1',
    }
)


class Scores(NamedTuple):
    """Metrics of one set of predictions.

    Attributes:
      values: metric -> value, always a finite number.
      notes: what a reader of the values must know, such as that one is not defined.
      by_type: type of span -> its own precision, recall, f1 and support ('tagging').
    """

    values: dict[str, float]
    notes: tuple[str, ...] = ()
    by_type: Mapping[str, Mapping[str, float]] = {}


# ---------------------------------------------------------------------------------------------
# Classes


def _accuracy(gold_B: np.ndarray, predicted_B: np.ndarray) -> float:
    return float(np.mean(gold_B == predicted_B))


def _f1(gold_B: np.ndarray, predicted_B: np.ndarray) -> float:
    """Of the class '1', as GLUE has it for MRPC and QQP."""
    # Here and below: scikit-learn takes a second to import, and only scoring needs it.
    from sklearn import metrics

    return float(
        metrics.f1_score(gold_B, predicted_B, labels=['1'], average='micro', zero_division=0)
    )


def _macro_f1(gold_B: np.ndarray, predicted_B: np.ndarray) -> float:
    """The mean over the classes that occur."""
    from sklearn import metrics

    return float(metrics.f1_score(gold_B, predicted_B, average='macro', zero_division=0))


def _matthews(gold_B: np.ndarray, predicted_B: np.ndarray) -> float:
    from sklearn import metrics

    if len(np.union1d(gold_B, predicted_B)) == 1:
        return 0.0  # one class everywhere: by convention, and scikit-learn would warn
    return float(metrics.matthews_corrcoef(gold_B, predicted_B))


CLASS_METRICS: dict[str, Callable[[np.ndarray, np.ndarray], float]] = {
    'accuracy': _accuracy,
    'f1': _f1,
    'macro_f1': _macro_f1,
    'matthews': _matthews,
}


def classification(
    names: Sequence[str], gold: Sequence[int], predicted: Sequence[int], labels: Sequence[str]
) -> Scores:
    """Metrics of predicted classes.

    Args:
      names: keys of CLASS_METRICS.
      gold: class of each example, as its id.
      predicted: likewise.
      labels: names of the classes by id.

    Raises:
      errors.DataError: there are no examples, or not as many predictions.
    """
    gold_B, predicted_B = (np.array(labels)[ids] for ids in _pair(gold, predicted, np.int64))
    notes = []
    if len(np.unique(predicted_B)) == 1 and len(np.unique(gold_B)) > 1:
        notes.append(f'every prediction is {str(predicted_B[0])!r}')
    return Scores({name: CLASS_METRICS[name](gold_B, predicted_B) for name in names}, tuple(notes))


# ---------------------------------------------------------------------------------------------
# Scores


def regression(names: Sequence[str], gold: Sequence[float], predicted: Sequence[float]) -> Scores:
    """Metrics of predicted scores.

    A correlation that is not defined (one side is constant) counts as 0, and a note says so.

    Args:
      names: of 'pearson', 'spearman' and 'mse'.
      gold: score of each example.
      predicted: likewise.

    Raises:
      errors.DataError: there are no examples, or not as many predictions.
      errors.NonFiniteError: a prediction is a NaN or an infinity.
    """
    gold_B, predicted_B = _pair(gold, predicted, np.float64)
    bad = np.flatnonzero(~np.isfinite(predicted_B))
    if len(bad):
        raise errors.NonFiniteError(
            f'{len(bad)} of {len(predicted_B)} predicted scores are no finite numbers; the first '
            f'is number {bad[0]}, {predicted_B[bad[0]]}: lower optimizer.learning_rate'
        )
    values, notes = {}, []
    for name in names:
        values[name], note = _score_metric(name, gold_B, predicted_B)
        notes += [note] if note else []
    return Scores(values, tuple(notes))


def _score_metric(
    name: str, gold_B: np.ndarray, predicted_B: np.ndarray
) -> tuple[float, str | None]:
    if name == 'mse':
        return float(np.mean((gold_B - predicted_B) ** 2)), None
    from scipy import stats

    function = {'pearson': stats.pearsonr, 'spearman': stats.spearmanr}[name]
    for side, values_B in (('prediction', predicted_B), ('true score', gold_B)):
        if np.all(values_B == values_B[0]):
            return 0.0, f'{name} is not defined: every {side} is {values_B[0]:g}; counted as 0'
    with warnings.catch_warnings():
        warnings.simplefilter('ignore')  # nearly constant input: looked at below
        found = float(function(gold_B, predicted_B).statistic)
    if not np.isfinite(found):
        return 0.0, f'{name} is not defined for scores this close together; counted as 0'
    return found, None


def _pair(gold: Sequence, predicted: Sequence, dtype: Any) -> tuple[np.ndarray, np.ndarray]:
    gold_B, predicted_B = np.asarray(gold, dtype), np.asarray(predicted, dtype)
    _check_counts(len(gold_B), len(predicted_B))
    return gold_B, predicted_B


def _check_counts(gold: int, predicted: int) -> None:
    if gold != predicted or not gold:
        raise errors.DataError(f'{predicted} predictions for {gold} examples: nothing to score')


# ---------------------------------------------------------------------------------------------
# Tags


def tagging(
    gold: Sequence[Sequence[str]], predicted: Sequence[Sequence[str]], scheme: str
) -> Scores:
    """Span F1, precision and recall by seqeval, and the share of words with the right tag.

    Spans are read as leniently as conlleval does.

    Args:
      gold: tags of each sentence.
      predicted: likewise, as many.
      scheme: of both; 'plain' tags have an accuracy only.

    Raises:
      errors.DataError: a sentence has more tags on one side than on the other.
    """
    _check_tags(gold, predicted)
    words = [pair for both in zip(gold, predicted, strict=True) for pair in zip(*both, strict=True)]
    accuracy = {'accuracy': float(np.mean([one == other for one, other in words]))}
    if scheme == 'plain':
        return Scores(accuracy)
    if not any(tag != tag_schemes.OUTSIDE for pair in words for tag in pair):
        nothing = {'f1': 0.0, 'precision': 0.0, 'recall': 0.0}
        return Scores({**nothing, **accuracy}, ('no span in the file, and none predicted',))
    # seqeval does not know BILOU, and what spans tags write is the same in every scheme.
    report = _seqeval_report(*map(_as_iobes, (gold, predicted)))
    by_type = {
        kind: {_NAMES[name]: float(value) for name, value in row.items()}
        for kind, row in report.items()
    }
    overall = by_type.pop('micro avg')
    by_type = {kind: by_type[kind] for kind in by_type if not kind.endswith(' avg')}
    values = {name: overall[name] for name in ('f1', 'precision', 'recall')}
    return Scores({**values, **accuracy}, (), by_type)


_NAMES = {'precision': 'precision', 'recall': 'recall', 'f1-score': 'f1', 'support': 'support'}


def _seqeval_report(
    gold: list[list[str]], predicted: list[list[str]]
) -> dict[str, dict[str, float]]:
    from seqeval import metrics

    return metrics.classification_report(gold, predicted, output_dict=True, zero_division=0)


def _as_iobes(sentences: Sequence[Sequence[str]]) -> list[list[str]]:
    return [list(tag_schemes.convert(tags, 'iobes')) for tags in sentences]


def _check_tags(gold: Sequence[Sequence[str]], predicted: Sequence[Sequence[str]]) -> None:
    _check_counts(len(gold), len(predicted))
    for number, (true, found) in enumerate(zip(gold, predicted, strict=True)):
        if len(true) != len(found):
            raise errors.DataError(
                f'sentence {number} has {len(true)} tags in the file and {len(found)} predicted'
            )
