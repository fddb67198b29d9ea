"""Searches for answers, by a decoder that is a table of numbers and remembers what it read."""

import functools
import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from electra_jax.ops import decoding
from electra_jax.ops.decoding import Rows, Search

V, R, B = 4, 4, 24
BEGIN, END = 0, 3
random = np.random.default_rng(3)
# The logits after a history: a matrix for each position, added up, plus the row's own.
BY_TIME_RVV = random.normal(0, 1.5, (R, V, V)).astype(np.float32)
BY_TIME_RVV[0, :, END] -= 6  # most answers are not empty,
BY_TIME_RVV[2, :, END] += 6  # and the longest ones can end
OF_ROW_BV = random.normal(0, 3.0, (B, V)).astype(np.float32)
USUAL = Search('beam', 1, R, 1.0, 0, False, 1.0, 1.0, 0)


def logits_after(row, history):
    """What follows [BEGIN, *history], without a cache."""
    read = [BEGIN, *history]
    return OF_ROW_BV[row] + sum(BY_TIME_RVV[t, token] for t, token in enumerate(read))


def step(last_BQ, time, seen_BQS, cache):
    """The same from a cache of one vector a slot, of which a hypothesis sees its own."""
    slots_BSV, own_BV = cache
    slots_BSV = jax.lax.dynamic_update_slice_in_dim(
        slots_BSV, jnp.asarray(BY_TIME_RVV)[time][last_BQ], time * last_BQ.shape[1], axis=1
    )
    read_BQV = jnp.einsum('BQS,BSV->BQV', seen_BQS.astype(jnp.float32), slots_BSV)
    return own_BV[:, None] + read_BQV, (slots_BSV, own_BV)


def find(how, rows=range(B), real=None):
    """Tokens and scores of some rows; `real` ones only."""
    rows = np.array(rows)
    of = Rows(
        jnp.full(len(rows), BEGIN), jnp.full(len(rows), END), jnp.asarray(rows),
        jnp.ones(len(rows), bool) if real is None else jnp.asarray(real),
    )  # fmt: skip
    found = _search(how, jnp.asarray(OF_ROW_BV[rows]), of)
    return np.asarray(found.tokens_BR).tolist(), np.asarray(found.score_B)


def grow(cache, slots):
    slots_BSV, own_BV = cache
    return jnp.pad(slots_BSV, [(0, 0), (0, slots - slots_BSV.shape[1]), (0, 0)]), own_BV


@functools.partial(jax.jit, static_argnums=0)
def _search(how, own_BV, rows):
    blank_BSV = jnp.zeros((len(own_BV), decoding.slots(how), V))
    return decoding.search(decoding.Steps(step, grow), (blank_BSV, own_BV), rows, how)


def log_probability(row, answer, start=0):
    """Of an answer, or of its tokens from `start` on."""
    total = 0.0
    for t, token in list(enumerate(answer))[start:]:
        logits = logits_after(row, answer[:t]).astype(np.float64)
        total += logits[token] - np.log(np.sum(np.exp(logits)))
    return total


def best_of_all(row, penalty, allowed=lambda answer: True):
    """The best of every answer of at most R tokens, by trying them all."""
    every = (
        (*body, END)
        for length in range(R)
        for body in itertools.product([v for v in range(V) if v != END], repeat=length)
    )
    scores = {a: log_probability(row, a) / len(a) ** penalty for a in every if allowed(a)}
    best = max(scores, key=scores.__getitem__)
    return [*best, *[0] * (R - len(best))], scores[best]


@pytest.mark.parametrize('penalty', [0.0, 1.0])
def test_a_wide_beam_finds_the_best_answer_of_all(penalty):
    how = USUAL._replace(beams=(V - 1) ** (R - 1), length_penalty=penalty)
    tokens, scores = find(how)
    for row in range(B):
        best, value = best_of_all(row, penalty)
        assert tokens[row] == best
        assert scores[row] == pytest.approx(value, abs=1e-5)
    assert len({tuple(one) for one in tokens}) > 1


def test_no_bigram_is_repeated():
    def allowed(answer):
        pairs = list(itertools.pairwise(answer))
        return len(set(pairs)) == len(pairs)

    how = USUAL._replace(beams=(V - 1) ** (R - 1), length_penalty=0.0, no_repeat=2)
    tokens, _ = find(how)
    assert tokens == [best_of_all(row, 0.0, allowed)[0] for row in range(B)]
    ones, _ = find(how._replace(no_repeat=1))
    bodies = [one[: one.index(END)] for one in ones]
    assert all(len(set(body)) == len(body) for body in bodies)


def test_one_beam_is_greedy_and_greedy_is_the_best_next_token():
    tokens, scores = find(USUAL._replace(method='greedy'))
    for row, answer in enumerate(tokens):
        history = []
        while END not in history:
            best = int(np.argmax(logits_after(row, history)))
            history.append(END if len(history) == R - 1 else best)
        assert answer == [*history, *[0] * (R - len(history))]
        assert scores[row] == pytest.approx(log_probability(row, history) / len(history), abs=1e-5)
    assert find(USUAL._replace(early_stop=True))[0] == tokens


