"""Sizes of models by name, the paper's (ELECTRA Table 6) and others, and of their two networks."""

import dataclasses
from typing import Any

from electra_jax.config.fields import Settings
from electra_jax.config.settings import ModelConfig
from electra_jax.core.errors import ConfigError


def _size(
    num_layers: int, hidden_size: int, embedding_size: int, generator_width: float, **others: Any
) -> dict[str, Any]:
    """A model of BERT's layers, except for `others`."""
    return {
        'num_layers': num_layers,
        'hidden_size': hidden_size,
        'embedding_size': embedding_size,
        'generator_width': generator_width,
        'generator_layers': 1.0,
        'max_positions': 512,
        'norm': 'post',
        'dropout': 0.1,
        'attention_dropout': 0.1,
        **others,
    }


# N, D, E, and the generator's width as a fraction of D. Every value can be overridden under `model`
# in a recipe or on the command line.
MODEL_SIZES: dict[str, dict[str, Any]] = {
    # Not the paper's: learns something in minutes on two cores. Pre-norm, because a post-norm
    # discriminator of this size stays at chance for its first million tokens.
    'tiny': _size(
        3, 128, 128, 1 / 2, num_heads=4, norm='pre', dropout=0.0, attention_dropout=0.0,
        max_positions=128,
    ),
    'small': _size(12, 256, 128, 1 / 4),
    'base': _size(12, 768, 768, 1 / 3),
    # The released "small++": a generator of full size, longer rows (see configs/small_plus.py).
    'small_plus': _size(12, 256, 128, 1.0),
    'large': _size(24, 1024, 1024, 1 / 4),
    # Not the paper's, for many chips: pre-norm, so that so many layers start stable, and without
    # dropout on attention probabilities, so that a flash kernel can compute them. About 1.5 B.
    'xlarge': _size(48, 1536, 1536, 1 / 3, norm='pre', attention_dropout=0.0),
    # About 5 B, as METRO-LM's largest (2204.06644); the shape is ours. The generator has 16 heads,
    # which tensor parallelism can divide as it can the discriminator's 40.
    'xxlarge': _size(64, 2560, 2560, 2 / 5, norm='pre', attention_dropout=0.0),
}  # fmt: skip


@dataclasses.dataclass(frozen=True)
class EncoderShape:
    """Sizes of one network's stack of layers."""

    num_layers: int  # N
    hidden_size: int  # D
    ffn_size: int  # F
    num_heads: int  # H

    @property
    def head_size(self) -> int:
        """Width of one head, K."""
        return self.hidden_size // self.num_heads


def discriminator_shape(model: ModelConfig | Settings) -> EncoderShape:
    """The discriminator's stack."""
    return EncoderShape(model.num_layers, model.hidden_size, model.ffn_size, model.num_heads)


def generator_shape(model: ModelConfig | Settings) -> EncoderShape:
    """The generator's stack: the discriminator's, scaled, with heads of the same width."""
    hidden_size = round(model.hidden_size * model.generator_width)
    head_size = model.hidden_size // model.num_heads
    num_heads = max(1, hidden_size // head_size)
    if hidden_size % num_heads:
        raise ConfigError(
            f'config.model.generator_width is {model.generator_width}: a generator of width '
            f'{hidden_size} does not divide into {num_heads} heads; allowed are fractions that '
            f'make it a multiple of {head_size}'
        )
    return EncoderShape(
        num_layers=max(1, round(model.num_layers * model.generator_layers)),
        hidden_size=hidden_size,
        ffn_size=max(1, round(model.ffn_size * model.generator_width)),
        num_heads=num_heads,
    )


def generator_embedding_size(model: ModelConfig | Settings) -> int:
    """E of what the generator reads: of its own where untied, by default its hidden size."""
    if model.embedding_sharing != 'untied':
        return model.embedding_size
    return model.generator_embedding_size or generator_shape(model).hidden_size
