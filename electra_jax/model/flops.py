"""How many floating-point operations a token of pre-training costs."""

from electra_jax.config.presets import EncoderShape, discriminator_shape, generator_shape
from electra_jax.config.schema import Config, ModelConfig


def training_flops_per_token(config: Config, vocab_rows: int, networks: tuple[str, ...]) -> float:
    """Matrix products of one training step, per token: 6 x weights plus attention.

    Forward 2 FLOPs a weight, backward 4; attention scores and their use 12 x L x D a layer;
    nothing for embedding look-ups; the vocabulary softmax only at masked positions. This is the
    convention of MFU.

    Args:
        config: resolved.
        vocab_rows: V, padded.
        networks: those that are trained.
    """
    model, row_length = config.model, config.data.row_length
    mask_rate = config.objective.mask_rate
    total = 0.0
    if 'generator' in networks:
        shape = generator_shape(model)
        total += _encoder(model, shape, row_length)
        head = shape.hidden_size * model.embedding_size + model.embedding_size * vocab_rows
        total += 6 * mask_rate * head
    if 'discriminator' in networks:
        shape = discriminator_shape(model)
        total += _encoder(model, shape, row_length)
        total += 6 * (shape.hidden_size**2 + shape.hidden_size)
    return total


def _encoder(model: ModelConfig, shape: EncoderShape, row_length: int) -> float:
    D, F = shape.hidden_size, shape.ffn_size
    weights = shape.num_layers * (4 * D * D + 2 * D * F)
    if model.embedding_size != D:
        weights += model.embedding_size * D
    return 6 * weights + 12 * shape.num_layers * row_length * D
