"""How many floating-point operations a token of pre-training costs, by two conventions.

'mfu': matrix products only, 6 x weights plus attention: forward 2 FLOPs a weight, backward 4,
attention scores and their use 12 x L x D a layer (with the window in the place of L in a local
layer); nothing for embedding look-ups; the softmax over the vocabulary only where it is computed.
Utilization of the hardware and `config.petaflop` are in these. They are what a step computes once,
whether it is of use or not: padding counts, and where the mask rate changes over a run, every step
computes (and so costs) as many positions as the highest rate masks. Model FLOPs in the strict sense
would be less there; what is computed again to save memory (`remat`) is more, and is not counted.

'paper': what ELECTRA's Table 1 and its appendix F count (electra, flops_computation.py): the
backward pass as much as the forward pass, embedding look-ups as dense products with a one-hot
matrix, biases, activations, LayerNorms and dropout, the softmax at 15.625 % of the positions.

Muon's products are counted in both, for the tokens of a batch. Nothing else of an optimizer is.

Patches of images are work for the tokens of their row's text, which alone are counted as tokens.
"""

import dataclasses
from typing import NamedTuple

from electra_jax.config import shapes
from electra_jax.config.resolve import first_stage, highest_mask_rate
from electra_jax.config.settings import Config, ModelConfig
from electra_jax.config.shapes import EncoderShape
from electra_jax.model import images

# FLOPs of one element, in the paper's convention.
_DROPOUT, _LAYER_NORM, _ACTIVATION, _SOFTMAX = 4, 5, 8, 5
_PAPER_MASKED = 0.15625


class Work(NamedTuple):
    """What one network computes for each token."""

    encoders: tuple[tuple[EncoderShape, int], ...]  # with the width of what they read, E
    softmaxes: tuple[tuple[int, int, float], ...] = ()  # D in, E, share of the positions
    binaries: tuple[int, ...] = ()  # D of each head with one logit a token
    runs: float = 1.0  # share of the steps in which it computes at all
    trained: float = 1.0  # share of the steps in which there is a backward pass, too


def training_flops(config: Config, vocab_size: int, networks: tuple[str, ...]) -> dict[str, float]:
    """FLOPs of one training step per token of the batch, by convention ('mfu', 'paper').

    Args:
        config: resolved.
        vocab_size: tokens, unpadded.
        networks: of the objective (`Objective.networks`).
    """
    flops = {'mfu': 0.0, 'paper': 0.0}
    works = {network: _work(config, network) for network in networks}
    for work in works.values():
        arguments = (work, config.model, config.data.row_length, vocab_size)
        flops['mfu'] += (work.runs + 2 * work.trained) * _products(*arguments)
        flops['paper'] += (work.runs + work.trained) * _paper(*arguments)
    if config.optimizer.matrices == 'muon':
        if config.model.generator == 'tied' and len(works) > 1:
            del works['generator']  # whose encoder is the other network's, and is updated once
        step = sum(work.trained * _muon(work, config.model) for work in works.values())
        for name in flops:
            flops[name] += step / (config.batch_size * config.data.row_length)
    return flops


def flops_of_stages(
    config: Config, vocab_size: int, networks: tuple[str, ...]
) -> list[dict[str, float]]:
    """The same for each stage of a run: of one, or of the two of two-stage training."""
    whole = training_flops(config, vocab_size, networks)
    first, total = first_stage(config), config.total_steps
    if not first:
        return [whole]
    objective = dataclasses.replace(config.objective, generator_steps=total)
    early = training_flops(dataclasses.replace(config, objective=objective), vocab_size, networks)
    late = {name: (whole[name] * total - early[name] * first) / (total - first) for name in whole}
    return [early, late]


def _work(config: Config, network: str) -> Work:
    model, masked = config.model, highest_mask_rate(config.objective)
    main, E = shapes.discriminator_shape(model), model.embedding_size
    D = main.hidden_size
    first, total = first_stage(config), config.total_steps
    late = (total - first) / total if first else 1.0
    encoder = ((main, E),)
    if network == 'generator':
        return _generator(config, first / total if first else 1.0)
    one_layer = EncoderShape(1, D, main.ffn_size, main.num_heads)
    return {
        'discriminator': Work(encoder, binaries=(D,), runs=late, trained=late),
        'language': Work(encoder, softmaxes=((D, E, masked),)),
        'gated_language': Work(encoder, softmaxes=((D, E, 1.0),)),
        # The few candidates of each position are not counted.
        'selection': Work((*encoder, (one_layer, D)), binaries=(D,)),
    }[network]


