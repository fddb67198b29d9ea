"""The generator's softmax over the vocabulary: loss, accuracy and a sample at masked positions.

The logits [B, P, V] would be by far the largest array of a training step, so they exist only while
they are used: the backward pass computes them again from the features. With chunks = 1 all of them
are computed at once (`_whole`, `_whole_gradients`), which is fastest where memory is plenty, as on
a CPU. With chunks = n it is one n-th of them at a time (`_streamed`, `_streamed_gradients`). Both
see the vocabulary as X blocks of Y = 128 members: token v is member v % 128 of block v // 128.

    V = X Y tokens            member 0   1   2  ..  127
                     block 0  [ token 0   1   2  ..  127 ]
                     block 1  [ token 128 ..             ]
                      ..      [  chunk 0  |  chunk 1 | ..]   a chunk is a slice of every block's
                     block X-1[           |          |   ]   members, so a table sharded by blocks
                                                             stays where it is

For each block, the largest logit and the log-sum-exp of its logits [B, P, X] are all that is
needed for the loss (log-sum-exp over blocks), the most probable token (the best member of the best
block) and an exact sample: draw a block by its log-sum-exp, then a member inside it. The streamed
form updates these per-block numbers chunk after chunk (`_Running`), as in an online softmax.
"""

import functools
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from electra_jax.core.dims import constrain, lift

_PADDING_LOGIT = -1e9  # of rows that only pad the vocabulary: never sampled, never predicted
_DISALLOWED = 1000.0  # taken off the logit of a token that must not be sampled
Noise = tuple[jax.Array, ...]  # uniforms in [0, 1), with the shapes of `noise_shapes`

BLOCK = 128  # vocabulary rows per block of the two-stage sampler


class Softmax(NamedTuple):
    """A distribution over the vocabulary at each position, whose logits are not computed yet."""

    features_BPE: jax.Array  # compute dtype, a head's output
    table_VE: jax.Array  # compute dtype, the word embeddings, V padded
    bias_V: jax.Array  # float32

    def at(self, positions_BP: jax.Array) -> 'Softmax':
        """The same at some of the positions."""
        features_BPE = jnp.take_along_axis(self.features_BPE, positions_BP[..., None], axis=1)
        return self._replace(features_BPE=features_BPE)


class Prediction(NamedTuple):
    """The results at each position."""

    loss_BP: jax.Array  # float32, -log p(target), nats
    best_BP: jax.Array  # int32, the most probable token
    sampled_BP: jax.Array  # int32, a draw from softmax(logits / temperature)
    normalizer_BP: jax.Array  # float32, log-sum-exp of the logits; carries no gradient


def vocab_logits(softmax: Softmax, vocab_size: int) -> jax.Array:
    """Float32 logits [B, P, V]; rows at or above `vocab_size` are padding and cannot win."""
    features_BPE, table_VE, bias_V = softmax
    logits_BPV = jnp.einsum(
        'BPE,VE->BPV', features_BPE, table_VE, preferred_element_type=jnp.float32
    )
    logits_BPV += lift(bias_V.astype(jnp.float32), 3)
    is_token_V = jnp.arange(table_VE.shape[0]) < vocab_size
    return jnp.where(lift(is_token_V, 3), logits_BPV, _PADDING_LOGIT)


def predict(
    softmax: Softmax,
    targets_BP: jax.Array,
    noise: Noise,
    temperature: jax.Array | float,
    vocab_size: int,
    disallow_target: bool = False,
    chunks: int = 1,
) -> Prediction:
    """Cross-entropy, arg max and sample in one pass; only the loss carries a gradient.

    Args:
        softmax: of the network.
        targets_BP: int32, the original tokens.
        noise: uniforms in [0, 1) for `sample`; none: the arg max stands for the sample.
        temperature: of the sample only, never of the loss.
        vocab_size: rows of the table that are real tokens.
        disallow_target: whether the sample is never the target.
        chunks: the number of slices in which the logits are computed, a divisor of `BLOCK`. The
            results do not depend on it: the same noise draws the same tokens.
    """
    plain = isinstance(temperature, float | int) and temperature == 1
    divisor = None if plain else jnp.asarray(temperature, jnp.float32)
    return _predict(softmax, targets_BP, noise, divisor, vocab_size, disallow_target, chunks)


