"""Sizes of the networks: our settings as letters, and foreign sizes as our settings."""

import math
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from electra_jax.config import resolve, shapes
from electra_jax.config.settings import ModelConfig
from electra_jax.config.shapes import MODEL_SIZES, EncoderShape
from electra_jax.core.errors import CheckpointError

# Settings of a generator that is the discriminator's own encoder.
TIED = {'generator': 'tied', 'generator_layers': 1.0, 'generator_width': 1.0}
# Kind of generator -> its parts.
_GENERATOR_PARTS = {
    'separate': {'generator', 'generator_head'},
    'two_tower': {'generator_ltr', 'generator_rtl', 'generator_head'},
    'tied': {'generator_head'},
    'uniform': set[str](),
    'unigram': set[str](),
}


def parts_of(model: ModelConfig) -> set[str]:
    """The parts of our tree that ELECTRA trains, where it has this model."""
    own = {'generator_embeddings'} if model.embedding_sharing == 'untied' else set()
    shared = {'embeddings', 'discriminator', 'discriminator_head'}
    return shared | own | _GENERATOR_PARTS[model.generator]


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


def model_of(
    main: EncoderShape, settings: Mapping[str, Any], small: EncoderShape | None, where: str
) -> ModelConfig:
    """A model of BERT's layers: the discriminator's shape, other settings, and the generator's.

    Raises:
        CheckpointError: our settings cannot express the generator `small`, which `where` holds.
    """
    D = main.hidden_size
    # The named size closest in width, whose numbers are all overridden.
    size = min(MODEL_SIZES, key=lambda n: (abs(math.log(MODEL_SIZES[n]['hidden_size'] / D)), n))
    known = {'size': size, 'norm': 'post', **asdict(main), **settings}
    if small is None:
        return resolve.model_of(known)
    width = small.hidden_size / D
    known |= {'generator_layers': small.num_layers / main.num_layers, 'generator_width': width}
    model = resolve.model_of(known)
    shape = shapes.generator_shape(model)
    for name, value in asdict(small).items():
        if getattr(shape, name) != value:
            raise CheckpointError(
                f'the generator in {where} has {name} {value}, but a generator that is {width:g} '
                'as wide as the discriminator (its config.model.generator_width) has '
                f'{getattr(shape, name)}: such a pair cannot be expressed'
            )
    return model