def _generator(config: Config, trained: float) -> Work:
    model, masked = config.model, highest_mask_rate(config.objective)
    trained = 0.0 if config.objective.freeze_generator else trained
    E = shapes.generator_embedding_size(model)
    if model.generator == 'tied':
        shape = shapes.discriminator_shape(model)
        return Work(((shape, E),), ((shape.hidden_size, E, masked),))
    shape = shapes.generator_shape(model)
    if model.generator == 'two_tower':
        return Work(((shape, E),) * 2, ((2 * shape.hidden_size, E, 1.0),))
    return Work(((shape, E),), ((shape.hidden_size, E, masked),), trained=trained)


def _seen(model: ModelConfig, N: int, L: int) -> float:
    """Tokens that a token is compared with, added up over N layers."""
    if model.local_window is None:
        return N * L
    wide = -(-N // model.global_every) if model.global_every else 0
    return wide * L + (N - wide) * min(L, 2 * model.local_window + 1)


# Matrices of D x F in a feed-forward.
_FEED_FORWARD = {'gelu': 2, 'geglu': 3}


def _products(work: Work, model: ModelConfig, L: int, V: int) -> float:
    """Forward pass, matrix products alone, per token."""
    flops, matrices = 0.0, _FEED_FORWARD[model.feed_forward]
    for shape, E in work.encoders:
        D, F, N = shape.hidden_size, shape.ffn_size, shape.num_layers
        weights = N * (4 * D * D + matrices * D * F) + (E * D if E != D else 0)
        patches = images.side(model) ** 2
        position = 2 * weights + 4 * _seen(model, N, L + patches) * D
        flops += (L + patches) / L * position + _patch_products(model, E) * patches / L
    flops += sum(2 * share * (D * E + E * V) for D, E, share in work.softmaxes)
    return flops + sum(2 * (D * D + D) for D in work.binaries)


def _paper(work: Work, model: ModelConfig, L: int, V: int) -> float:
    """Forward pass as the paper counts it, per token; what its block lacks is counted likewise."""
    flops = 0.0
    for shape, E in work.encoders:
        N, D, H = shape.num_layers, shape.hidden_size, shape.num_heads
        attended = 4 * D + (_SOFTMAX + _DROPOUT + 1) * H
        patches = images.side(model) ** 2
        position = N * _paper_layer(shape, model) + attended * _seen(model, N, L + patches)
        flops += (L + patches) / L * position + _patch_products(model, E) * patches / L
        flops += _paper_embeddings(shape, E, L, V)
    for D, E, share in work.softmaxes:
        head = 2 * D * E + E + (_ACTIVATION + _LAYER_NORM) * E
        softmax = 2 * E * V + _SOFTMAX * V + 2 * V
        flops += (1.0 if share == 1 else _PAPER_MASKED) * (head + softmax)
    return flops + sum(2 * D * D + D + _ACTIVATION * D + 2 * D for D in work.binaries)


_NEWTON_SCHULZ = 5  # steps of Muon


def _muon(work: Work, model: ModelConfig) -> float:
    """The products of one step that make the momentum of the layers' matrices orthogonal.

    With X of m x n, m the smaller: X X', its square, and its product with X (`optim.muon`).
    """
    flops, matrices = 0.0, _FEED_FORWARD[model.feed_forward]
    for shape, _ in work.encoders:
        D, F = shape.hidden_size, shape.ffn_size
        for count, m, n in ((4, D, D), (matrices, min(D, F), max(D, F))):
            flops += shape.num_layers * count * _NEWTON_SCHULZ * (4 * m * m * n + 2 * m**3)
    return flops


def _patch_products(model: ModelConfig, E: int) -> float:
    """Forward pass of one patch's embedding."""
    return 2 * model.image_patch**2 * images.COLOURS * E


def _paper_layer(shape: EncoderShape, model: ModelConfig) -> float:
    """One layer without its attention scores and their use."""
    D, F = shape.hidden_size, shape.ffn_size
    qkv = 3 * (2 * D * D + D)
    # The paper's script counts this LayerNorm once, not once an element.
    output = 2 * D * D + (1 + _DROPOUT + 1) * D + _LAYER_NORM
    products = 2 * _FEED_FORWARD[model.feed_forward] * D * F
    feed_forward = products + (_ACTIVATION + 1) * F + (1 + _DROPOUT + 1 + _LAYER_NORM) * D
    turned = 2 * D * (3 * (model.positions == 'rotary') + _LAYER_NORM * model.qk_norm)
    return qkv + output + feed_forward + turned


def _paper_embeddings(shape: EncoderShape, E: int, L: int, V: int) -> float:
    D = shape.hidden_size
    look_ups = 2 * E * V + 2 * E * (L + 2) + 2 * E + (_LAYER_NORM + _DROPOUT) * E
    return look_ups + (2 * D * E + D if D != E else 0)
