"""Metrics against their definitions, written out, on random input and at the edges."""

import math
import random

import numpy as np
import pytest

from electra_jax.core import errors
from electra_jax.finetune import metrics
from electra_jax.finetune.files import tag_schemes

LABELS = ('0', '1', '2', '3')


def counts(gold: np.ndarray, predicted: np.ndarray) -> tuple[int, int, int, int]:
    """True and false positives, false and true negatives, of class 1."""
    pairs = list(zip(gold.tolist(), predicted.tolist(), strict=True))
    return tuple(pairs.count(pair) for pair in [(1, 1), (0, 1), (1, 0), (0, 0)])


@pytest.mark.parametrize('seed', range(5))
def test_two_classes_against_the_formulas(seed):
    random_ = np.random.default_rng(seed)
    gold, predicted = random_.integers(0, 2, (2, 50))
    tp, fp, fn, tn = counts(gold, predicted)
    found = metrics.classification(['accuracy', 'f1', 'matthews'], gold, predicted, LABELS).values
    assert found['accuracy'] == pytest.approx((tp + tn) / 50, abs=1e-12)
    assert found['f1'] == pytest.approx(2 * tp / (2 * tp + fp + fn), abs=1e-12)
    below = math.sqrt((tp + fp) * (tp + fn) * (tn + fp) * (tn + fn))
    assert found['matthews'] == pytest.approx((tp * tn - fp * fn) / below, abs=1e-12)


def test_f1_is_that_of_the_class_1_whatever_its_number():
    gold, predicted = np.random.default_rng(0).integers(0, 2, (2, 50))
    names = ['accuracy', 'f1', 'macro_f1', 'matthews']
    one = metrics.classification(names, gold, predicted, ('0', '1')).values
    other = metrics.classification(names, 1 - gold, 1 - predicted, ('1', '0')).values
    assert other == pytest.approx(one, abs=1e-12)
    assert one['f1'] != pytest.approx(
        metrics.classification(['f1'], gold, predicted, ('1', '0')).values['f1']
    )


def test_macro_f1_is_the_mean_over_classes():
    gold, predicted = np.random.default_rng(0).integers(0, 4, (2, 80))
    each = [
        metrics.classification(['f1'], gold == c, predicted == c, LABELS).values['f1']
        for c in range(4)
    ]
    found = metrics.classification(['macro_f1'], gold, predicted, LABELS).values
    assert found['macro_f1'] == pytest.approx(np.mean(each), abs=1e-12)


@pytest.mark.parametrize(
    ('gold', 'predicted', 'wanted', 'noted'),
    [
        ([0, 1, 1, 0], [1, 1, 1, 1], (0.5, 2 / 3, 0.0), True),
        ([0, 1, 1, 0], [0, 0, 0, 0], (0.5, 0.0, 0.0), True),
        ([1, 1], [1, 1], (1.0, 1.0, 0.0), False),
        ([0, 0], [0, 0], (1.0, 0.0, 0.0), False),
        ([0, 0], [1, 1], (0.0, 0.0, 0.0), False),
        ([0], [0], (1.0, 0.0, 0.0), False),
    ],
)
@pytest.mark.filterwarnings('error')
def test_one_class_everywhere_is_no_nan(gold, predicted, wanted, noted):
    found = metrics.classification(['accuracy', 'f1', 'matthews'], gold, predicted, LABELS)
    assert tuple(found.values.values()) == pytest.approx(wanted, abs=1e-12)
    assert found.notes == ((f'every prediction is {LABELS[predicted[0]]!r}',) if noted else ())


# ---------------------------------------------------------------------------------------------
# Scores


def pearson(x: np.ndarray, y: np.ndarray) -> float:
    x, y = x - x.mean(), y - y.mean()
    return float((x * y).sum() / math.sqrt((x * x).sum() * (y * y).sum()))


def ranks(x: np.ndarray) -> np.ndarray:
    """From 1; equal values share the mean of their ranks."""
    return np.array([np.sum(x < value) + (np.sum(x == value) + 1) / 2 for value in x])


@pytest.mark.parametrize('seed', range(5))
def test_scores_against_the_formulas(seed):
    random_ = np.random.default_rng(seed)
    gold = random_.integers(0, 6, 40).astype(np.float64)  # with ties
    predicted = gold + random_.normal(size=40)
    found = metrics.regression(['pearson', 'spearman', 'mse'], gold, predicted)
    assert found.values['pearson'] == pytest.approx(pearson(gold, predicted), abs=1e-12)
    wanted = pearson(ranks(gold), ranks(predicted))
    assert found.values['spearman'] == pytest.approx(wanted, abs=1e-12)
    assert found.values['mse'] == pytest.approx(np.mean((gold - predicted) ** 2), abs=1e-12)
    assert found.notes == ()


