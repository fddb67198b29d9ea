"""How good answers are, by the official rules of SQuAD 1.1, SQuAD 2.0 and MRQA.

The rules of https://worksheets.codalab.org/worksheets/0x6b567e1cf2e041ec80d7098f031c5c9e
(evaluate-v2.0.py), of evaluate-v1.1.py and of mrqa_official_eval.py, written again; shares are
fractions here and percentages there.
"""

import collections
import functools
import re
import string
from collections.abc import Sequence

import numpy as np

from electra_jax.finetune.examples import SpanExample
from electra_jax.finetune.kinds.kind import Scores

_ARTICLES = re.compile(r'\b(a|an|the)\b')
_NO_PUNCTUATION = str.maketrans('', '', string.punctuation)


def normalized(text: str) -> str:
    """What counts of an answer: lower case, without punctuation, articles and odd white space.

    Only ASCII punctuation goes, and it goes before the articles: "A.B." becomes "ab".

    >>> normalized('The  Cat, a dog')
    'cat dog'
    """
    return ' '.join(_ARTICLES.sub(' ', text.lower().translate(_NO_PUNCTUATION)).split())


def exact(predicted: str, reference: str) -> float:
    """1.0 where two answers are the same once normalized, otherwise 0.0."""
    return float(normalized(predicted) == normalized(reference))


def overlap(predicted: str, reference: str, empty_matches: bool = False) -> float:
    """F1 of the words that two answers share, counted with their multiplicity.

    `empty_matches`: whether two answers that are empty once normalized agree, as in SQuAD 2.0; in
    1.1 and MRQA they share no word and get 0.

    >>> overlap('the old cat', 'a cat')
    0.6666666666666666
    """
    mine, theirs = normalized(predicted).split(), normalized(reference).split()
    if empty_matches and not (mine and theirs):
        return float(mine == theirs)
    shared = sum((collections.Counter(mine) & collections.Counter(theirs)).values())
    return 2 * shared / (len(mine) + len(theirs)) if shared else 0.0


def score(examples: Sequence[SpanExample], texts: Sequence[str]) -> Scores:
    """Scores of the answers to questions which all have references.

    As in SQuAD 1.1 and MRQA: 'exact_match' and 'f1', for each question the best over its
    references; the mean.
    """
    pairs = list(zip(texts, examples, strict=True))
    exact_B = [max(exact(text, r) for r in e.references) for text, e in pairs]
    f1_B = [max(overlap(text, r) for r in e.references) for text, e in pairs]
    return Scores({'exact_match': float(np.mean(exact_B)), 'f1': float(np.mean(f1_B))})


def score_with_none(
    examples: Sequence[SpanExample],
    texts: Sequence[str],
    none_scores: Sequence[float],
    threshold: float,
) -> Scores:
    """Scores of answers to questions of which some have none (SQuAD 2.0).

    Args:
        examples: with their references; none where there is no answer.
        texts: the best answer to each, whatever its no-answer score ('' also means none).
        none_scores: how surely each has no answer; any scale.
        threshold: above it the answer is none.

    Returns:
        'exact_match' and 'f1' at the threshold; the same over the questions with an answer
        ('has_answer_exact', 'has_answer_f1') and without ('no_answer_exact', 'no_answer_f1'), where
        there are any; 'best_exact', 'best_f1' and their '..._threshold', over all thresholds.
    """
    # Official: references that are empty once normalized do not count.
    references = [[r for r in e.references if normalized(r)] or [''] for e in examples]
    answered_B = np.array([bool(e.references) for e in examples])
    empty_B = np.array([not text for text in texts])
    none_B = np.array(none_scores, np.float64)
    values, best = {}, {}
    overlap_or_none = functools.partial(overlap, empty_matches=True)
    for name, measure in (('exact', exact), ('f1', overlap_or_none)):
        raw_B = np.array(
            [max(measure(a, r) for r in rs) for a, rs in zip(texts, references, strict=True)]
        )
        final_B = np.where(none_B > threshold, ~answered_B, raw_B).astype(np.float64)
        values['exact_match' if name == 'exact' else name] = float(final_B.mean())
        for part, chosen_B in (('has_answer', answered_B), ('no_answer', ~answered_B)):
            if chosen_B.any():
                values[f'{part}_{name}'] = float(final_B[chosen_B].mean())
        found = best_threshold(raw_B, answered_B, empty_B, none_B)
        best[f'best_{name}'], best[f'best_{name}_threshold'] = found
    return Scores({**values, **best})


def best_threshold(
    raw_B: np.ndarray, answered_B: np.ndarray, empty_B: np.ndarray, none_B: np.ndarray
) -> tuple[float, float]:
    """The best score by any threshold on no-answer scores, and that threshold.

    Start from no answer to anything, and take on the predicted answers in the order of their
    no-answer scores `none_B`: each gains its score `raw_B` where there is an answer (`answered_B`),
    and loses 1 where there is none, unless it is empty anyway (`empty_B`).
    """
    order_B = np.argsort(none_B, kind='stable')
    gain_B = np.where(answered_B, raw_B, np.where(empty_B, 0.0, -1.0))[order_B]
    totals_B = np.sum(~answered_B) + np.cumsum(gain_B)
    best = int(np.argmax(totals_B))
    if totals_B[best] <= np.sum(~answered_B):
        return float(np.mean(~answered_B)), 0.0
    return float(totals_B[best] / len(raw_B)), float(none_B[order_B[best]])
