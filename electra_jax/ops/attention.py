"""Multi-head attention that stays inside one document: which tokens see which, and by what kernel.

Every kernel is handed document numbers, never a mask of who sees whom: the plain form and
'cudnn_mask' make one, of [B, L, S], and the local form one of [B, L, U].
"""

import functools
import math
from collections.abc import Callable

import jax
import jax.numpy as jnp

from electra_jax.core.dims import lift
from electra_jax.ops import flash
from electra_jax.ops.activations import softmax
from electra_jax.ops.dropout import Drop
from electra_jax.ops.sight import Operands, Sight, visible

_MASKED = -1e9  # finite, so that a row of nothing but padding has no NaN


def attention(kernel: str, operands: Operands, sight: Sight, drop: Drop) -> jax.Array:
    """softmax(Q K^T / sqrt(K)) V, each token attending to what it sees.

    Args:
        kernel: a key of `KERNELS`.
        operands: queries, keys, values and document numbers.
        sight: which part of its document a token sees.
        drop: must be off for all kernels but those of `DROPPING` (`config.kernels` sees to that).

    Returns:
        [B, L, H, K] in the compute dtype. The softmax is float32.
    """
    if sight.window is not None and kernel not in WINDOWED:
        # A window leaves no use for a kernel without one: a few blocks of keys are no large array.
        if sight.blocks(operands.documents_BL.shape[1]):
            return local(operands, sight, drop)
        kernel = 'xla'
    if kernel in DROPPING:
        return KERNELS[kernel](operands, sight, drop)
    assert not drop.is_on, f'{kernel} attention has no dropout'
    return KERNELS[kernel](operands, sight)


def plain(operands: Operands, sight: Sight, drop: Drop) -> jax.Array:
    """The formula as it stands; the only form that holds [B, H, L, S] arrays."""
    query_BLHK, key_BSHK, value_BSHK, documents_BL = operands
    scores_BHLS = jnp.einsum(
        'BLHK,BSHK->BHLS', query_BLHK * operands.scale, key_BSHK, preferred_element_type=jnp.float32
    )
    visible_BLS = visible(documents_BL, sight)
    probs_BHLS = drop(softmax(jnp.where(visible_BLS[:, None], scores_BHLS, _MASKED)))
    return jnp.einsum('BHLS,BSHK->BLHK', probs_BHLS.astype(value_BSHK.dtype), value_BSHK)


def among(
    query_BLHK: jax.Array,
    key_BHKS: jax.Array,
    value_BHSK: jax.Array,
    seen_BLS: jax.Array,
    drop: Drop,
) -> jax.Array:
    """Attention to what each query is said to see, in the plain form.

    Few queries to many keys are what a decoder has, and then the order of the letters decides how
    fast a CPU is: in the order of `plain`, five queries take four times as long.

    Args:
        query_BLHK: the queries, in the compute dtype.
        key_BHKS: the keys.
        value_BHSK: their values.
        seen_BLS: which keys each query sees; one that sees none has a meaningless result.
        drop: of the probabilities.

    Returns:
        [B, L, H, K] in the compute dtype.
    """
    scale = 1 / math.sqrt(query_BLHK.shape[-1])
    scores_BHLS = jnp.einsum(
        'BLHK,BHKS->BHLS', query_BLHK * scale, key_BHKS, preferred_element_type=jnp.float32
    )
    probs_BHLS = drop(softmax(jnp.where(seen_BLS[:, None], scores_BHLS, _MASKED)))
    context_BHLK = jnp.einsum('BHLS,BHSK->BHLK', probs_BHLS.astype(value_BHSK.dtype), value_BHSK)
    return jnp.swapaxes(context_BHLK, 1, 2)


def local(operands: Operands, sight: Sight, drop: Drop) -> jax.Array:
    """Attention through a window, in blocks of tokens: linear in L.

    Each block of queries meets the keys of its own block and, on either side of it, as many more
    as the window is wide, which is all that it can see.
    """
    query_BLHK, key_BSHK, value_BSHK, documents_BL = operands
    L = documents_BL.shape[1]
    blocks = sight.blocks(L)
    assert blocks, 'local attention needs a window, and rows that are longer'
    J, W, U = blocks
    beside = (U - W) // 2
    split = functools.partial(_in_blocks, J=J, W=W)
    query_BJWHK, documents_BJW = split(query_BLHK), split(documents_BL, fill=-1)
    key_BJUHK, value_BJUHK = (_with_neighbours(split(x), beside) for x in (key_BSHK, value_BSHK))
    others_BJU = _with_neighbours(documents_BJW, beside, fill=-1)
    scores_BHJWU = jnp.einsum(
        'BJWHK,BJUHK->BHJWU',
        query_BJWHK * operands.scale,
        key_BJUHK,
        preferred_element_type=jnp.float32,
    )
    own_W, other_U = jnp.arange(W) + beside, jnp.arange(U)
    seen_WU = sight.sees(own_W[:, None], other_U[None])
    visible_BJWU = documents_BJW[..., None] == others_BJU[:, :, None]
    visible_BJWU &= lift(jnp.asarray(seen_WU), 4)
    probs_BHJWU = drop(softmax(jnp.where(visible_BJWU[:, None], scores_BHJWU, _MASKED)))
    context_BJWHK = jnp.einsum(
        'BHJWU,BJUHK->BJWHK', probs_BHJWU.astype(value_BSHK.dtype), value_BJUHK
    )
    return context_BJWHK.reshape(-1, J * W, *query_BLHK.shape[2:])[:, :L]


def _in_blocks(x: jax.Array, J: int, W: int, fill: int = 0) -> jax.Array:
    """[B, L, ...] -> [B, J, W, ...], filled up at the end."""
    pad = [(0, 0), (0, J * W - x.shape[1]), *[(0, 0)] * (x.ndim - 2)]
    return jnp.pad(x, pad, constant_values=fill).reshape(x.shape[0], J, W, *x.shape[2:])


def _with_neighbours(x: jax.Array, beside: int, fill: int = 0) -> jax.Array:
    """[B, J, W, ...] -> [B, J, U, ...]: each block, with what is beside it."""
    around = [(0, 0), (1, 1), *[(0, 0)] * (x.ndim - 2)]
    x = jnp.pad(x, around, constant_values=fill)
    ends = x.shape[2] - beside
    return jnp.concatenate([x[:, :-2, ends:], x[:, 1:-1], x[:, 2:, :beside]], axis=2)


def mosaic(operands: Operands, sight: Sight, drop: Drop, interpret: bool = False) -> jax.Array:
    """The plain form's numbers by a kernel that keeps no scores, for TPUs: `ops.mosaic`."""
    from electra_jax.ops import mosaic

    return mosaic.mosaic(operands, sight, drop, interpret)


# Kernels by `config.model.attention`.
KERNELS: dict[str, Callable[..., jax.Array]] = {
    'xla': plain,
    'splash': flash.splash,
    'mosaic': mosaic,
    'cudnn': flash.cudnn,
    'cudnn_mask': flash.cudnn_mask,
    'triton': flash.triton,
}
DROPPING = ('xla', 'mosaic')  # those that drop probabilities, by the same bits
WINDOWED = ('splash', 'mosaic')  # those that skip what a window hides