@functools.partial(jax.custom_vjp, nondiff_argnums=(4, 5, 6))
def _predict(
    softmax: Softmax,
    targets_BP: jax.Array,
    noise: Noise,
    divisor: jax.Array | None,
    vocab_size: int,
    disallow_target: bool,
    chunks: int,
) -> Prediction:
    arguments = (softmax, targets_BP, noise, divisor, vocab_size, disallow_target)
    return _whole(*arguments) if chunks == 1 else _streamed(*arguments, chunks)


_Kept = tuple[Softmax, jax.Array, jax.Array]  # softmax, targets_BP, normalizer_BP


def _forward(softmax: Softmax, targets_BP: jax.Array, *rest: Any) -> tuple[Prediction, _Kept]:
    prediction = _predict(softmax, targets_BP, *rest)
    return prediction, (softmax, targets_BP, prediction.normalizer_BP)


def _backward(
    vocab_size: int,
    _disallow_target: bool,  # samples carry no gradient
    chunks: int,
    kept: _Kept,
    grads: Prediction,
) -> tuple[Softmax, None, None, None]:
    arguments = (*kept, grads.loss_BP.astype(jnp.float32), vocab_size)
    grad = _whole_gradients(*arguments) if chunks == 1 else _streamed_gradients(*arguments, chunks)
    return jax.tree.map(lambda g, x: g.astype(x.dtype), grad, kept[0]), None, None, None


_predict.defvjp(_forward, _backward)


def _whole(
    softmax: Softmax,
    targets_BP: jax.Array,
    noise: Noise,
    divisor: jax.Array | None,
    vocab_size: int,
    disallow_target: bool,
) -> Prediction:
    logits_BPV = vocab_logits(softmax, vocab_size)
    blocks_BPXY, highest_BPX, mass_BPX = in_blocks(logits_BPV)
    normalizer_BP = jax.nn.logsumexp(mass_BPX, axis=-1)
    target_logit_BP = jnp.take_along_axis(logits_BPV, targets_BP[..., None], axis=-1)[..., 0]
    best_BP = pick(blocks_BPXY, highest_BPX)
    if divisor is not None or disallow_target:
        logits_BPV = logits_BPV if divisor is None else logits_BPV / divisor
        if disallow_target:
            logits_BPV -= _DISALLOWED * _is_target(targets_BP, logits_BPV)
        blocks_BPXY, _, mass_BPX = in_blocks(logits_BPV)
    sampled_BP = sample(blocks_BPXY, mass_BPX, noise) if noise else best_BP
    return Prediction(normalizer_BP - target_logit_BP, best_BP, sampled_BP, normalizer_BP)


def _is_target(targets_BP: jax.Array, logits_BPV: jax.Array) -> jax.Array:
    return lift(jnp.arange(logits_BPV.shape[-1]), 3) == targets_BP[..., None]


def _whole_gradients(
    softmax: Softmax,
    targets_BP: jax.Array,
    normalizer_BP: jax.Array,
    grad_BP: jax.Array,
    vocab_size: int,
) -> Softmax:
    features_BPE, table_VE, _ = softmax
    logits_BPV = vocab_logits(softmax, vocab_size)
    # d loss / d logits = softmax - one hot; the incoming gradient is applied to the small sides.
    error_BPV = jnp.exp(logits_BPV - normalizer_BP[..., None]) - _is_target(targets_BP, logits_BPV)
    grad_bias_V = jnp.einsum('BP,BPV->V', grad_BP, error_BPV)
    error_BPV = error_BPV.astype(features_BPE.dtype)
    grad_features_BPE = grad_BP[..., None] * jnp.einsum('BPV,VE->BPE', error_BPV, table_VE)
    grad_table_VE = jnp.einsum(
        'BPV,BPE->VE',
        error_BPV,
        _weighted(features_BPE, grad_BP),
        preferred_element_type=jnp.float32,
    )
    return Softmax(grad_features_BPE, grad_table_VE, grad_bias_V)


def _weighted(features_BPE: jax.Array, grad_BP: jax.Array) -> jax.Array:
    return (grad_BP[..., None] * features_BPE).astype(features_BPE.dtype)


