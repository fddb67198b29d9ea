"""Answers of a decoder, token by token: beam search, greedy choice, and sampling from a nucleus.

The decoder is a function of the last token of each hypothesis and of a cache. What a hypothesis has
read is never moved when hypotheses change their order: token r of hypothesis q is written into slot
r Q + q of the cache, and `seen` lists the slots that each hypothesis comes from. Attention reads
every slot, filled or not: so the cache of a long answer begins with a part of them, and grows.
"""

# Q: hypotheses of a row; R: tokens of an answer, its end included; S: slots, R Q of them.

import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from electra_jax.core import rng
from electra_jax.core.dims import lift

_SMALLEST_STAGE = 12  # tokens; fewer would not be worth what another stage takes to compile
_BLOCK = 64  # tokens of which the likeliest is looked at first
_LOWEST = -1e9  # log-probability of what cannot be; finite, so that no sum is NaN

Cache = Any  # a tree of arrays
# Last tokens [B, Q], how many came before them, slots that each hypothesis sees [B, Q, S], that of
# its last token among them, cache -> logits of the next tokens [B, Q, V], float32, and the cache
# with the last tokens in it.
Step = Callable[[jax.Array, jax.Array, jax.Array, Cache], tuple[jax.Array, Cache]]


class Steps(NamedTuple):
    """A decoder."""

    step: Step
    # Cache, more slots than it has -> the cache with so many; the new ones may hold any numbers.
    grow: Callable[[Cache, int], Cache]


class Search(NamedTuple):
    """How answers are found."""

    method: str  # a key of `METHODS`
    beams: int  # Q of a beam search
    length: int  # R, at most; the last of so many tokens can only be the end
    length_penalty: float  # log-probabilities are divided by length ** length_penalty
    no_repeat: int  # no answer has the same n-gram of that size twice; 0: it may
    early_stop: bool  # whether Q finished answers end the search of a row
    top_p: float  # share of the probability that is sampled from
    temperature: float  # of the samples
    seed: int  # of the samples


class Rows(NamedTuple):
    """What each row begins with."""

    first_B: jax.Array  # int32, the token before the answer
    end_B: jax.Array  # int32, the token that ends it
    draw_B: jax.Array  # int32, what the row's draws depend on in addition to the seed
    real_B: jax.Array  # bool; other rows get no answer, and nothing waits for them


class Found(NamedTuple):
    """The best answers."""

    tokens_BR: jax.Array  # int32, the end included; 0 after it
    score_B: jax.Array  # float32, log-probability / length ** length_penalty


def search(decoder: Steps, cache: Cache, rows: Rows, how: Search) -> Found:
    """The best answer that the method finds to each row; the other rows do not bear on it."""
    return METHODS[how.method](decoder, cache, rows, how)


def slots(how: Search) -> int:
    """S, the slots that a cache must have at first."""
    return _stages(how)[0] * (how.beams if how.method == 'beam' else 1)


