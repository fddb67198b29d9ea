"""The bodies of `mosaic`'s kernels: one block of queries meets one block of keys.

Scores stand keys by queries, so that what belongs to a query (maximum, sum, document) is a row of
lanes, and only the narrow arrays are ever transposed. A program has the heads that fill whole
lanes; a head is chosen by zeroing the lanes of its neighbours, which a matrix unit does not notice.
"""

# Q: queries of a block; S: keys of a block; R: lanes that a program holds, of several heads.

import math
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax.experimental import pallas as pl

from electra_jax.ops.dropout import Counter, mix, threshold
from electra_jax.ops.sight import Sight

LANES = 128
_MASKED = -1e9  # as in the plain form
_USUAL = 16 * 2**20  # bytes of on-chip memory that a kernel may use unless it asks for more


class Plan(NamedTuple):
    """What a kernel must know when it is compiled."""

    sight: Sight
    rate: float  # of dropout
    block: int  # tokens of a block
    blocks: int  # of a row
    heads: int  # of a device
    size: int  # of a head
    scale: float
    interpret: bool

    @property
    def group(self) -> int:
        """Heads of one program: as many as fill whole lanes, else all."""
        group = LANES // math.gcd(LANES, self.size)
        return self.heads if self.heads % group else group

    @property
    def lanes(self) -> int:
        """Numbers of a token that a program holds."""
        return self.group * self.size

    @property
    def widest(self) -> int:
        """Lanes of the widest tile of a head."""
        return max(head.tile.stop - head.tile.start for head in heads(self))

    @property
    def memory(self) -> int | None:
        """Of on-chip memory, what the gradients of a long row's queries need; None: as usual."""
        row = self.blocks * self.block * self.lanes * 3 * 4  # float32: the sum, the result twice
        return None if row <= _USUAL // 2 else row + _USUAL

    @property
    def reach(self) -> tuple[int, int]:
        """Blocks that the tokens of one see before and after it."""
        window, last = self.sight.window, self.blocks - 1
        blocks = last if window is None else min(last, -(-window // self.block))
        side = self.sight.side
        return 0 if side == 'after' else blocks, 0 if side == 'before' else blocks

    @property
    def width(self) -> int:
        """Blocks that one meets at most."""
        return min(self.blocks, sum(self.reach) + 1)

    def partner(self, block: Any, step: Any, of_keys: bool) -> tuple[Any, Any]:
        """The block that one meets in a step, and whether there is one in this step."""
        before, after = self.reach[::-1] if of_keys else self.reach
        other = jnp.maximum(block - before, 0) + step
        last = jnp.minimum(block + after, self.blocks - 1)
        return jnp.minimum(other, last), other <= last


class Head(NamedTuple):
    """One head of a program, and the lanes around it that start and end with whole tiles."""

    number: int
    own: slice
    tile: slice

    def alone(self, x: jax.Array) -> jax.Array:
        """Of `x` [..., R] the head's tile, zero where other heads are."""
        x = x[:, self.tile]
        if self.own == self.tile:
            return x
        return jnp.where(self.holds(x.shape, 1), x, jnp.zeros_like(x))

    def holds(self, shape: tuple[int, ...], axis: int) -> jax.Array:
        """Which numbers of the tile are the head's, bool."""
        index = jax.lax.broadcasted_iota(jnp.int32, shape, axis) + self.tile.start
        return (index >= self.own.start) & (index < self.own.stop)


def heads(plan: Plan) -> list[Head]:
    """Those of one program."""
    made = []
    for number in range(plan.group):
        own = slice(number * plan.size, (number + 1) * plan.size)
        end = min(-(-own.stop // LANES) * LANES, plan.lanes)
        made.append(Head(number, own, slice(own.start // LANES * LANES, end)))
    return made


class Pair:
    """A block of queries and one of keys: who sees whom, and what is dropped."""

    def __init__(self, plan: Plan, queries: Any, keys: Any, words: Any, steps: Any) -> None:
        self.plan, self.words, self.steps = plan, words, steps
        self.first_head = pl.program_id(1) * plan.group
        self.first_query, self.first_key = queries * plan.block, keys * plan.block

    def sees(self, of_queries: Any, of_keys: Any) -> jax.Array:
        """By the documents [1, 1, Q] and [1, 1, S]; bool [S, Q]."""
        block, sight = self.plan.block, self.plan.sight
        tall_TS = jnp.broadcast_to(of_keys[0], (LANES, block))
        seen_SQ = tall_TS.T[:, :1] == of_queries[0]
        if sight != Sight():
            own_1Q = self.first_query + jax.lax.broadcasted_iota(jnp.int32, (1, block), 1)
            seen_SQ &= sight.sees(own_1Q, self.keys())
        return seen_SQ

    def keys(self) -> jax.Array:
        """Positions of the keys, int32 [S, 1]."""
        block = self.plan.block
        return self.first_key + jax.lax.broadcasted_iota(jnp.int32, (block, 1), 0)

    def drop(self, head: Head, *arrays_SQ: jax.Array) -> tuple[jax.Array, ...]:
        """The arrays with what a head drops set to zero; the rest is not scaled."""
        if self.plan.rate == 0.0:
            return arrays_SQ
        number = self.first_head + head.number
        low, seed, between = (self.words[0, number, word] for word in range(3))
        numbers_SQ = low + self.steps[...] + self.keys().astype(jnp.uint32)
        keep_SQ = mix(Counter(numbers_SQ, seed, between)) >= threshold(self.plan.rate)
        return tuple(jnp.where(keep_SQ, x, jnp.zeros_like(x)) for x in arrays_SQ)


def _product(a: jax.Array, b: jax.Array, axis: int, other_axis: int) -> jax.Array:
    """Of two matrices, summed over an axis of each, float32."""
    dimensions = (((axis,), (other_axis,)), ((), ()))
    return jax.lax.dot_general(a, b, dimensions, preferred_element_type=jnp.float32)


def _scores(query_QR: jax.Array, key_SR: jax.Array, seen_SQ: jax.Array) -> jax.Array:
    return jnp.where(seen_SQ, _product(key_SR, query_QR, 1, 1), _MASKED)


def forward(plan: Plan, *refs: Any) -> None:
    """Attention of a block of queries, added up over the blocks of keys."""
    words, of_queries, of_keys, steps, query, key, value, *rest = refs
    context, log_sums, maxima, sums, totals = rest
    block, step = pl.program_id(2), pl.program_id(3)
    other, meets = plan.partner(block, step, of_keys=False)
    pair = Pair(plan, block, other, words, steps)

    @pl.when(step == 0)
    def _() -> None:
        maxima[...] = jnp.full_like(maxima, _MASKED)
        sums[...] = jnp.zeros_like(sums)
        totals[...] = jnp.zeros_like(totals)

    @pl.when(meets)
    def _() -> None:
        seen_SQ = pair.sees(of_queries, of_keys)
        query_QR, key_SR, value_SR = query[0] * plan.scale, key[0], value[0]
        for head in heads(plan):
            scores_SQ = _scores(head.alone(query_QR), key_SR[:, head.tile], seen_SQ)
            own, rows = pl.ds(head.number, 1), pl.ds(0, head.tile.stop - head.tile.start)
            before_1Q = maxima[own]
            maximum_1Q = jnp.maximum(before_1Q, jnp.max(scores_SQ, axis=0, keepdims=True))
            probs_SQ = jnp.exp(scores_SQ - maximum_1Q)
            faded_1Q = jnp.exp(before_1Q - maximum_1Q)
            maxima[own] = maximum_1Q
            sums[own] = sums[own] * faded_1Q + jnp.sum(probs_SQ, axis=0, keepdims=True)
            (probs_SQ,) = pair.drop(head, probs_SQ)
            added_RQ = _product(head.alone(value_SR), probs_SQ.astype(value_SR.dtype), 0, 0)
            totals[head.number, rows] = totals[head.number, rows] * faded_1Q + added_RQ

    @pl.when(step == plan.width - 1)
    def _() -> None:
        out_RQ = jnp.zeros((plan.lanes, plan.block), jnp.float32)
        for head in heads(plan):
            own, rows = pl.ds(head.number, 1), pl.ds(0, head.tile.stop - head.tile.start)
            part_RQ = totals[head.number, rows] * (1 / (1 - plan.rate) / sums[own])
            around = (head.tile.start, plan.lanes - head.tile.stop)
            out_RQ += jnp.pad(part_RQ, (around, (0, 0)))
        context[0] = out_RQ.T.astype(context.dtype)
        log_sums[0, 0] = maxima[...] + jnp.log(sums[...])


def backward(plan: Plan, *refs: Any) -> None:
    """Gradients: a block of keys over the blocks of queries, and those of a row's queries."""
    words, of_queries, of_keys, steps, query, key, value, context, grad, log_sums, *rest = refs
    grad_query, grad_key, grad_value, to_queries, to_keys, to_values = rest
    block, step = pl.program_id(2), pl.program_id(3)
    other, meets = plan.partner(block, step, of_keys=True)
    pair = Pair(plan, other, block, words, steps)

    @pl.when((step == 0) & (block == 0))
    def _() -> None:
        to_queries[...] = jnp.zeros_like(to_queries)

    @pl.when(step == 0)
    def _() -> None:
        to_keys[...] = jnp.zeros_like(to_keys)
        to_values[...] = jnp.zeros_like(to_values)

    @pl.when(meets)
    def _() -> None:
        seen_SQ = pair.sees(of_queries, of_keys)
        query_QR, key_SR, value_SR, grad_QR = query[0] * plan.scale, key[0], value[0], grad[0]
        dtype, kept = query_QR.dtype, 1 / (1 - plan.rate)
        shares_RQ = (context[0].astype(jnp.float32) * grad_QR.astype(jnp.float32)).T
        for head in heads(plan):
            tile, own_query_QR, own_grad_QR = head.tile, head.alone(query_QR), head.alone(grad_QR)
            scores_SQ = _scores(own_query_QR, key_SR[:, tile], seen_SQ)
            probs_SQ = jnp.exp(scores_SQ - log_sums[0, 0, pl.ds(head.number, 1)])
            grads_SQ = _product(value_SR[:, tile], own_grad_QR, 1, 1) * kept
            dropped_SQ, grads_SQ = pair.drop(head, probs_SQ * kept, grads_SQ)
            shares = shares_RQ[tile]
            shares = jnp.where(head.holds(shares.shape, 0), shares, 0.0)
            grads_SQ = probs_SQ * (grads_SQ - jnp.sum(shares, axis=0, keepdims=True))
            grads_SQ = grads_SQ.astype(dtype)
            to_values[:, tile] += _product(dropped_SQ.astype(dtype), own_grad_QR, 1, 0)
            to_keys[:, tile] += _product(grads_SQ, own_query_QR, 1, 0)
            to_queries[other, tile] += _product(head.alone(key_SR), grads_SQ, 0, 0)

    @pl.when(step == plan.width - 1)
    def _() -> None:
        grad_key[0] = to_keys[...].astype(grad_key.dtype)
        grad_value[0] = to_values[...].astype(grad_value.dtype)

    @pl.when((step == plan.width - 1) & (block == plan.blocks - 1))
    def _() -> None:
        for number in range(plan.blocks):
            tokens = pl.ds(number * plan.block, plan.block)
            done = (to_queries[number] * plan.scale).T
            grad_query[0, tokens] = done.astype(grad_query.dtype)