def beam_by_hand(row, how):
    """The same beam search with lists, and without a cache."""
    alive, finished, most = [((), 0.0)], [], how.beams
    for t in range(R):
        options = [
            ((*history, v), total + log_probability(row, (*history, v), start=t))
            for history, total in alive
            for v in range(V)
            if t < R - 1 or v == END
        ]
        options.sort(key=lambda one: -one[1])
        options = options[: 2 * most]
        ended = [(h, total / len(h)) for h, total in options[:most] if h[-1] == END]
        finished = sorted([*finished, *ended], key=lambda one: -one[1])[:most]
        alive = [one for one in options if one[0][-1] != END][:most]
        if how.early_stop and len(finished) == most:
            break
        if not how.early_stop and finished and alive and finished[0][1] >= alive[0][1] / R:
            break
    return finished[0]


@pytest.mark.parametrize('early_stop', [True, False])
def test_a_narrow_beam_is_the_one_with_lists(early_stop):
    how = USUAL._replace(beams=2, early_stop=early_stop)
    tokens, scores = find(how)
    for row in range(B):
        answer, score = beam_by_hand(row, how)
        assert tokens[row] == [*answer, *[0] * (R - len(answer))]
        assert scores[row] == pytest.approx(score, abs=1e-5)


@pytest.mark.parametrize('method', decoding.METHODS)
def test_other_rows_and_rows_that_only_fill_up_change_nothing(method):
    how = USUAL._replace(method=method, beams=2, early_stop=True, top_p=0.9, seed=5)
    together, scores = find(how)
    order = np.random.default_rng(0).permutation(B).tolist()
    mixed, _ = find(how, order)
    assert [mixed[order.index(row)] for row in range(B)] == together
    for row in (1, 4):
        alone, score = find(how, real=[one == row for one in range(B)])
        assert alone[row] == together[row] and score[row] == pytest.approx(scores[row], abs=1e-5)


@pytest.mark.parametrize('method', decoding.METHODS)
def test_a_row_of_nan_has_that_score_and_the_others_their_answers(method, monkeypatch):
    how = USUAL._replace(method=method, beams=2, top_p=0.9, seed=5)
    tokens, _ = find(how)
    monkeypatch.setitem(globals(), 'OF_ROW_BV', OF_ROW_BV.copy())
    OF_ROW_BV[3, 2] = np.nan
    after, scores = find(how)
    assert np.flatnonzero(np.isnan(scores)).tolist() == [3]
    assert after[:3] + after[4:] == tokens[:3] + tokens[4:]


def test_samples_follow_the_seed_and_the_nucleus():
    how = USUAL._replace(method='nucleus', temperature=3.0)
    assert find(how)[0] == find(how)[0]
    assert find(how)[0] != find(how._replace(seed=1))[0]
    # Of so small a share only the likeliest token is left.
    assert find(how._replace(top_p=0.01))[0] == find(USUAL._replace(method='greedy'))[0]


def test_a_nucleus_is_the_smallest_set_with_its_share():
    scores = jnp.log(jnp.array([[0.5, 0.1, 0.3, 0.1]]))
    for share, kept in ((0.5, [0]), (0.6, [0, 2]), (0.81, [0, 1, 2, 3]), (1.0, [0, 1, 2, 3])):
        left = np.flatnonzero(np.asarray(decoding.nucleus(scores, share))[0] > -1e8)
        assert left.tolist() == kept


@pytest.mark.parametrize('method', decoding.METHODS)
def test_a_cache_that_grows_changes_no_answer(method, monkeypatch):
    how = USUAL._replace(method=method, beams=2, no_repeat=2, top_p=0.9, seed=11)
    tokens, scores = find(how)
    monkeypatch.setattr(decoding, '_SMALLEST_STAGE', 1)
    _search.clear_cache()
    grown, same = find(how)
    _search.clear_cache()
    assert grown == tokens and max(answer.index(END) for answer in tokens) == R - 1
    np.testing.assert_allclose(same, scores, atol=1e-6)


@pytest.mark.parametrize('count', [1, 6])
def test_the_highest_of_many_are_those_of_top_k_also_of_equal_ones(count, monkeypatch):
    monkeypatch.setattr(decoding, '_BLOCK', 4)
    random = np.random.default_rng(0)
    x_BQV = random.integers(0, 9, (64, 3, 50)).astype(np.float32)
    offset_BQ = random.integers(-4, 4, (64, 3)).astype(np.float32)
    found = decoding.highest(jnp.asarray(x_BQV), jnp.asarray(offset_BQ), count)
    wanted = jax.lax.top_k((x_BQV + offset_BQ[..., None]).reshape(64, 150), count)
    np.testing.assert_array_equal(found[0], wanted[0])
    np.testing.assert_array_equal(found[1], wanted[1])