@pytest.mark.parametrize(
    ('gold', 'predicted', 'words'),
    [
        ([1.0, 2, 3], [2.5, 2.5, 2.5], 'every prediction is 2.5; counted as 0'),
        ([4.0, 4, 4], [1.0, 2, 3], 'every true score is 4; counted as 0'),
        ([4.0], [1.0], 'every prediction is 1; counted as 0'),
    ],
)
def test_an_undefined_correlation_is_told(gold, predicted, words):
    found = metrics.regression(['pearson', 'spearman', 'mse'], gold, predicted)
    assert found.values['pearson'] == found.values['spearman'] == 0.0
    assert found.values['mse'] > 0
    assert [note.partition(' ')[0] for note in found.notes] == ['pearson', 'spearman']
    assert all(words in note for note in found.notes)


def test_nearly_constant_predictions_give_a_number_and_no_warning():
    gold = np.arange(10.0)
    found = metrics.regression(['pearson', 'spearman'], gold, 1e9 + np.arange(10) * 1e-7)
    assert all(math.isfinite(value) for value in found.values.values())


@pytest.mark.parametrize('value', [float('nan'), float('inf')])
def test_a_prediction_that_is_no_number_stops(value):
    with pytest.raises(errors.NonFiniteError, match=r'1 of 3 predicted scores .*number 1'):
        metrics.regression(['mse'], [1, 2, 3], [1, value, 3])


def test_counts_must_agree():
    for gold, predicted in [([], []), ([1], [1, 2])]:
        with pytest.raises(errors.DataError, match='nothing to score'):
            metrics.classification(['accuracy'], gold, predicted, LABELS)
        with pytest.raises(errors.DataError, match='nothing to score'):
            metrics.regression(['mse'], gold, predicted)
        with pytest.raises(errors.DataError, match='nothing to score'):
            metrics.tagging([['O']] * len(gold), [['O']] * len(predicted), 'bio')
    with pytest.raises(errors.DataError, match='sentence 1 has 2 tags in the file and 1 predicted'):
        metrics.tagging([['O'], ['O', 'O']], [['O'], ['O']], 'bio')


# ---------------------------------------------------------------------------------------------
# Tags


def random_tags(seed: int, scheme: str) -> tuple[list[list[str]], list[list[str]]]:
    rng = random.Random(seed)
    letters = tag_schemes.SCHEMES[scheme]
    pool = ['O', 'O', *(f'{letter}-{kind}' for letter in letters for kind in 'XY')]
    gold = []
    for _ in range(30):
        tags = [rng.choice(pool) for _ in range(rng.randint(1, 9))]
        gold.append(list(tag_schemes.convert(tags, scheme)))
    predicted = [[tag if rng.random() < 0.7 else rng.choice(pool) for tag in tags] for tags in gold]
    return gold, predicted


def span_scores(gold: list, predicted: list) -> tuple[float, float, float]:
    right = true = found = 0
    for one, other in zip(gold, predicted, strict=True):
        one, other = set(one), set(other)
        right, true, found = right + len(one & other), true + len(one), found + len(other)
    return 2 * right / (true + found), right / found, right / true


@pytest.mark.parametrize('scheme', ['bio', 'iob1', 'iobes', 'bilou'])
@pytest.mark.parametrize('seed', range(3))
def test_span_scores_against_the_formulas(scheme, seed):
    gold, predicted = random_tags(seed, scheme)
    found = metrics.tagging(gold, predicted, scheme)
    spans = [[tag_schemes.spans(tags) for tags in side] for side in (gold, predicted)]
    values = [found.values[name] for name in ('f1', 'precision', 'recall')]
    assert values == pytest.approx(span_scores(*spans), abs=1e-12)
    flat = [np.concatenate(side) for side in (gold, predicted)]
    assert found.values['accuracy'] == pytest.approx(np.mean(flat[0] == flat[1]), abs=1e-12)
    assert set(found.by_type) == {'X', 'Y'}
    support = sum(row['support'] for row in found.by_type.values())
    assert support == sum(map(len, spans[0]))


def test_ill_formed_spans_count_as_conlleval_reads_them():
    gold, predicted = [['B-X', 'I-X', 'O', 'B-Y']], [['I-X', 'I-X', 'O', 'B-Y']]
    assert metrics.tagging(gold, predicted, 'bio').values['f1'] == 1.0


@pytest.mark.parametrize(
    ('gold', 'predicted', 'wanted'),
    [
        ([['O', 'O']], [['O', 'O']], 0.0),
        ([['B-X']], [['O']], 0.0),
        ([['O']], [['B-X']], 0.0),
        ([['B-X']], [['B-X']], 1.0),
    ],
)
def test_no_spans_on_a_side(gold, predicted, wanted):
    found = metrics.tagging(gold, predicted, 'bio')
    assert [found.values[n] for n in ('f1', 'precision', 'recall')] == [wanted] * 3
    assert bool(found.notes) == (gold == predicted and wanted == 0)


def test_plain_tags_have_an_accuracy_only():
    found = metrics.tagging([['DT', 'NN'], ['VB']], [['DT', 'VB'], ['VB']], 'plain')
    assert found.values == {'accuracy': pytest.approx(2 / 3)}
