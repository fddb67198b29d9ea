"""Attention kernels that keep no scores: each is a library's, kept inside one document.

All run on each device's own rows and heads. Pallas' need rows padded to a multiple of 128, their
tiles. Each kernel is imported where it is used, so that a module that JAX removes does not keep the
package from importing.
"""

from collections.abc import Callable

import jax
import jax.numpy as jnp

from electra_jax.core.dims import per_shard
from electra_jax.ops.sight import Operands, Sight, visible

_TILE = 128


def splash(operands: Operands, sight: Sight, interpret: bool = False) -> jax.Array:
    """Pallas' splash attention, for TPUs; `interpret` runs it anywhere, slowly.

    The kernel skips the blocks of keys that a window or a direction hides from all its queries.
    """
    from jax.experimental.pallas.ops.tpu import splash_attention

    def rows(operands: Operands) -> jax.Array:
        query_BLHK, key_BSHK, value_BSHK, documents_BL = operands
        _, L, H, _ = query_BLHK.shape
        kernel = _splash_kernel(L, H, sight, interpret)
        scaled = (query_BLHK * operands.scale, key_BSHK, value_BSHK)
        by_head = [jnp.swapaxes(x, 1, 2) for x in scaled]
        segments = splash_attention.SegmentIds(documents_BL, documents_BL)
        return jnp.swapaxes(jax.vmap(kernel)(*by_head, segments), 1, 2)

    return _on_tiles(rows, operands)


def _splash_kernel(L: int, H: int, sight: Sight, interpret: bool) -> Callable[..., jax.Array]:
    from jax.experimental.pallas.ops.tpu import splash_attention

    block = next(size for size in (512, 384, 256, 128) if L % size == 0)
    # The fused backward pass adds up one gradient of the queries for each block of keys: it pays
    # where there is only one block.
    fused = block == L
    sizes = splash_attention.BlockSizes(
        block_q=block,
        block_kv=block,
        block_q_dkv=block,
        block_kv_dkv=block,
        block_q_dq=None if fused else block,
        block_kv_dq=None if fused else block,
        use_fused_bwd_kernel=fused,
    )
    before = 0 if sight.side == 'after' else sight.window
    after = 0 if sight.side == 'before' else sight.window
    mask: splash_attention.Mask = splash_attention.FullMask((L, L))
    if before is not None or after is not None:
        mask = splash_attention.LocalMask((L, L), (before, after), 0)
    return splash_attention.make_splash_mha(
        splash_attention.MultiHeadMask([mask] * H),
        block_sizes=sizes,
        head_shards=1,
        q_seq_shards=1,
        interpret=interpret,
    )


def triton(operands: Operands, sight: Sight, interpret: bool = False) -> jax.Array:
    """Pallas' flash attention through Triton, for GPUs: knows documents, but no windows.

    JAX deprecated it in 0.12 and will remove it; `config.kernels` chooses it only where it exists.
    """
    from jax.experimental.pallas.ops.gpu import attention

    def in_order(x: jax.Array) -> jax.Array:
        """The kernel looks back only: to look ahead, rows are reversed."""
        return jnp.flip(x, axis=1) if sight.side == 'after' else x

    def rows(operands: Operands) -> jax.Array:
        causal = sight.side != 'document'
        arrays = map(in_order, operands)
        return in_order(attention.mha(*arrays, operands.scale, causal, interpret=interpret))

    return _on_tiles(rows, operands)


def cudnn(operands: Operands, sight: Sight) -> jax.Array:
    """cuDNN's flash attention, for GPUs: rows of one document each, with padding behind it.

    Packed documents would take B x H x L numbers for as many as a row may have, 255 here: they are
    for `cudnn_mask`.
    """

    def rows(operands: Operands) -> jax.Array:
        *vectors, documents_BL = operands
        lengths_B = jnp.sum(documents_BL > 0, axis=1, dtype=jnp.int32)
        lengths_B = jnp.maximum(lengths_B, 1)  # a row of nothing but padding stays finite
        return jax.nn.dot_product_attention(
            *vectors,
            is_causal=sight.side == 'before',
            query_seq_lengths=lengths_B,
            key_value_seq_lengths=lengths_B,
            implementation='cudnn',
        )

    return _per_row_and_head(rows, operands)


def cudnn_mask(operands: Operands, sight: Sight) -> jax.Array:
    """cuDNN's flash attention with who sees whom as an array, [B, L, S] for all heads, for GPUs.

    It knows documents and directions. The array is the price: 2 L bytes a token, which each head of
    each layer reads, and whose gradient, which nobody asks for, each layer writes. Rows are padded
    to an even length, which cuDNN needs.
    """

    def rows(operands: Operands) -> jax.Array:
        visible_BLS = visible(operands.documents_BL, sight)
        return jax.nn.dot_product_attention(
            operands.query_BLHK,
            operands.key_BSHK,
            operands.value_BSHK,
            mask=visible_BLS[:, None],
            implementation='cudnn',
        )

    return _on_tiles(rows, operands, 2)


RowAttention = Callable[[Operands], jax.Array]  # attention on one device's rows and heads


def _on_tiles(rows: RowAttention, operands: Operands, tile: int = _TILE) -> jax.Array:
    """`rows` on arrays padded to whole tiles; the padding is a separate document, -1."""
    L = operands.documents_BL.shape[1]
    missing = -L % tile
    if missing:
        tail = (0, missing)
        query_BLHK, key_BSHK, value_BSHK = (
            jnp.pad(x, ((0, 0), tail, (0, 0), (0, 0))) for x in operands[:3]
        )
        documents_BL = jnp.pad(operands.documents_BL, ((0, 0), tail), constant_values=-1)
        operands = Operands(query_BLHK, key_BSHK, value_BSHK, documents_BL)
    return _per_row_and_head(rows, operands)[:, :L]


def _per_row_and_head(rows: RowAttention, operands: Operands) -> jax.Array:
    def on_arrays(*arrays: jax.Array) -> jax.Array:
        return rows(Operands(*arrays))

    return per_shard(on_arrays, ('BLHK', 'BLHK', 'BLHK', 'BL'), 'BLHK')(*operands)
