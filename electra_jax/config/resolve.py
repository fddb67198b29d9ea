"""Model sizes by name, the paper's (ELECTRA Table 6) and others, and what a size leaves open."""

import dataclasses
from collections.abc import Mapping

from electra_jax.config.settings import LEFT_TO_DEVICES, Config, ModelConfig
from electra_jax.core.errors import ConfigError, unknown

_BERT = {
    'max_positions': 512,
    'norm': 'post',
    'dropout': 0.1,
    'attention_dropout': 0.1,
    'generator_layers': 1.0,
}

# Every value can be overridden under `model` in a recipe or on the command line.
MODEL_SIZES: dict[str, dict[str, int | float | str]] = {
    # Not the paper's: learns something in minutes on two cores. Pre-norm, because a post-norm
    # discriminator of this size stays at chance for its first million tokens.
    'tiny': {
        **_BERT,
        'num_layers': 3,
        'hidden_size': 128,
        'num_heads': 4,
        'embedding_size': 128,
        'generator_width': 0.5,
        'norm': 'pre',
        'dropout': 0.0,
        'attention_dropout': 0.0,
        'max_positions': 128,
    },
    'small': {
        **_BERT,
        'num_layers': 12,
        'hidden_size': 256,
        'embedding_size': 128,
        'generator_width': 1 / 4,
    },
    'base': {
        **_BERT,
        'num_layers': 12,
        'hidden_size': 768,
        'embedding_size': 768,
        'generator_width': 1 / 3,
    },
    # The released "small++": a generator of full size, longer rows (see configs/small_plus.py).
    'small_plus': {
        **_BERT,
        'num_layers': 12,
        'hidden_size': 256,
        'embedding_size': 128,
        'generator_width': 1.0,
    },
    'large': {
        **_BERT,
        'num_layers': 24,
        'hidden_size': 1024,
        'embedding_size': 1024,
        'generator_width': 1 / 4,
    },
    # Not the paper's, for many chips: pre-norm, so that so many layers start stable, and without
    # dropout on attention probabilities, so that a flash kernel can compute them. About 1.5 B.
    'xlarge': {
        **_BERT,
        'num_layers': 48,
        'hidden_size': 1536,
        'embedding_size': 1536,
        'generator_width': 1 / 3,
        'norm': 'pre',
        'attention_dropout': 0.0,
    },
    # About 5 B, as METRO-LM's largest (2204.06644); the shape is ours. The generator has 16 heads,
    # which tensor parallelism can share out as it can the discriminator's 40.
    'xxlarge': {
        **_BERT,
        'num_layers': 64,
        'hidden_size': 2560,
        'embedding_size': 2560,
        'generator_width': 2 / 5,
        'norm': 'pre',
        'attention_dropout': 0.0,
    },
}

ROW_LENGTH = 128  # L, where neither a recipe nor a task says
HEAD_SIZE = 64  # K, where a size does not name its number of heads

# What proposes the replaced tokens.
GENERATORS: dict[str, str] = {
    'separate': 'a masked language model of its own, smaller than the discriminator (the paper)',
    'tied': "the discriminator's own encoder, with a softmax head on it (section 3.2)",
    'two_tower': 'a left-to-right and a right-to-left encoder; sees all the text but the token '
    'itself, and learns from every token (Electric, section 2.3)',
    'uniform': 'nothing: every token of the vocabulary is as likely',
    'unigram': 'nothing: tokens are as likely as in the training text',
}

# Generators that an objective works with; the first is taken where the recipe names none.
OBJECTIVE_GENERATORS: dict[str, tuple[str, ...]] = {
    'electra': tuple(GENERATORS),
    'electra_masked': tuple(GENERATORS),
    'mlm': ('tied',),
    'replaced_mlm': tuple(GENERATORS),
    'all_tokens_mlm': tuple(GENERATORS),
    'electric': ('two_tower',),
    'teams': tuple(GENERATORS),
    'two_stage': ('separate',),
}


