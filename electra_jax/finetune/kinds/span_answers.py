"""From what a model gives for the tokens of each row to the answers of each question, in NumPy.

A text that is too long for a row becomes several windows. Whatever the head, its outputs become a
list of scored pairs of tokens (`Candidate`) for each window; the rest is common. The rules are
those of the reference (electra, finetune/qa/qa_tasks.py, which follows BERT's run_squad.py).
"""

# R: tokens that an answer may go on from its start; S: starts of a beam search; T: ends of each.

import math
from collections.abc import Iterable, Sequence
from typing import NamedTuple

import numpy as np

from electra_jax.finetune.examples import SpanExample


class Window(NamedTuple):
    """What a row shows of a text; every array is of length L."""

    begin_L: np.ndarray  # int, where in the context the characters of each token begin
    stop_L: np.ndarray  # int, the character after them
    text_L: np.ndarray  # bool, whether the token is of the context: an answer may end there
    # bool, whether of all windows this one shows the most around the token: an answer may start
    # there. Otherwise, windows that show little of a token would vote as well.
    best_L: np.ndarray


class Pairs(NamedTuple):
    """Answers from token `starts` to token `ends`, inclusive, of a row: an entry for each."""

    starts: np.ndarray
    ends: np.ndarray
    scores: np.ndarray


class Candidate(NamedTuple):
    """An answer: characters `begin` to `stop`, exclusive, of a context."""

    begin: int
    stop: int
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
    none_score: float  # the higher, the less likely there is an answer
    n_best: tuple[Found, ...]  # the best answers, all different

    @property
    def best(self) -> str:
        """The best answer, '' where no window holds one."""
        return self.n_best[0].text if self.n_best else ''

    def final(self, threshold: float) -> str:
        """The answer, '' where the no-answer score is above the threshold."""
        return '' if self.none_score > threshold else self.best


def from_logits(start_L: np.ndarray, end_L: np.ndarray, max_tokens: int) -> Pairs:
    """All pairs of a head that gives each token a logit as a start and one as an end."""
    L = len(start_L)
    starts_LR = np.broadcast_to(np.arange(L)[:, None], (L, min(max_tokens, L)))
    ends_LR = starts_LR + np.arange(starts_LR.shape[1])
    inside_LR = ends_LR < L
    starts, ends = starts_LR[inside_LR], ends_LR[inside_LR]
    scores = start_L.astype(np.float64)[starts] + end_L.astype(np.float64)[ends]
    return Pairs(starts, ends, scores)


def from_beams(
    start_index_S: np.ndarray,
    start_score_S: np.ndarray,
    end_index_ST: np.ndarray,
    end_score_ST: np.ndarray,
) -> Pairs:
    """The pairs of a head that scores ends given a start, for each start that it tried.

    The indices are of tokens, the scores log-probabilities: of ends, given their start.
    """
    starts_ST = np.broadcast_to(start_index_S[:, None], end_index_ST.shape)
    scores_ST = start_score_S.astype(np.float64)[:, None] + end_score_ST
    return Pairs(starts_ST.ravel(), end_index_ST.ravel(), scores_ST.ravel())


def best_pairs(pairs: Pairs, window: Window, n_best: int, max_tokens: int) -> list[Candidate]:
    """The pairs that are answers and have the highest scores, equal ones in their order.

    >>> window = Window(*np.arange(8).reshape(2, 4), *np.ones((2, 4), bool))
    >>> pairs = from_logits(np.array([0., 3, 0, 0]), np.array([5., 0, 2, 4]), 2)
    >>> best_pairs(pairs, window, 2, 2)
    [Candidate(begin=0, stop=4, score=5.0), Candidate(begin=1, stop=6, score=5.0)]
    """
    starts, ends, scores = pairs
    allowed = (window.text_L & window.best_L)[starts] & window.text_L[ends]
    allowed &= (starts <= ends) & (ends < starts + max_tokens)
    starts, ends, scores = starts[allowed], ends[allowed], scores[allowed]
    kept = np.arange(len(scores))
    if len(scores) > n_best:
        # Everything that ties with the last one kept must stay in, so that the order decides.
        least = np.partition(scores, len(scores) - n_best)[len(scores) - n_best]
        kept = np.flatnonzero(scores >= least)
    best = kept[np.argsort(-scores[kept], kind='stable')][:n_best]
    columns = (window.begin_L[starts[best]], window.stop_L[ends[best]], scores[best])
    return [Candidate(*one) for one in zip(*(x.tolist() for x in columns), strict=True)]


def answers(
    examples: Sequence[SpanExample],
    windows: Iterable[tuple[int, Sequence[Candidate], float]],
    n_best: int,
    none_is_relative: bool,
) -> list[SpanAnswer]:
    """The best answers to each question over its windows.

    Args:
        examples: the questions.
        windows: of all of them, in any order: the number of the question, the candidates, and the
            score of there being no answer. The lowest over the windows counts: there is no answer
            only if no window holds it.
        n_best: answers listed for a question.
        none_is_relative: whether the score of no answer competes with those of answers, as the sum
            of the first token's start and end logits does (Hugging Face): the best answer's score
            is then subtracted. A logit of its own (reference) is used as it is.

    Returns:
        One for each example, in their order.
    """
    held: list[list[Candidate]] = [[] for _ in examples]
    none = [math.inf] * len(examples)
    for number, candidates, score in windows:
        held[number] += candidates
        none[number] = min(none[number], score)
    result = []
    for example, candidates, none_score in zip(examples, held, none, strict=True):
        listed = _n_best(example, sorted(candidates, key=lambda one: -one.score), n_best)
        if none_is_relative and listed:
            none_score -= listed[0].score
        result.append(SpanAnswer(example.id, none_score, listed))
    return result


def _n_best(
    example: SpanExample, candidates: Iterable[Candidate], n_best: int
) -> tuple[Found, ...]:
    texts: dict[str, Found] = {}
    for begin, stop, score in candidates:
        text = example.context[begin:stop]
        begin += len(text) - len(text.lstrip())
        text = text.strip()
        if text and text not in texts:
            texts[text] = Found(text, begin, score, 0.0)
        if len(texts) == n_best:
            break
    scores = np.array([found.score for found in texts.values()])
    shares = np.exp(scores - scores.max(initial=-np.inf))
    listed = zip(texts.values(), shares / shares.sum(), strict=True)
    return tuple(found._replace(probability=float(share)) for found, share in listed)
