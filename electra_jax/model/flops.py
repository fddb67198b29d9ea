"""How many floating-point operations a token of pre-training costs, by two conventions.

'mfu': matrix products only, 6 x weights plus attention: forward 2 FLOPs a weight, backward 4,
attention scores and their use 12 x L x D a layer; nothing for embedding look-ups; the softmax over
the vocabulary only where it is computed. Utilization of the hardware is reported in these.

'paper': what ELECTRA's Table 1 and its appendix F count (electra, flops_computation.py): the
backward pass as much as the forward pass, embedding look-ups as dense products with a one-hot
matrix, biases, activations, LayerNorms and dropout, the softmax at 15.625 % of the positions.
"""

from typing import NamedTuple

from electra_jax.config.presets import (
    EncoderShape,
    discriminator_shape,
    first_stage,
    generator_embedding_size,
    generator_shape,
)
from electra_jax.config.schema import Config

# FLOPs of one element, in the paper's convention.
_DROPOUT, _LAYER_NORM, _ACTIVATION, _SOFTMAX = 4, 5, 8, 5
_PAPER_MASKED = 0.15625


class Work(NamedTuple):
    """What one network computes for each token."""

    encoders: tuple[tuple[EncoderShape, int], ...]  # with the width of what they read, E
    softmaxes: tuple[tuple[int, int, float], ...] = ()  # D in, E, share of the positions
    binaries: tuple[int, ...] = ()  # D of each head with one logit a token
    trained: float = 1.0  # share of the steps in which there is a backward pass, too


def training_flops(config: Config, vocab_size: int, parts: tuple[str, ...]) -> dict[str, float]:
    """FLOPs of one training step per token of the batch, by convention ('mfu', 'paper').

    Args:
        config: resolved.
        vocab_size: tokens, unpadded.
        parts: of the objective (`Objective.parts`).
    """
    works = [work for part in parts for work in _works(config, part)]
    L = config.data.row_length
    return {
        'mfu': sum((1 + 2 * work.trained) * _products(work, L, vocab_size) for work in works),
        'paper': sum((1 + work.trained) * _paper(work, L, vocab_size) for work in works),
    }


def _works(config: Config, part: str) -> list[Work]:
    model, masked = config.model, config.objective.mask_rate
    main, E = discriminator_shape(model), model.embedding_size
    D = main.hidden_size
    first, total = first_stage(config), config.total_steps
    late = (total - first) / total if first else 1.0
    encoder = ((main, E),)
    if part == 'generator':
        return [_generator(config, first / total if first else 1.0)]
    one_layer = EncoderShape(1, D, main.ffn_size, main.num_heads)
    return {
        'discriminator': [Work(encoder, binaries=(D,), trained=late)],
        'language': [Work(encoder, softmaxes=((D, E, masked),))],
        'gated_language': [Work(encoder, softmaxes=((D, E, 1.0),))],
        # The few candidates of each position are not counted.
        'selection': [Work((*encoder, (one_layer, D)), binaries=(D,))],
    }[part]


def _generator(config: Config, trained: float) -> Work:
    model, masked = config.model, config.objective.mask_rate
    trained = 0.0 if config.objective.freeze_generator else trained
    E = generator_embedding_size(model)
    if model.generator == 'tied':
        shape = discriminator_shape(model)
        return Work(((shape, E),), ((shape.hidden_size, E, masked),))
    shape = generator_shape(model)
    if model.generator == 'two_tower':
        return Work(((shape, E),) * 2, ((2 * shape.hidden_size, E, 1.0),))
    return Work(((shape, E),), ((shape.hidden_size, E, masked),), trained=trained)


def _products(work: Work, L: int, V: int) -> float:
    """Forward pass, matrix products alone, per token."""
    flops = 0.0
    for shape, E in work.encoders:
        D, F, N = shape.hidden_size, shape.ffn_size, shape.num_layers
        weights = N * (4 * D * D + 2 * D * F) + (E * D if E != D else 0)
        flops += 2 * weights + 4 * N * L * D
    flops += sum(2 * share * (D * E + E * V) for D, E, share in work.softmaxes)
    return flops + sum(2 * (D * D + D) for D in work.binaries)


def _paper(work: Work, L: int, V: int) -> float:
    """Forward pass as the paper counts it, per token."""
    flops = 0.0
    for shape, E in work.encoders:
        flops += shape.num_layers * _paper_layer(shape, L) + _paper_embeddings(shape, E, L, V)
    for D, E, share in work.softmaxes:
        head = 2 * D * E + E + (_ACTIVATION + _LAYER_NORM) * E
        softmax = 2 * E * V + _SOFTMAX * V + 2 * V
        flops += (1.0 if share == 1 else _PAPER_MASKED) * (head + softmax)
    return flops + sum(2 * D * D + D + _ACTIVATION * D + 2 * D for D in work.binaries)


def _paper_layer(shape: EncoderShape, L: int) -> float:
    D, F, H = shape.hidden_size, shape.ffn_size, shape.num_heads
    attention = 3 * (2 * D * D + D) + 4 * D * L + (_SOFTMAX + _DROPOUT + 1) * L * H
    # The paper's script counts this LayerNorm once, not once an element.
    output = 2 * D * D + (1 + _DROPOUT + 1) * D + _LAYER_NORM
    feed_forward = 4 * D * F + (_ACTIVATION + 1) * F + (1 + _DROPOUT + 1 + _LAYER_NORM) * D
    return attention + output + feed_forward


def _paper_embeddings(shape: EncoderShape, E: int, L: int, V: int) -> float:
    D = shape.hidden_size
    look_ups = 2 * E * V + 2 * E * (L + 2) + 2 * E + (_LAYER_NORM + _DROPOUT) * E
    return look_ups + (2 * D * E + D if D != E else 0)