def resolve_model(model: ModelConfig) -> ModelConfig:
    """Fills each field that the recipe left open from the named size.

    Raises:
        ConfigError: the size is unknown, or D does not divide by the number of heads.

    >>> resolve_model(ModelConfig(size='small', num_layers=6)).num_heads
    4
    """
    if model.size not in MODEL_SIZES:
        raise unknown('config.model.size', model.size, MODEL_SIZES)
    given = {k: v for k, v in dataclasses.asdict(model).items() if v is not None}
    full = {**MODEL_SIZES[model.size], **given}
    full.setdefault('ffn_size', 4 * full['hidden_size'])
    full.setdefault('generator', 'separate')
    full.setdefault('num_heads', max(1, full['hidden_size'] // HEAD_SIZE))
    if full['num_heads'] < 1 or full['hidden_size'] % full['num_heads']:
        raise ConfigError(
            f'config.model.hidden_size is {full["hidden_size"]} and config.model.num_heads is '
            f'{full["num_heads"]}: the first must be a multiple of the second'
        )
    return ModelConfig(**full)


def inherits_model(config: Config) -> bool:
    """Whether the model is that of a checkpoint: fine-tuning from one, or scoring one."""
    if config.task.name is None or config.job == 'pretrain':
        return False
    return config.init_from is not None or config.job == 'evaluate'


# What a layer is made of. Parameters of one block mean nothing in another, whatever their shapes.
BLOCK = (
    'norm',
    'norm_type',
    'biases',
    'positions',
    'rotary_base',
    'feed_forward',
    'qk_norm',
    'fused_qkv',
    'local_window',
)


def other_block(model: ModelConfig, stored: Mapping[str, object]) -> list[str]:
    """Fields of `BLOCK` in which a checkpoint's model, field by field, differs from `model`."""
    default = dataclasses.asdict(ModelConfig())
    return [name for name in BLOCK if getattr(model, name) != {**default, **stored}[name]]


# How to compute, never what: these are not a checkpoint's business.
_OF_THE_RUN = ('remat', 'dropout_bits', *LEFT_TO_DEVICES)


def inherit_model(asked: ModelConfig, stored: Mapping[str, object]) -> ModelConfig:
    """A checkpoint's model, with what the recipe or the command line sets to something of its own.

    Args:
        asked: as the config has it, not resolved.
        stored: the resolved model of the checkpoint, field by field.

    Raises:
        ConfigError: another size is asked for than the checkpoint has.

    >>> inherit_model(ModelConfig(dropout=0.2), {'size': 'base', 'num_layers': 12}).num_layers
    12
    """
    default = ModelConfig()
    if asked.size not in (default.size, stored.get('size')):
        raise ConfigError(
            f'config.model.size is {asked.size!r}, but the checkpoint is of size '
            f'{stored.get("size")!r}: leave it out, or start from another checkpoint'
        )
    known = {field.name for field in dataclasses.fields(ModelConfig)}
    merged = {name: value for name, value in stored.items() if name in known}
    for name in known:
        value = getattr(asked, name)
        if name in _OF_THE_RUN or (name != 'size' and value != getattr(default, name)):
            merged[name] = value
    return ModelConfig(**merged)


def resolve(config: Config) -> Config:
    """The run's config with nothing left to a size's table.

    Where the model comes from a checkpoint (`inherits_model`), it stays as it is until that has
    been read; a task's row length, until its files have.

    Raises:
        ConfigError: the objective is unknown, or does not work with the generator.
    """
    if config.data.row_length is None and config.task.name is None:
        config = dataclasses.replace(
            config, data=dataclasses.replace(config.data, row_length=ROW_LENGTH)
        )
    if inherits_model(config) and config.model.hidden_size is None:
        return config
    model, objective = resolve_model(config.model), config.objective.name
    if objective not in OBJECTIVE_GENERATORS:
        raise unknown('config.objective.name', objective, OBJECTIVE_GENERATORS)
    allowed = OBJECTIVE_GENERATORS[objective]
    generator = config.model.generator or allowed[0]
    if generator not in allowed:
        raise ConfigError(
            f'config.model.generator is {generator!r}, allowed with '
            f'config.objective.name={objective}: {", ".join(allowed)}'
        )
    if generator not in ('separate', 'two_tower'):
        for name in ('generator_width', 'generator_layers'):
            if getattr(config.model, name) not in (None, 1.0):
                raise ConfigError(
                    f'config.model.{name} is {getattr(config.model, name)}, but there is no '
                    f'generator of its own size (config.objective.name={objective}, '
                    f'config.model.generator={generator}): leave it out'
                )
        model = dataclasses.replace(model, generator_layers=1.0, generator_width=1.0)
    return dataclasses.replace(config, model=dataclasses.replace(model, generator=generator))


@dataclasses.dataclass(frozen=True)
class EncoderShape:
    """Sizes of one network's stack of layers."""

    num_layers: int  # N
    hidden_size: int  # D
    ffn_size: int  # F
    num_heads: int  # H

    @property
    def head_size(self) -> int:
        """K."""
        return self.hidden_size // self.num_heads


@dataclasses.dataclass(frozen=True)
class HeadShape:
    """What a fine-tuned model ends in."""

    kind: str  # 'classification', 'regression', 'tagging' or 'spans'
    style: str  # of HEAD_STYLES
    num_classes: int  # C; 1 for 'regression', of no meaning for 'spans'
    dropout: float  # before each layer of the head that has any
    beams: int = 20  # starts, and ends for each, that the reference's span head looks at


def discriminator_shape(model: ModelConfig) -> EncoderShape:
    """The discriminator's stack of a resolved model."""
    return EncoderShape(model.num_layers, model.hidden_size, model.ffn_size, model.num_heads)


def generator_shape(model: ModelConfig) -> EncoderShape:
    """The generator's stack: the discriminator's, scaled, with heads of the same width.

    Raises:
        ConfigError: the scaled width does not divide into heads.
    """
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


def generator_embedding_size(model: ModelConfig) -> int:
    """E of what the generator reads: its own where untied, as wide as it is if not said."""
    if model.embedding_sharing != 'untied':
        return model.embedding_size
    return model.generator_embedding_size or generator_shape(model).hidden_size


def first_stage(config: Config) -> int:
    """Steps of two-stage training's first stage; 0 for every other objective."""
    if config.objective.name != 'two_stage':
        return 0
    return config.objective.generator_steps or config.total_steps // 2
