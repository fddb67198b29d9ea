"""From what a model says of each row's tokens to one answer for each question, in NumPy alone.

A text that is too long for a row becomes several windows. Whatever the head, it is brought into
one form, a list of scored pairs of tokens (`Candidate`) for each window, from logits of starts and
ends or from a beam search; the rest is common. Rules as in the reference (electra,
finetune/qa/qa_tasks.py, which follows BERT's run_squad.py).
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

import numpy as np

from electra_jax.core.errors import NonFiniteError
from electra_jax.finetune.examples import SpanExample


class Window(NamedTuple):
    """What of a text a row shows; every array is of length L.

    Attributes:
      example: number of the question that the row belongs to.
      begin_L: int, where in the context the characters of each token begin.
      stop_L: int, the character after them.
      text_L: bool, whether the token is of the context: an answer may end there.
      best_L: bool, whether of all windows this one shows the most around the token: an answer may
        start there. Without it, poor views of a token would vote as well.
    """

    example: int
    begin_L: np.ndarray
    stop_L: np.ndarray
    text_L: np.ndarray
    best_L: np.ndarray


class Candidate(NamedTuple):
    """The answer from token `start` to token `end`, inclusive, of a row."""

    start: int
    end: int
    score: float


class Found(NamedTuple):
    """An answer in a context.

    Attributes:
      text: the characters themselves.
      start: the first character.
      score: start's and end's together, higher is better.
      probability: among the answers listed for the question.
    """

    text: str
    start: int
    score: float
    probability: float


class SpanAnswer(NamedTuple):
    """What a model says to a question.

    Attributes:
      id: of the question.
      best: its best answer, '' where no window holds one.
      none_score: how surely the context holds no answer; None: the head does not say.
      n_best: the best answers, all different.
    """

    id: str
    best: str
    none_score: float | None
    n_best: tuple[Found, ...]


def from_logits(
    start_L: np.ndarray, end_L: np.ndarray, window: Window, n_best: int, max_tokens: int
) -> list[Candidate]:
    """The best pairs of a head that scores starts and ends on their own.

    Args:
      start_L: logit of each token as a start, float.
      end_L: as an end.
      window: of the row.
      n_best: how many pairs.
      max_tokens: of an answer.

    >>> window = Window(0, *np.arange(8).reshape(2, 4), *np.ones((2, 4), bool))
    >>> from_logits(np.array([0., 3, 0, 0]), np.array([5., 0, 2, 4]), window, 2, 2)
    [Candidate(start=0, end=0, score=5.0), Candidate(start=1, end=2, score=5.0)]
    """
    L = len(start_L)
    reach = min(max_tokens, L)
    # [start, further tokens]: only ends that are near enough, whatever L.
    ends_LR = np.arange(L)[:, None] + np.arange(reach)[None]
    inside_LR = ends_LR < L
    ends_LR = np.minimum(ends_LR, L - 1)
    allowed_LR = inside_LR & (window.text_L & window.best_L)[:, None] & window.text_L[ends_LR]
    scores_LR = start_L.astype(np.float64)[:, None] + end_L.astype(np.float64)[ends_LR]
    places = np.flatnonzero(allowed_LR)
    scores = scores_LR.ravel()[places]
    chosen = _best(scores, n_best)
    starts, further = np.divmod(places[chosen], reach)
    return [
        Candidate(int(start), int(start + more), float(score))
        for start, more, score in zip(starts, further, scores[chosen], strict=True)
    ]


def from_beams(
    start_index_K: np.ndarray,
    start_score_K: np.ndarray,
    end_index_KM: np.ndarray,
    end_score_KM: np.ndarray,
    window: Window,
    n_best: int,
    max_tokens: int,
) -> list[Candidate]:
    """The best pairs of a head that scores ends given a start, for the starts that it has tried.

    Args:
      start_index_K: tokens tried as starts.
      start_score_K: their log-probabilities.
      end_index_KM: for each, the tokens tried as ends.
      end_score_KM: their log-probabilities given that start.
      window: of the row.
      n_best: how many pairs.
      max_tokens: of an answer.
    """
    starts_KM = np.broadcast_to(start_index_K[:, None], end_index_KM.shape)
    length_KM = end_index_KM - starts_KM + 1
    startable_L = window.text_L & window.best_L
    allowed_KM = startable_L[starts_KM] & window.text_L[end_index_KM]
    allowed_KM &= (length_KM >= 1) & (length_KM <= max_tokens)
    starts, ends = starts_KM[allowed_KM], end_index_KM[allowed_KM]
    scores = (start_score_K.astype(np.float64)[:, None] + end_score_KM)[allowed_KM]
    chosen = _best(scores, n_best)
    return [
        Candidate(int(start), int(end), float(score))
        for start, end, score in zip(starts[chosen], ends[chosen], scores[chosen], strict=True)
    ]


def _best(scores: np.ndarray, number: int) -> np.ndarray:
    """Places of the highest scores, best first, equal ones in their order."""
    _check_numbers(scores)
    if len(scores) > number:
        # Everything that ties with the last one kept must stay in, so that the order decides.
        least = np.partition(scores, len(scores) - number)[len(scores) - number]
        kept = np.flatnonzero(scores >= least)
    else:
        kept = np.arange(len(scores))
    return kept[np.argsort(-scores[kept], kind='stable')][:number]


def _check_numbers(scores: np.ndarray) -> None:
    if np.isnan(scores).any():
        raise NonFiniteError(
            'the model scores answers with NaN: its training has failed; lower '
            'config.optimizer.learning_rate'
        )


def answers(
    examples: Sequence[SpanExample],
    windows: Iterable[tuple[Window, Sequence[Candidate], float | None]],
    n_best: int,
    none_is_relative: bool,
) -> list[SpanAnswer]:
    """One answer for each question, the best over its windows.

    Args:
      examples: the questions.
      windows: of all of them, in any order: each with its candidates, and with its score of there
        being no answer, or None. The lowest over the windows counts: the answer is absent only if
        no window holds it.
      n_best: answers listed for a question.
      none_is_relative: whether the score of no answer competes with those of answers, as the sum
        of the first token's start and end logits does (Hugging Face): the best answer's score is
        then taken off. A logit of its own (reference) stands alone.

    Returns:
      In the order of the examples.

    Raises:
      NonFiniteError: a score of no answer is a NaN; `from_logits` and `from_beams` look
        at the others.
    """
    held: dict[int, list[tuple[Candidate, Window]]] = {}
    none: dict[int, float] = {}
    for window, candidates, none_score in windows:
        _check_numbers(np.array([none_score or 0.0]))
        held.setdefault(window.example, []).extend((c, window) for c in candidates)
        if none_score is not None:
            none[window.example] = min(none.get(window.example, np.inf), float(none_score))
    found = []
    for number, example in enumerate(examples):
        pairs = sorted(held.get(number, ()), key=lambda pair: -pair[0].score)
        listed = _n_best(example, pairs, n_best)
        none_score = none.get(number)
        if none_score is not None and none_is_relative and listed:
            none_score -= listed[0].score
        best = listed[0].text if listed else ''
        found.append(SpanAnswer(example.id, best, none_score, listed))
    return found


def _n_best(
    example: SpanExample, pairs: Iterable[tuple[Candidate, Window]], n_best: int
) -> tuple[Found, ...]:
    texts: dict[str, Found] = {}
    for candidate, window in pairs:
        begin, stop = int(window.begin_L[candidate.start]), int(window.stop_L[candidate.end])
        text = example.context[begin:stop]
        begin += len(text) - len(text.lstrip())
        text = text.strip()
        if text and text not in texts:
            texts[text] = Found(text, begin, candidate.score, 0.0)
        if len(texts) == n_best:
            break
    if not texts:
        return ()
    scores = np.array([found.score for found in texts.values()])
    shares = np.exp(scores - scores.max())
    shares /= shares.sum()
    listed = zip(texts.values(), shares, strict=True)
    return tuple(found._replace(probability=float(share)) for found, share in listed)


def best_texts(found: Iterable[SpanAnswer]) -> dict[str, str]:
    """Id -> the best answer, whatever its no-answer score."""
    return {answer.id: answer.best for answer in found}


def none_scores(found: Iterable[SpanAnswer]) -> dict[str, float]:
    """Id -> how surely there is no answer, where the head says so."""
    return {a.id: a.none_score for a in found if a.none_score is not None}


def final_texts(
    texts: Mapping[str, str], none: Mapping[str, float], threshold: float
) -> dict[str, str]:
    """Id -> the answer, '' where the no-answer score is above the threshold."""
    return {
        name: '' if none.get(name, -np.inf) > threshold else text for name, text in texts.items()
    }