def _stages(how: Search) -> list[int]:
    """R of each stage: a quarter, a half and all of the longest answer."""
    R = how.length
    return [*(x for x in (R // 4, R // 2) if x >= _SMALLEST_STAGE), R]


def _run(advance: Callable, state: '_Beam | _Line', decoder: Steps, how: Search) -> Any:
    """Advances from stage to stage until no row needs a token; the arrays end with all of R."""
    for R in _stages(how):
        state = _grown(state, R, decoder)
        state = jax.lax.while_loop(functools.partial(_goes_on, R), advance, state)
    return state


def _grown(state: '_Beam | _Line', R: int, decoder: Steps) -> Any:
    """The state with room for R tokens."""
    Q, before = state.history_BQR.shape[1:]
    if before == R:
        return state
    sizes = {'history_BQR': R, 'answers_BQR': R, 'seen_BQS': R * Q}
    wider = {
        name: jnp.pad(old, [(0, 0), (0, 0), (0, size - old.shape[2])])
        for name, size in sizes.items()
        if (old := getattr(state, name, None)) is not None
    }
    return state._replace(**wider, cache=decoder.grow(state.cache, R * Q))


# ---------------------------------------------------------------------------------------------
# Beam search


class _Beam(NamedTuple):
    """The state of a beam search."""

    time: jax.Array
    last_BQ: jax.Array
    score_BQ: jax.Array  # log-probability of what is not finished
    history_BQR: jax.Array
    seen_BQS: jax.Array
    cache: Cache
    done_B: jax.Array
    finished_BQ: jax.Array  # scores of the best finished answers
    answers_BQR: jax.Array


def _beam_search(decoder: Steps, cache: Cache, rows: Rows, how: Search) -> Found:
    B, Q, R = len(rows.first_B), how.beams, _stages(how)[0]
    blank_BQR = jnp.zeros((B, Q, R), jnp.int32)
    start_Q = jnp.where(jnp.arange(Q) == 0, 0.0, _LOWEST)
    state = _Beam(
        time=jnp.int32(0),
        last_BQ=jnp.repeat(rows.first_B[:, None], Q, axis=1),
        score_BQ=jnp.repeat(start_Q[None], B, axis=0),
        history_BQR=blank_BQR,
        seen_BQS=jnp.zeros((B, Q, R * Q), bool),
        cache=cache,
        done_B=~rows.real_B,
        finished_BQ=jnp.full((B, Q), _LOWEST),
        answers_BQR=blank_BQR,
    )

    def advance(state: _Beam) -> _Beam:
        seen_BQS = _with_own(state.seen_BQS, state.time)
        logits_BQV, log_sum_BQ, cache = _next(decoder.step, state, seen_BQS, rows, how)
        V = logits_BQV.shape[-1]
        # Each hypothesis can end once: among 2 Q continuations at least Q go on.
        offset_BQ = state.score_BQ - log_sum_BQ
        best_BC, index_BC = highest(logits_BQV, offset_BQ, 2 * Q)
        parent_BC, token_BC = index_BC // V, index_BC % V
        # The last token of the longest answer is its end.
        is_last, end_BQ = state.time == how.length - 1, _at_token(logits_BQV, rows.end_B)
        last_BC = jnp.pad(end_BQ + offset_BQ, [(0, 0), (0, Q)], constant_values=_LOWEST)
        best_BC = jnp.where(is_last, last_BC, best_BC)
        parent_BC = jnp.where(is_last, lift(jnp.arange(2 * Q) % Q, 2), parent_BC)
        token_BC = jnp.where(is_last, rows.end_B[:, None], token_BC)
        ends_BC = token_BC == rows.end_B[:, None]
        history_BCR = _at(state.history_BQR, parent_BC)
        history_BCR = history_BCR.at[:, :, state.time].set(token_BC)

        # Only what is among the Q best continuations is an answer.
        is_answer_BC = ends_BC & lift(jnp.arange(2 * Q) < Q, 2) & (best_BC > _LOWEST / 2)
        length = (state.time + 1).astype(jnp.float32)
        score_BC = jnp.where(is_answer_BC, best_BC / length**how.length_penalty, _LOWEST)
        pool_B = jnp.concatenate([state.finished_BQ, score_BC], axis=1)
        finished_BQ, kept_BQ = jax.lax.top_k(pool_B, Q)
        answers_BQR = _at(jnp.concatenate([state.answers_BQR, history_BCR], axis=1), kept_BQ)

        going_on_BC = jnp.where(ends_BC, jnp.minimum(best_BC, _LOWEST), best_BC)  # NaN stays
        alive_BQ, chosen_BQ = jax.lax.top_k(going_on_BC, Q)
        parent_BQ = jnp.take_along_axis(parent_BC, chosen_BQ, axis=1)
        done_B = state.done_B
        finished_BQ = jnp.where(done_B[:, None], state.finished_BQ, finished_BQ)
        answers_BQR = jnp.where(done_B[:, None, None], state.answers_BQR, answers_BQR)
        return _Beam(
            time=state.time + 1,
            last_BQ=jnp.take_along_axis(token_BC, chosen_BQ, axis=1),
            score_BQ=alive_BQ,
            history_BQR=_at(history_BCR, chosen_BQ),
            seen_BQS=_at(seen_BQS, parent_BQ),
            cache=cache,
            done_B=done_B | _is_done(finished_BQ, alive_BQ, how),
            finished_BQ=finished_BQ,
            answers_BQR=answers_BQR,
        )

    state = _run(advance, state, decoder, how)
    # Nothing with such a log-probability ends, and the lowest score would hide it.
    is_nan_B = jnp.any(jnp.isnan(state.score_BQ), axis=1)
    score_B = jnp.where(is_nan_B, jnp.nan, state.finished_BQ[:, 0])
    return Found(state.answers_BQR[:, 0], score_B)


def _is_done(finished_BQ: jax.Array, alive_BQ: jax.Array, how: Search) -> jax.Array:
    """Whether the search of each row is over."""
    if how.early_stop:
        return finished_BQ[:, -1] > _LOWEST / 2
    # What is not finished loses by each further token, but its length may grow.
    best_possible_B = alive_BQ[:, 0] / float(how.length) ** how.length_penalty
    return finished_BQ[:, 0] >= best_possible_B


def _at(x_BQR: jax.Array, index_BC: jax.Array) -> jax.Array:
    return jnp.take_along_axis(x_BQR, index_BC[..., None], axis=1)


# ---------------------------------------------------------------------------------------------
# One hypothesis


class _Line(NamedTuple):
    """The state of a search with one hypothesis a row: Q = 1."""

    time: jax.Array
    last_BQ: jax.Array
    score_BQ: jax.Array
    history_BQR: jax.Array
    seen_BQS: jax.Array
    cache: Cache
    done_B: jax.Array


def _greedy(decoder: Steps, cache: Cache, rows: Rows, how: Search) -> Found:
    return _one_line(decoder, cache, rows, how, lambda logits_BQV, time: logits_BQV)


def _nucleus(decoder: Steps, cache: Cache, rows: Rows, how: Search) -> Found:
    def noisy(logits_BQV: jax.Array, time: jax.Array) -> jax.Array:
        scores_BQV = nucleus(logits_BQV / how.temperature, how.top_p)

        def draw(row: jax.Array) -> jax.Array:
            key = jax.random.fold_in(jax.random.fold_in(rng.root_key(how.seed), row), time)
            return jax.random.gumbel(key, scores_BQV.shape[2:], jnp.float32)

        return scores_BQV + jax.vmap(draw)(rows.draw_B)[:, None]

    return _one_line(decoder, cache, rows, how, noisy)


def nucleus(scores_BV: jax.Array, top_p: float) -> jax.Array:
    """Log-probabilities of the likeliest tokens that have `top_p` together; all others are lowest.

    Holtzman et al. 2020, section 3.1. The scores need not be normalized.
    """
    probs_BV = jax.nn.softmax(scores_BV)
    sorted_BV = -jnp.sort(-probs_BV, axis=-1)
    needed_BV = jnp.cumsum(sorted_BV, axis=-1) - sorted_BV < top_p
    least_B1 = jnp.min(jnp.where(needed_BV, sorted_BV, 1.0), axis=-1, keepdims=True)
    return jnp.where(probs_BV >= least_B1, scores_BV, 2 * _LOWEST)


def _one_line(
    decoder: Steps,
    cache: Cache,
    rows: Rows,
    how: Search,
    preference: Callable[[jax.Array, jax.Array], jax.Array],
) -> Found:
    """Each next token is the one of the highest preference, by logits and time."""
    B, R = len(rows.first_B), _stages(how)[0]
    state = _Line(
        time=jnp.int32(0),
        last_BQ=rows.first_B[:, None],
        score_BQ=jnp.zeros((B, 1)),
        history_BQR=jnp.zeros((B, 1, R), jnp.int32),
        seen_BQS=jnp.zeros((B, 1, R), bool),
        cache=cache,
        done_B=~rows.real_B,
    )

    def advance(state: _Line) -> _Line:
        seen_BQS = _with_own(state.seen_BQS, state.time)
        logits_BQV, log_sum_B1, cache = _next(decoder.step, state, seen_BQS, rows, how)
        liked_BQV = preference(logits_BQV, state.time)
        token_B = highest(liked_BQV, jnp.zeros_like(log_sum_B1), 1)[1][:, 0]
        token_B = jnp.where(state.time == how.length - 1, rows.end_B, token_B)
        token_B = jnp.where(state.done_B, 0, token_B)
        gain_B1 = jnp.take_along_axis(logits_BQV[:, 0], token_B[:, None], axis=1) - log_sum_B1
        return _Line(
            time=state.time + 1,
            last_BQ=token_B[:, None],
            score_BQ=state.score_BQ + jnp.where(state.done_B[:, None], 0.0, gain_B1),
            history_BQR=state.history_BQR.at[:, 0, state.time].set(token_B),
            seen_BQS=seen_BQS,
            cache=cache,
            done_B=state.done_B | (token_B == rows.end_B),
        )

    state = _run(advance, state, decoder, how)
    tokens_BR = state.history_BQR[:, 0]
    is_end_BR = tokens_BR == rows.end_B[:, None]
    length_B = jnp.where(jnp.any(is_end_BR, axis=1), jnp.argmax(is_end_BR, axis=1) + 1, 1)
    score_B = state.score_BQ[:, 0] / length_B.astype(jnp.float32) ** how.length_penalty
    return Found(tokens_BR, score_B)


# ---------------------------------------------------------------------------------------------
# Of both


def highest(x_BQV: jax.Array, offset_BQ: jax.Array, count: int) -> tuple[jax.Array, jax.Array]:
    """The highest members of each row, and their places among all Q V, by `x + offset`, [B, count].

    The same as `jax.lax.top_k` of the sums, which are not computed, and whose many members a CPU
    sorts slowly. What is among the highest is in one of as many blocks, those with the highest
    members.
    """
    B, Q, V = x_BQV.shape
    if 2 * count * _BLOCK > Q * V:
        return jax.lax.top_k((x_BQV + offset_BQ[..., None]).reshape(B, Q * V), count)
    blocks_BQXY, peaks_BQX = _blocks(x_BQV)
    X = blocks_BQXY.shape[2]
    best_BQX = peaks_BQX + offset_BQ[..., None]
    _, block_BC = jax.lax.top_k(best_BQX.reshape(B, Q * X), count)
    block_BC = jnp.sort(block_BC, axis=1)  # of equal members the first one counts
    inside_BCY = _at(blocks_BQXY.reshape(B, Q * X, _BLOCK), block_BC)
    inside_BCY += jnp.take_along_axis(offset_BQ, block_BC // X, axis=1)[..., None]
    values_BC, at_BC = jax.lax.top_k(inside_BCY.reshape(B, -1), count)
    chosen_BC = jnp.take_along_axis(block_BC, at_BC // _BLOCK, axis=1)
    return values_BC, chosen_BC // X * V + chosen_BC % X * _BLOCK + at_BC % _BLOCK


def _blocks(x_BQV: jax.Array) -> tuple[jax.Array, jax.Array]:
    """The members by blocks, and the highest one of each block [B, Q, X]."""
    short = -x_BQV.shape[2] % _BLOCK
    x_BQV = jnp.pad(x_BQV, [(0, 0), (0, 0), (0, short)], constant_values=-jnp.inf)
    blocks_BQXY = x_BQV.reshape(*x_BQV.shape[:2], -1, _BLOCK)
    return blocks_BQXY, jnp.max(blocks_BQXY, axis=3)


def _at_token(x_BQV: jax.Array, token_B: jax.Array) -> jax.Array:
    index_BQ1 = jnp.broadcast_to(token_B[:, None, None], (*x_BQV.shape[:2], 1))
    return jnp.take_along_axis(x_BQV, index_BQ1, axis=2)[..., 0]


def _with_own(seen_BQS: jax.Array, time: jax.Array) -> jax.Array:
    """What is seen, and the slot of the token that each hypothesis has just read."""
    Q, S = seen_BQS.shape[1:]
    own_QS = jnp.arange(S)[None] == time * Q + jnp.arange(Q)[:, None]
    return seen_BQS | lift(own_QS, 3)


def _goes_on(R: int, state: '_Beam | _Line') -> jax.Array:
    """Whether a row still needs a token."""
    return (state.time < R) & ~jnp.all(state.done_B)


def _next(
    step: Step, state: '_Beam | _Line', seen_BQS: jax.Array, rows: Rows, how: Search
) -> tuple[jax.Array, jax.Array, Cache]:
    """Logits of the next tokens [B, Q, V], what makes them log-probabilities, and the new cache.

    That is the log of the sum of their exponentials [B, Q], to be subtracted: there are too many
    logits to write them more than once. Of tokens that would repeat an n-gram they are lowest.
    """
    logits_BQV, cache = step(state.last_BQ, state.time, seen_BQS, state.cache)
    logits_BQV = jax.lax.optimization_barrier(logits_BQV)
    top_BQ1 = jnp.max(_blocks(logits_BQV)[1], axis=-1, keepdims=True)
    log_sum_BQ = top_BQ1[..., 0] + jnp.log(jnp.sum(jnp.exp(logits_BQV - top_BQ1), axis=-1))
    if 0 < how.no_repeat <= state.history_BQR.shape[2]:
        logits_BQV = _without_repeats(logits_BQV, state, rows, how.no_repeat)
    return logits_BQV, log_sum_BQ, cache


def _without_repeats(
    logits_BQV: jax.Array, state: '_Beam | _Line', rows: Rows, n: int
) -> jax.Array:
    """Nearly no probability for tokens that would complete an n-gram that a hypothesis has already.

    The end may follow anything.
    """
    history_BQR, time = state.history_BQR, state.time
    B, Q, R = history_BQR.shape
    starts = R - n + 1
    # Where time < n - 1 this slice begins at 0; then no n-gram counts.
    recent = jax.lax.dynamic_slice_in_dim(history_BQR, time - (n - 1), n - 1, axis=2)
    same = lift(jnp.arange(starts) + n - 1 < time, 3)
    for k in range(n - 1):
        same = same & (history_BQR[:, :, k : k + starts] == recent[:, :, k, None])
    last = history_BQR[:, :, n - 1 :]
    lowest = jnp.where(same & (last != rows.end_B[:, None, None]), 2 * _LOWEST, jnp.inf)
    b, q = jnp.arange(B)[:, None, None], jnp.arange(Q)[None, :, None]
    return logits_BQV.at[b, q, last].min(lowest)


# By `config.task.decoding.method`.
METHODS: dict[str, Callable[[Steps, Cache, Rows, Search], Found]] = {
    'beam': _beam_search,
    'greedy': _greedy,
    'nucleus': _nucleus,
}