class _Running(NamedTuple):
    """Statistics of each block of the vocabulary [B, P, X] over the members seen so far."""

    highest_BPX: jax.Array  # float32, the largest logit
    sum_BPX: jax.Array  # float32, of exp(logit - highest)
    best_BPX: jax.Array  # int32, the member with the largest logit

    @classmethod
    def empty(cls, shape: tuple[int, ...]) -> '_Running':
        """Before the first member."""
        lowest = jnp.full(shape, -1e30)
        return cls(lowest, jnp.zeros(shape), jnp.zeros(shape, jnp.int32))

    def after(self, logits_BPYX: jax.Array, first: jax.Array) -> '_Running':
        """The statistics with the members from `first` on included."""
        here_BPX = jnp.max(logits_BPYX, axis=2)
        highest_BPX = jnp.maximum(self.highest_BPX, here_BPX)
        best_BPX = jnp.argmax(logits_BPYX, axis=2).astype(jnp.int32) + first
        added_BPX = jnp.sum(jnp.exp(logits_BPYX - highest_BPX[:, :, None]), axis=2)
        return _Running(
            highest_BPX,
            self.sum_BPX * jnp.exp(self.highest_BPX - highest_BPX) + added_BPX,
            jnp.where(here_BPX > self.highest_BPX, best_BPX, self.best_BPX),
        )

    def mass_BPX(self) -> jax.Array:
        """Log-sum-exp of each block's logits."""
        return self.highest_BPX + jnp.log(self.sum_BPX)

    def token_BP(self, score_BPX: jax.Array) -> jax.Array:
        """The best member of the block with the highest score, as a token, int32."""
        block_BP = jnp.argmax(score_BPX, axis=-1)
        member_BP = jnp.take_along_axis(self.best_BPX, block_BP[..., None], axis=-1)[..., 0]
        return (block_BP * BLOCK + member_BP).astype(jnp.int32)


