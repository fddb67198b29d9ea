"""Flash attention for TPUs that drops probabilities inside: the plain form's numbers, no scores.

The kernels (`mosaic_kernels`) read queries, keys and values as the dense layers make them, [B, L,
H K], as many heads at a time as fill whole lanes: nothing is transposed or padded in main memory.
Which probabilities are dropped follows from the numbers that the plain form gives its elements.
"""

# O: the three words of a counter; Z: numbers of a token, H K.

import functools
import math
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.experimental import pallas as pl
from jax.experimental.pallas import tpu as pltpu

from electra_jax.core.dims import per_shard
from electra_jax.ops import mosaic_kernels as kernels
from electra_jax.ops.dropout import Drop, counter
from electra_jax.ops.mosaic_kernels import LANES, Plan
from electra_jax.ops.sight import Operands, Sight

_BLOCKS = (512, 384, 256, 128)  # sizes to try, tokens


def mosaic(operands: Operands, sight: Sight, drop: Drop, interpret: bool = False) -> jax.Array:
    """Attention that keeps no scores, with dropout; `interpret` runs it anywhere, slowly.

    Args:
        operands: queries, keys, values and document numbers.
        sight: which part of its document a token sees.
        drop: of the probabilities, by the bits 'hash'.

    Returns:
        [B, L, H, K] in the compute dtype: what `ops.attention` gives with the kernel 'xla'.
    """
    B, L, H, _ = operands.query_BLHK.shape
    assert not drop.is_on or drop.bits == 'hash', f'mosaic attention has no {drop.bits} dropout'
    words_BHO, steps_L = numbers(sight, drop, (B, L, H))
    missing = -L % LANES
    padded = [jnp.pad(x, ((0, 0), (0, missing), (0, 0), (0, 0))) for x in operands[:3]]
    documents_BL = jnp.pad(operands.documents_BL, ((0, 0), (0, missing)), constant_values=-1)
    block = next(size for size in _BLOCKS if (L + missing) % size == 0)
    steps_1L = jnp.asarray(np.pad(steps_L, (0, missing)))[None]
    rate = drop.rate if drop.is_on else 0.0

    def rows(*arrays: jax.Array) -> jax.Array:
        query_BLHK, key_BSHK, value_BSHK, documents_BL, words_BHO, steps_1L = arrays
        B, L, H, K = query_BLHK.shape  # of one device
        plan = Plan(sight, rate, block, L // block, H, K, operands.scale, interpret)
        flat = [x.reshape(B, L, H * K) for x in (query_BLHK, key_BSHK, value_BSHK)]
        context = _attend(plan, Given(words_BHO, documents_BL[:, None], steps_1L, *flat))
        return context.reshape(B, L, H, K)

    arrays = (*padded, documents_BL, words_BHO, steps_1L)
    letters = ('BLHK', 'BSHK', 'BSHK', 'BL', 'BHO', 'OO')
    return per_shard(rows, letters, 'BLHK')(*arrays)[:, :L]


class Given(NamedTuple):
    """What a device's kernels read."""

    words_BHO: jax.Array
    documents_B1L: jax.Array
    steps_1L: jax.Array
    query_BLZ: jax.Array
    key_BSZ: jax.Array
    value_BSZ: jax.Array


def numbers(sight: Sight, drop: Drop, shape: tuple[int, int, int]) -> tuple[jax.Array, np.ndarray]:
    """How the plain form numbers the probabilities of rows, heads and queries.

    Args:
        sight: it decides whether the plain form works in blocks.
        drop: whose key seeds the counter.
        shape: B, L and H, of all devices.

    Returns:
        The counter's words for the first element of each row and head, uint32 [B, H, 3]; and what
        a query adds to them to get the number of its product with key 0, uint32 [L].
    """
    B, L, H = shape
    queries_L = np.arange(L, dtype=np.uint32)
    if blocks := sight.blocks(L):
        inner: tuple[int, ...] = blocks
        _, W, U = map(np.uint32, blocks)
        # The first key of block j is a window before its first query, at j W.
        steps_L = queries_L * U - (queries_L // W) * W + (U - W) // np.uint32(2)
    else:
        inner, steps_L = (L, L), queries_L * np.uint32(L)
    assert math.prod(inner) <= 2**32, f'rows of {L:,} tokens are too long for mosaic attention'
    if drop.key is None:
        return jnp.zeros((B, H, 3), jnp.uint32), steps_L
    indices = [jax.lax.broadcasted_iota(jnp.uint32, (B, H), axis) for axis in range(2)]
    indices += [jnp.zeros((B, H), jnp.uint32)] * len(inner)
    words = counter(drop.key, (B, H, *inner), indices)
    return jnp.stack(jnp.broadcast_arrays(*words), axis=-1), steps_L


@functools.partial(jax.custom_vjp, nondiff_argnums=(0,))
def _attend(plan: Plan, given: Given) -> jax.Array:
    return _forward(plan, given)[0]


def _forward(plan: Plan, given: Given) -> tuple[jax.Array, tuple[Given, jax.Array, jax.Array]]:
    B, L, _ = given.query_BLZ.shape
    specs = Specs(plan, of_keys=False)
    groups = plan.heads // plan.group
    vectors = jax.ShapeDtypeStruct(given.query_BLZ.shape, given.query_BLZ.dtype)
    call = pl.pallas_call(
        functools.partial(kernels.forward, plan),
        grid=(B, groups, plan.blocks, plan.width),
        in_specs=specs.given(),
        out_specs=[specs.queries, specs.log_sums],
        out_shape=[vectors, jax.ShapeDtypeStruct((B, groups, plan.group, L), jnp.float32)],
        scratch_shapes=[
            pltpu.VMEM((plan.group, plan.block), jnp.float32),
            pltpu.VMEM((plan.group, plan.block), jnp.float32),
            pltpu.VMEM((plan.group, plan.widest, plan.block), jnp.float32),
        ],
        compiler_params=pltpu.CompilerParams(vmem_limit_bytes=plan.memory),
        interpret=plan.interpret,
        name='attention_forward',
    )
    context_BLZ, log_sums = call(*specs.arrays(given))
    return context_BLZ, (given, context_BLZ, log_sums)


def _backward(
    plan: Plan, kept: tuple[Given, jax.Array, jax.Array], grad_BLZ: jax.Array
) -> tuple[Given]:
    given, context_BLZ, log_sums = kept
    B, L, _ = given.query_BLZ.shape
    specs = Specs(plan, of_keys=True)
    whole_row = pl.BlockSpec((1, L, plan.lanes), lambda b, g, i, j: (b, 0, g))
    call = pl.pallas_call(
        functools.partial(kernels.backward, plan),
        grid=(B, plan.heads // plan.group, plan.blocks, plan.width),
        in_specs=[*specs.given(), specs.queries, specs.queries, specs.log_sums],
        out_specs=[whole_row, specs.keys, specs.keys],
        out_shape=[jax.ShapeDtypeStruct(x.shape, x.dtype) for x in given[3:]],
        scratch_shapes=[
            pltpu.VMEM((plan.blocks, plan.lanes, plan.block), jnp.float32),
            pltpu.VMEM((plan.block, plan.lanes), jnp.float32),
            pltpu.VMEM((plan.block, plan.lanes), jnp.float32),
        ],
        compiler_params=pltpu.CompilerParams(vmem_limit_bytes=plan.memory),
        interpret=plan.interpret,
        name='attention_backward',
    )
    grads = call(*specs.arrays(given), context_BLZ, grad_BLZ, log_sums)
    return (Given(None, None, None, *grads),)  # type: ignore[arg-type]  # integers have none


_attend.defvjp(_forward, _backward)


class Specs:
    """Which part of each array a program reads or writes, by its row, heads, block and step."""

    def __init__(self, plan: Plan, of_keys: bool) -> None:
        """A program goes over the blocks that one of queries sees, or that see one of keys."""
        block, lanes, group = plan.block, plan.lanes, plan.group

        def own(i: jax.Array, j: jax.Array) -> jax.Array:
            return i

        def other(i: jax.Array, j: jax.Array) -> jax.Array:
            return plan.partner(i, j, of_keys)[0]

        query, key = (other, own) if of_keys else (own, other)
        self.words = pl.BlockSpec(
            (1, plan.heads, 3), lambda b, g, i, j: (b, 0, 0), memory_space=pltpu.SMEM
        )
        self.of_queries = pl.BlockSpec((1, 1, block), lambda b, g, i, j: (b, 0, query(i, j)))
        self.of_keys = pl.BlockSpec((1, 1, block), lambda b, g, i, j: (b, 0, key(i, j)))
        self.steps = pl.BlockSpec((1, block), lambda b, g, i, j: (0, query(i, j)))
        self.queries = pl.BlockSpec((1, block, lanes), lambda b, g, i, j: (b, query(i, j), g))
        self.keys = pl.BlockSpec((1, block, lanes), lambda b, g, i, j: (b, key(i, j), g))
        self.log_sums = pl.BlockSpec(
            (1, 1, group, block), lambda b, g, i, j: (b, g, 0, query(i, j))
        )

    def given(self) -> list[pl.BlockSpec]:
        """Of `arrays`."""
        numbers = [self.words, self.of_queries, self.of_keys, self.steps]
        return [*numbers, self.queries, self.keys, self.keys]

    def arrays(self, given: Given) -> list[jax.Array]:
        """`given`, the documents once for queries and once for keys."""
        words_BHO, documents_B1L, *rest = given
        return [words_BHO, documents_B1L, documents_B1L, *rest]
