"""Sizes of the two networks of a model."""

import dataclasses

from electra_jax.config.fields import Settings
from electra_jax.config.settings import ModelConfig
from electra_jax.core.errors import ConfigError


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