class _Chunks(NamedTuple):
    """The vocabulary as blocks, read some members of every block at a time."""

    table_XYE: jax.Array
    bias_XY: jax.Array
    vocab_size: int
    members: int  # of a chunk

    @classmethod
    def of(cls, softmax: Softmax, vocab_size: int, chunks: int) -> '_Chunks':
        """Blocks may be spread over devices: each device then has a share of each chunk."""
        E = softmax.table_VE.shape[-1]
        table_XYE = constrain(softmax.table_VE.reshape(-1, BLOCK, E), 'XYE')
        bias_XY = softmax.bias_V.astype(jnp.float32).reshape(-1, BLOCK)
        return cls(table_XYE, bias_XY, vocab_size, BLOCK // chunks)

    def rows(self, first: jax.Array) -> jax.Array:
        """The table's rows of the chunk from member `first` on, [X, Y, E]."""
        return jax.lax.dynamic_slice_in_dim(self.table_XYE, first, self.members, 1)

    def tokens(self, first: jax.Array) -> jax.Array:
        """Ids of the chunk's tokens, int32 [Y, X]."""
        blocks_X = jnp.arange(self.table_XYE.shape[0]) * BLOCK
        return (first + jnp.arange(self.members))[:, None] + blocks_X[None]

    def logits(self, features_BPE: jax.Array, first: jax.Array) -> jax.Array:
        """Float32 [B, P, Y, X]: the blocks last, which a TPU then reduces lane by lane."""
        logits_BPYX = jnp.einsum(
            'BPE,XYE->BPYX', features_BPE, self.rows(first), preferred_element_type=jnp.float32
        )
        logits_BPYX = constrain(logits_BPYX, 'BPYX')
        bias_XY = jax.lax.dynamic_slice_in_dim(self.bias_XY, first, self.members, 1)
        is_token_YX = self.tokens(first) < self.vocab_size
        return jnp.where(lift(is_token_YX, 4), logits_BPYX + lift(bias_XY.T, 4), _PADDING_LOGIT)


def _streamed(
    softmax: Softmax,
    targets_BP: jax.Array,
    noise: Noise,
    divisor: jax.Array | None,
    vocab_size: int,
    disallow_target: bool,
    chunks: int,
) -> Prediction:
    vocabulary = _Chunks.of(softmax, vocab_size, chunks)
    empty = _Running.empty((*targets_BP.shape, vocabulary.table_XYE.shape[0]))
    changed = divisor is not None or disallow_target

    def update(running: tuple[_Running, ...], first: jax.Array) -> tuple[Any, None]:
        plain, tempered, noisy = running
        logits_BPYX = vocabulary.logits(softmax.features_BPE, first)
        plain = plain.after(logits_BPYX, first)
        if noise:
            if divisor is not None:
                logits_BPYX = logits_BPYX / divisor
            if disallow_target:
                is_target_BPYX = lift(vocabulary.tokens(first), 4) == targets_BP[..., None, None]
                logits_BPYX -= _DISALLOWED * is_target_BPYX
            tempered = tempered.after(logits_BPYX, first) if changed else tempered
            # The noise inside a block is one for all blocks, so each may draw its member now.
            logits_BPYX += gumbel(_inner_noise(noise, first, vocabulary.members))
            noisy = noisy.after(logits_BPYX, first)
        return (plain, tempered, noisy), None

    firsts = jnp.arange(0, BLOCK, vocabulary.members)
    (plain, tempered, noisy), _ = jax.lax.scan(update, (empty, empty, empty), firsts)
    normalizer_BP = jax.nn.logsumexp(plain.mass_BPX(), axis=-1)
    target_logit_BP = token_logits(softmax, targets_BP)
    best_BP = plain.token_BP(plain.highest_BPX)
    sampled_BP = best_BP
    if noise:
        score_BPX = noisy.highest_BPX
        if len(noise) == 2:
            score_BPX = (tempered if changed else plain).mass_BPX() + gumbel(noise[0])
        sampled_BP = noisy.token_BP(score_BPX)
    return Prediction(normalizer_BP - target_logit_BP, best_BP, sampled_BP, normalizer_BP)


def _inner_noise(noise: Noise, first: jax.Array, members: int) -> jax.Array:
    """The uniforms of a chunk: one per token [B, P, Y, X], or one per member [B, P, Y, 1]."""
    if len(noise) == 1:
        noise_BPXY = noise[0].reshape(*noise[0].shape[:2], -1, BLOCK)
    else:
        noise_BPXY = noise[1][:, :, None]
    return jax.lax.dynamic_slice_in_dim(noise_BPXY, first, members, 3).swapaxes(2, 3)


def _streamed_gradients(
    softmax: Softmax,
    targets_BP: jax.Array,
    normalizer_BP: jax.Array,
    grad_BP: jax.Array,
    vocab_size: int,
    chunks: int,
) -> Softmax:
    features_BPE, table_VE, bias_V = softmax
    vocabulary = _Chunks.of(softmax, vocab_size, chunks)
    weighted_BPE = _weighted(features_BPE, grad_BP)

    def add(totals: tuple[jax.Array, ...], first: jax.Array) -> tuple[Any, None]:
        grad_features_BPE, grad_table_XYE, grad_bias_XY = totals
        logits_BPYX = vocabulary.logits(features_BPE, first)
        error_BPYX = jnp.exp(logits_BPYX - normalizer_BP[..., None, None])
        error_BPYX -= lift(vocabulary.tokens(first), 4) == targets_BP[..., None, None]
        bias_XY = jnp.einsum('BP,BPYX->XY', grad_BP, error_BPYX)
        error_BPYX = error_BPYX.astype(features_BPE.dtype)
        grad_features_BPE += jnp.einsum(
            'BPYX,XYE->BPE', error_BPYX, vocabulary.rows(first), preferred_element_type=jnp.float32
        )
        table_XYE = jnp.einsum(
            'BPYX,BPE->XYE', error_BPYX, weighted_BPE, preferred_element_type=jnp.float32
        ).astype(table_VE.dtype)
        put = jax.lax.dynamic_update_slice_in_dim
        grad_table_XYE = put(grad_table_XYE, table_XYE, first, 1)
        return (grad_features_BPE, grad_table_XYE, put(grad_bias_XY, bias_XY, first, 1)), None

    zeros = (
        jnp.zeros(features_BPE.shape),
        jnp.zeros_like(vocabulary.table_XYE),
        jnp.zeros_like(vocabulary.bias_XY),
    )
    totals, _ = jax.lax.scan(add, zeros, jnp.arange(0, BLOCK, vocabulary.members))
    grad_features_BPE, grad_table_XYE, grad_bias_XY = totals
    return Softmax(
        grad_BP[..., None] * grad_features_BPE,
        grad_table_XYE.reshape(table_VE.shape),
        grad_bias_XY.reshape(bias_V.shape),
    )


def token_logits(softmax: Softmax, tokens_BP: jax.Array) -> jax.Array:
    """The logits of one token at each position, float32 [B, P], without the others."""
    features_BPE, table_VE, bias_V = softmax
    words_BPE = table_VE[tokens_BP].astype(features_BPE.dtype)
    logits_BP = jnp.einsum(
        'BPE,BPE->BP', features_BPE, words_BPE, preferred_element_type=jnp.float32
    )
    return logits_BP + bias_V.astype(jnp.float32)[tokens_BP]


def sample_others(
    softmax: Softmax, targets_BP: jax.Array, noise_BPV: jax.Array, count: int, vocab_size: int
) -> jax.Array:
    """Draws `count` tokens other than the target from the softmax, without replacement.

    Args:
        softmax, targets_BP, vocab_size: as for `predict`.
        noise_BPV: uniforms in [0, 1); the largest logits plus Gumbel noise win.
        count: A.

    Returns:
        int32 [B, P, A]; carries no gradient.
    """
    logits_BPV = vocab_logits(softmax, vocab_size) + gumbel(noise_BPV)
    logits_BPV = jnp.where(_is_target(targets_BP, logits_BPV), 2 * _PADDING_LOGIT, logits_BPV)
    return jax.lax.top_k(jax.lax.stop_gradient(logits_BPV), count)[1].astype(jnp.int32)


def noise_shapes(B: int, P: int, V: int, sampler: str) -> tuple[tuple[int, ...], ...]:
    """Shapes of the uniforms that `sample` needs: one per token, or one per block and member."""
    return {'gumbel': ((B, P, V),), 'blocks': ((B, P, V // BLOCK), (B, P, BLOCK))}[sampler]


def in_blocks(logits_BPV: jax.Array) -> tuple[jax.Array, jax.Array, jax.Array]:
    """The logits as blocks [B, P, X, Y], with each block's maximum and log-sum-exp [B, P, X]."""
    blocks_BPXY = logits_BPV.reshape(*logits_BPV.shape[:-1], -1, BLOCK)
    highest_BPX = jnp.max(blocks_BPXY, axis=-1)
    sums_BPX = jnp.sum(jnp.exp(blocks_BPXY - highest_BPX[..., None]), axis=-1)
    return blocks_BPXY, highest_BPX, highest_BPX + jnp.log(sums_BPX)


def sample(blocks_BPXY: jax.Array, mass_BPX: jax.Array, noise: Noise) -> jax.Array:
    """An exact draw from softmax(logits) by the Gumbel-max trick.

    Args:
        blocks_BPXY: float32 logits, from `in_blocks`.
        mass_BPX: their log-sum-exps.
        noise: uniforms in [0, 1), with the shapes of `noise_shapes`. One array: Gumbel noise for
            every token, the reference's formula. Two: a block of the vocabulary is drawn by its
            log-sum-exp, then a token inside it; the same distribution for V / 128 + 128 uniforms
            instead of V.

    Returns:
        int32 [B, P].
    """
    if len(noise) == 1:
        logits_BPV = blocks_BPXY.reshape(noise[0].shape)
        return jnp.argmax(logits_BPV + gumbel(noise[0]), axis=-1).astype(jnp.int32)
    block_noise_BPX, inner_noise_BPY = noise
    return pick(blocks_BPXY, mass_BPX + gumbel(block_noise_BPX), gumbel(inner_noise_BPY))


def pick(
    blocks_BPXY: jax.Array, score_BPX: jax.Array, noise_BPY: jax.Array | float = 0.0
) -> jax.Array:
    """The token of the highest logit plus noise inside the block of the highest score, int32."""
    block_BP = jnp.argmax(score_BPX, axis=-1)
    inside_BPY = jnp.take_along_axis(blocks_BPXY, block_BP[..., None, None], axis=-2)[..., 0, :]
    member_BP = jnp.argmax(inside_BPY + noise_BPY, axis=-1)
    return (block_BP * BLOCK + member_BP).astype(jnp.int32)


def gumbel(uniform: jax.Array) -> jax.Array:
    """Gumbel noise by the reference's formula, -ln(-ln(u + 1e-9) + 1e-9), float32; finite at 0.

    >>> round(float(gumbel(jnp.array(0.5))), 5)
    0.36651
    """
    return -jnp.log(-jnp.log(uniform.astype(jnp.float32) + 1e-9) + 1e-9)
