"""From what a model gives for the tokens of each row to the answers of each question, in NumPy.

A text that is too long for a row becomes several windows. Whatever the head, its outputs become a
list of scored pairs of tokens (`Candidate`) for each window; the rest is common. The rules are
those of the reference (electra, finetune/qa/qa_tasks.py, which follows BERT's run_squad.py).
"""

# R: tokens that an answer may go on from its start; S: starts of a beam search; T: ends of each.

from collections.abc import Iterable, Sequence
from typing import NamedTuple

import numpy as np

from electra_jax.core.errors import NonFiniteError
from electra_jax.finetune.examples import SpanExample


class Window(NamedTuple):
    """What a row shows of a text; every array is of length L."""

    example: int  # number of the question that the row belongs to
    begin_L: np.ndarray  # int, where in the context the characters of each token begin
    stop_L: np.ndarray  # int, the character after them
    text_L: np.ndarray  # bool, whether the token is of the context: an answer may end there
    # bool, whether of all windows this one shows the most around the token: an answer may start
    # there. Otherwise, windows that show little of a token would vote as well.
    best_L: np.ndarray


class Candidate(NamedTuple):
    """The answer from token `start` to token `end`, inclusive, of a row."""

    start: int
    end: int
    score: float


class Found(NamedTuple):
    """An answer that was found in a context."""

    text: str
    start: int  # its first character in the context
    score: float  # the higher, the better
    probability: float  # among the answers listed for the question


class SpanAnswer(NamedTuple):
    """The answers to a question."""

    id: str
    none_score: float | None  # the higher, the less likely there is an answer; None: not known
    n_best: tuple[Found, ...]  # the best answers, all different

    @property
    def best(self) -> str:
        """The best answer, '' where no window holds one."""
        return self.n_best[0].text if self.n_best else ''


def from_logits(
    start_L: np.ndarray, end_L: np.ndarray, window: Window, n_best: int, max_tokens: int
) -> list[Candidate]:
    """The best `n_best` pairs by a head that gives each token a logit as a start and one as an end.

    >>> window = Window(0, *np.arange(8).reshape(2, 4), *np.ones((2, 4), bool))
    >>> from_logits(np.array([0., 3, 0, 0]), np.array([5., 0, 2, 4]), window, 2, 2)
    [Candidate(start=0, end=0, score=5.0), Candidate(start=1, end=2, score=5.0)]
    """
    L = len(start_L)
    starts_LR = np.broadcast_to(np.arange(L)[:, None], (L, min(max_tokens, L)))
    ends_LR = starts_LR + np.arange(starts_LR.shape[1])
    inside_LR = ends_LR < L
    starts, ends = starts_LR[inside_LR], ends_LR[inside_LR]
    scores = start_L.astype(np.float64)[starts] + end_L.astype(np.float64)[ends]
    return _best_pairs(starts, ends, scores, window, n_best, max_tokens)


def from_beams(
    start_index_S: np.ndarray,
    start_score_S: np.ndarray,
    end_index_ST: np.ndarray,
    end_score_ST: np.ndarray,
    window: Window,
    n_best: int,
    max_tokens: int,
) -> list[Candidate]:
    """The best pairs by a head that scores ends given a start, for each start that it tried.

    The indices are of tokens, the scores log-probabilities: of ends, given their start.
    """
    starts_ST = np.broadcast_to(start_index_S[:, None], end_index_ST.shape)
    scores_ST = start_score_S.astype(np.float64)[:, None] + end_score_ST
    pairs = (starts_ST.ravel(), end_index_ST.ravel(), scores_ST.ravel())
    return _best_pairs(*pairs, window, n_best, max_tokens)


def _best_pairs(
    starts: np.ndarray,
    ends: np.ndarray,
    scores: np.ndarray,
    window: Window,
    n_best: int,
    max_tokens: int,
) -> list[Candidate]:
    """The pairs that are answers and have the highest scores, equal ones in their order."""
    allowed = (window.text_L & window.best_L)[starts] & window.text_L[ends]
    allowed &= (starts <= ends) & (ends < starts + max_tokens)
    starts, ends, scores = starts[allowed], ends[allowed], scores[allowed]
    _check_numbers(scores)
    kept = np.arange(len(scores))
    if len(scores) > n_best:
        # Everything that ties with the last one kept must stay in, so that the order decides.
        least = np.partition(scores, len(scores) - n_best)[len(scores) - n_best]
        kept = np.flatnonzero(scores >= least)
    best = kept[np.argsort(-scores[kept], kind='stable')][:n_best]
    columns = (starts[best].tolist(), ends[best].tolist(), scores[best].tolist())
    return [Candidate(*pair) for pair in zip(*columns, strict=True)]


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
    """The best answers to each question over its windows.

    Args:
        examples: the questions.
        windows: of all of them, in any order: each with its candidates, and with its score of
            there being no answer, or None. The lowest over the windows counts: there is no answer
            only if no window holds it.
        n_best: answers listed for a question.
        none_is_relative: whether the score of no answer competes with those of answers, as the sum
            of the first token's start and end logits does (Hugging Face): the best answer's score
            is then subtracted. A logit of its own (reference) is used as it is.

    Returns:
        One for each example, in their order.

    Raises:
        NonFiniteError: a score of no answer is a NaN; `from_logits` and `from_beams` check the
            others.
    """
    held: dict[int, list[tuple[Candidate, Window]]] = {}
    none: dict[int, float] = {}
    for window, candidates, score in windows:
        held.setdefault(window.example, []).extend((one, window) for one in candidates)
        if score is not None:
            _check_numbers(np.array(score))
            none[window.example] = min(none.get(window.example, np.inf), float(score))
    result = []
    for number, example in enumerate(examples):
        pairs = sorted(held.get(number, ()), key=lambda pair: -pair[0].score)
        listed = _n_best(example, pairs, n_best)
        none_score = none.get(number)
        if none_score is not None and none_is_relative and listed:
            none_score -= listed[0].score
        result.append(SpanAnswer(example.id, none_score, listed))
    return result


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
    scores = np.array([found.score for found in texts.values()])
    shares = np.exp(scores - scores.max(initial=-np.inf))
    listed = zip(texts.values(), shares / shares.sum(), strict=True)
    return tuple(found._replace(probability=float(share)) for found, share in listed)


def best_texts(found: Iterable[SpanAnswer]) -> dict[str, str]:
    """Id -> the best answer, whatever its no-answer score."""
    return {answer.id: answer.best for answer in found}


def none_scores(found: Iterable[SpanAnswer]) -> dict[str, float]:
    """Id -> the no-answer score, where it is known."""
    return {a.id: a.none_score for a in found if a.none_score is not None}


def final_texts(found: Sequence[SpanAnswer], threshold: float) -> dict[str, str]:
    """Id -> the answer, '' where the no-answer score is above the threshold."""
    none = {name for name, score in none_scores(found).items() if score > threshold}
    return {name: '' if name in none else text for name, text in best_texts(found).items()}
