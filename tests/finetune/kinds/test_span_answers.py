"""From scores of tokens to answers: against a search by loops, and cut out of the text exactly."""

import numpy as np
import pytest

from electra_jax.finetune.examples import SpanExample
from electra_jax.finetune.kinds import span_answers
from electra_jax.finetune.kinds.span_answers import Candidate, Window

CONTEXT = 'Zoë  ran. The “old” dog slept'
WORDS = [(0, 3), (5, 8), (8, 9), (10, 13), (14, 15), (15, 18), (18, 19), (20, 23), (24, 29)]


def question(name: str = 'q') -> SpanExample:
    return SpanExample(name, CONTEXT, 'Who?', (), False, 'here')


def window(words: list[tuple[int, int]], best: list[bool] | None = None) -> Window:
    """A row [CLS] q [SEP] words [SEP] pad."""
    begin, stop = np.zeros((2, 5 + len(words)), np.int32)
    text, best_L = np.zeros((2, 5 + len(words)), bool)
    inside = slice(3, 3 + len(words))
    begin[inside], stop[inside] = np.array(words).T
    text[inside] = True
    best_L[inside] = True if best is None else best
    return Window(begin, stop, text, best_L)


def random_window(random_: np.random.Generator, L: int) -> Window:
    text = random_.random(L) < 0.8
    return Window(np.arange(L), np.arange(L) + 1, text, text & (random_.random(L) < 0.7))


def from_logits(start, end, row: Window, n_best: int, max_tokens: int) -> list[Candidate]:
    pairs = span_answers.from_logits(start, end, max_tokens)
    return span_answers.best_pairs(pairs, row, n_best, max_tokens)


def from_beams(*scored, row: Window, n_best: int, max_tokens: int) -> list[Candidate]:
    return span_answers.best_pairs(span_answers.from_beams(*scored), row, n_best, max_tokens)


@pytest.mark.parametrize('seed', range(5))
@pytest.mark.parametrize(('n_best', 'max_tokens'), [(1, 1), (5, 3), (20, 30), (500, 100)])
def test_pairs_of_logits_against_all_pairs(seed, n_best, max_tokens):
    random_ = np.random.default_rng(seed)
    start, end = random_.normal(size=(2, 24)).astype(np.float32)
    row = random_window(random_, 24)
    wanted = [
        Candidate(i, j + 1, float(start[i].astype(np.float64) + end[j]))
        for i in range(24)
        for j in range(i, min(i + max_tokens, 24))
        if row.text_L[i] and row.best_L[i] and row.text_L[j]
    ]
    wanted.sort(key=lambda candidate: -candidate.score)
    assert from_logits(start, end, row, n_best, max_tokens) == wanted[:n_best]


@pytest.mark.parametrize('seed', range(5))
@pytest.mark.parametrize(('n_best', 'max_tokens'), [(1, 1), (5, 3), (20, 30)])
def test_pairs_of_beams_against_all_pairs(seed, n_best, max_tokens):
    random_ = np.random.default_rng(seed)
    starts = random_.choice(24, 6, replace=False)
    ends = np.stack([random_.choice(24, 4, replace=False) for _ in starts])
    start_scores, end_scores = random_.normal(size=6), random_.normal(size=(6, 4))
    row = random_window(random_, 24)
    wanted = [
        Candidate(int(i), int(j) + 1, start_score + end_score)
        for i, start_score, many, many_scores in zip(
            starts, start_scores, ends, end_scores, strict=True
        )
        for j, end_score in zip(many, many_scores, strict=True)
        if i <= j < i + max_tokens and row.text_L[i] and row.best_L[i] and row.text_L[j]
    ]
    wanted.sort(key=lambda candidate: -candidate.score)
    found = from_beams(
        starts, start_scores, ends, end_scores, row=row, n_best=n_best, max_tokens=max_tokens
    )
    assert found == wanted[:n_best]


def test_equal_scores_go_by_place():
    row = window(WORDS)
    found = from_logits(np.zeros(14), np.zeros(14), row, 3, 30)
    assert [c[:2] for c in found] == [(0, 3), (0, 8), (0, 9)]


def test_answers_are_the_characters_of_the_text():
    pairs = {(0, 1): 'Zoë  ran', (4, 6): '“old”', (3, 8): 'The “old” dog slept'}
    for (first, last), text in pairs.items():
        candidates = [Candidate(WORDS[first][0], WORDS[last][1], 1.0)]
        (answer,) = span_answers.answers([question()], [(0, candidates, 0.0)], 20, False)
        assert answer.best == text
        (found,) = answer.n_best
        assert CONTEXT[found.start :].startswith(text)
        assert found.probability == 1.0


def test_the_best_over_windows_wins_and_texts_are_listed_once():
    first = [Candidate(0, 3, 2.0), Candidate(10, 13, 1.0)]  # Zoë, The
    second = [Candidate(20, 23, 3.0), Candidate(10, 13, 1.5)]  # dog, and The again
    found = [(0, first, 0.0), (0, second, 0.0)]
    for order in (found, found[::-1]):
        (answer,) = span_answers.answers([question()], order, 20, False)
        assert [f.text for f in answer.n_best] == ['dog', 'Zoë', 'The']
        assert answer.best == answer.n_best[0].text
        assert [f.score for f in answer.n_best] == [3.0, 2.0, 1.5]
        assert sum(f.probability for f in answer.n_best) == pytest.approx(1)
        (two,) = span_answers.answers([question()], order, 2, False)
        assert [f.score for f in two.n_best] == [3.0, 2.0]


def test_white_space_around_a_token_is_no_part_of_an_answer():
    found = span_answers.answers([question()], [(0, [Candidate(3, 10, 0.0)], 0.0)], 20, False)
    assert found[0].best == 'ran.'
    assert found[0].n_best[0].start == 5


def test_no_answer_counts_by_its_lowest_window():
    one, two = [Candidate(0, 3, 2.0)], [Candidate(5, 8, 3.0)]
    found = [(0, one, 4.0), (0, two, -1.0), (1, one, 7.0)]
    examples = [question('a'), question('b')]
    alone = span_answers.answers(examples, found, 20, none_is_relative=False)
    assert [one.none_score for one in alone] == [-1.0, 7.0]
    turned = span_answers.answers(examples, found[::-1], 20, none_is_relative=False)
    assert [one.none_score for one in turned] == [-1.0, 7.0]
    relative = span_answers.answers(examples, found, 20, none_is_relative=True)
    assert [one.none_score for one in relative] == [-4.0, 5.0]
    assert [(one.id, one.best) for one in alone] == [('a', 'ran'), ('b', 'Zoë')]
    assert [one.final(0.0) for one in alone] == ['ran', '']
    assert [one.final(7.0) for one in alone] == ['ran', 'Zoë']  # only above it


def test_questions_without_any_candidate_get_an_empty_answer():
    (answer,) = span_answers.answers([question()], [(0, [], 1.0)], 20, True)
    assert (answer.best, answer.n_best, answer.none_score) == ('', (), 1.0)
    (answer,) = span_answers.answers([question()], [], 20, False)
    assert answer == ('q', np.inf, ())


def test_tokens_out_of_the_text_and_poor_views_start_no_answer():
    row = window(WORDS, [False] * 4 + [True] * 5)
    start, end = np.zeros(14), np.zeros(14)
    start[[0, 3]], end[[0, 13]] = 9, 9
    found = from_logits(start, end, row, 100, 30)
    assert {c.begin for c in found} == {begin for begin, _ in WORDS[4:]}
    assert max(c.stop for c in found) == WORDS[-1][1]
    assert max(c.score for c in found) == 0
