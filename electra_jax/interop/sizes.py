"""Sizes of the networks: our settings as letters, and foreign sizes as our settings."""

import math
from dataclasses import asdict

from electra_jax.config import resolve, shapes
from electra_jax.config.settings import ModelConfig
from electra_jax.config.shapes import EncoderShape
from electra_jax.config.sizes import MODEL_SIZES
from electra_jax.core.errors import CheckpointError


def sizes_of(model: ModelConfig, part: str, vocab_size: int) -> dict[str, int]:
    """The letters' sizes inside a part of our tree; the vocabulary is not padded."""
    of_generator = part.startswith('generator')
    if part == 'generator_head' and model.generator not in ('separate', 'two_tower'):
        of_generator = False  # it stands on the discriminator
    shape = shapes.generator_shape(model) if of_generator else shapes.discriminator_shape(model)
    E = shapes.generator_embedding_size(model) if of_generator else model.embedding_size
    towers = 2 if part == 'generator_head' and model.generator == 'two_tower' else 1
    in_head = part in ('discriminator_head', 'task_head')
    return {
        'V': vocab_size,
        'L': model.max_positions,
        'T': model.type_vocab_size,
        'E': E,
        'N': shape.num_layers,
        'D': towers * shape.hidden_size,
        'H': shape.num_heads,
        'K': shape.head_size,
        'F': shape.hidden_size if in_head else shape.ffn_size,
        'C': 1,
    }


def generator_scale(main: EncoderShape, small: EncoderShape, where: str) -> dict[str, float]:
    """The sizes of a generator, `small`, as fractions of the discriminator's, as in our settings.

    Raises:
        CheckpointError: our settings cannot express the generator that `where` holds.
    """
    scale = {
        'generator_layers': small.num_layers / main.num_layers,
        'generator_width': small.hidden_size / main.hidden_size,
    }
    shape = shapes.generator_shape(resolve.model_of({**asdict(main), **scale}))
    for name, value in asdict(small).items():
        if getattr(shape, name) != value:
            raise CheckpointError(
                f'the generator in {where} has {name} {value}, but a generator that is '
                f'{scale["generator_width"]:g} as wide as the discriminator (its '
                f'config.model.generator_width) has {getattr(shape, name)}: such a pair cannot be '
                'expressed'
            )
    return scale


def nearest_size(hidden_size: int) -> str:
    """The named size closest in width; the caller overrides its numbers."""
    widths = {name: size['hidden_size'] for name, size in MODEL_SIZES.items()}
    return min(widths, key=lambda name: (abs(math.log(widths[name] / hidden_size)), name))
