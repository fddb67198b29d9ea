"""Everything about a config that can be checked before a device is touched."""

import dataclasses
import typing
from collections.abc import Mapping

from electra_jax.config import kernels
from electra_jax.config.resolve import (
    discriminator_shape,
    generator_embedding_size,
    generator_shape,
    inherits_model,
)
from electra_jax.config.settings import HEAD_STYLES, LEFT_TO_DEVICES, Config, ModelConfig
from electra_jax.core.errors import CheckpointError, ConfigError, unknown

# The values a setting may take where it names a choice; implementations are looked up elsewhere
# in explicit dicts of the same keys (a test compares them).
CHOICES: dict[str, tuple[str | None, ...]] = {
    'job': ('pretrain', 'finetune', 'evaluate'),
    'init_network': ('both', 'generator', 'discriminator', 'none'),
    'init_positions': ('fresh', 'repeat', 'interpolate'),
    'objective.name': (
        'electra',
        'electra_masked',
        'mlm',
        'replaced_mlm',
        'all_tokens_mlm',
        'electric',
        'teams',
        'two_stage',
    ),
    'objective.positions': ('distinct', 'reference'),
    'objective.temperature_shape': ('linear', 'exponential'),
    'objective.sampler': ('gumbel', 'blocks'),
    'model.generator': ('separate', 'tied', 'two_tower', 'uniform', 'unigram'),
    'model.embedding_sharing': ('shared', 'untied', 'disentangled'),
    'model.norm': ('post', 'pre'),
    'model.norm_type': ('layer', 'rms'),
    'model.positions': ('learned', 'rotary'),
    'model.feed_forward': ('gelu', 'geglu'),
    'model.position_init': ('normal', 'sinusoidal'),
    'model.remat': ('none', 'attention', 'feed_forward', 'both', 'dots', 'full'),
    'model.dropout_bits': ('hash', 'threefry'),
    'model.attention': ('xla', 'splash', 'cudnn', 'triton', None),
    'model.compute_dtype': ('float32', 'bfloat16', None),
    'data.layout': ('segments', 'packed'),
    'data.verify': ('quick', 'full'),
    'data.on_bad_text': ('error', 'skip'),
    'data.on_bad_row': ('error', 'skip'),
    'data.runner': ('local', 'beam'),
    'data.tokenizer.kind': ('wordpiece', 'unigram', 'bpe'),
    'checkpoint.on_error': ('retry', 'stop'),
    'health.on_bad_step': ('stop', 'skip'),
    'task.head': HEAD_STYLES,
    'task.keep': ('last', 'best'),
    'task.save': ('all', 'best', 'none'),
}

# Inclusive bounds; None is open.
BOUNDS: dict[str, tuple[float | None, float | None]] = {
    'seed': (0, 2**32 - 1),
    'data.build_seed': (0, 2**32 - 1),
    'total_steps': (1, None),
    'stop_at': (1, None),
    'batch_size': (1, None),
    'model.num_layers': (1, 1_000_000),
    'model.hidden_size': (1, 1_000_000),
    'model.ffn_size': (1, 1_000_000),
    'model.num_heads': (1, 1_000_000),
    'model.embedding_size': (1, 1_000_000),
    'model.generator_layers': (0.01, 100),
    'model.generator_width': (0.01, 100),
    'model.generator_embedding_size': (1, 1_000_000),
    'model.max_positions': (8, 10_000_000),
    'model.rotary_base': (1, None),
    'model.local_window': (1, None),
    'model.global_every': (0, 1_000_000),
    'model.dropout': (0, 0.99),
    'model.attention_dropout': (0, 0.99),
    'model.type_vocab_size': (2, None),
    'model.layer_norm_epsilon': (1e-15, 1),
    'model.init_stddev': (0, 10),
    'model.scan_unroll': (1, None),
    'model.vocab_chunks': (1, 128),
    'model.vocab_multiple': (1, 1_000_000),
    'objective.mask_rate': (0.01, 0.99),
    'objective.mask_rate_end': (0.01, 0.99),
    'objective.mask_rate_decay': (0.001, 1),
    'objective.generator_weight': (0, None),
    'objective.discriminator_weight': (0, None),
    'objective.keep_rate': (0, 1),
    'objective.temperature': (0.01, None),
    'objective.temperature_end': (0.01, None),
    'objective.temperature_decay': (0.001, 1),
    'objective.generator_steps': (1, None),
    'objective.num_candidates': (2, 1000),
    'objective.selection_weight': (0, None),
    'data.row_length': (8, None),
    'data.holdout': (0, 0.5),
    'data.tokenizer.vocab_size': (16, None),
    'data.tokenizer.train_megabytes': (1, None),
    'data.one_segment_rate': (0, 1),
    'data.short_row_rate': (0, 1),
    'data.workers': (1, None),
    'data.prefetch': (1, None),
    'optimizer.learning_rate': (0, None),
    'optimizer.decay_power': (0, None),
    'optimizer.warmup_steps': (0, None),
    'optimizer.b1': (0, 0.999999),
    'optimizer.b2': (0, 0.999999),
    'optimizer.epsilon': (0, None),
    'optimizer.weight_decay': (0, None),
    'optimizer.clip_norm': (1e-9, None),
    'optimizer.clip_replicas': (1, None),
    'optimizer.layer_decay': (0.01, 1),
    'optimizer.generator_learning_rate': (0, None),
    'optimizer.microbatches': (1, None),
    'checkpoint.every_steps': (1, None),
    'checkpoint.keep': (1, None),
    'eval.every_steps': (1, None),
    'eval.rows': (1, None),
    'health.max_skips': (0, None),
    'health.max_loss': (1e-9, None),
    'health.max_grad_norm': (1e-9, None),
    'health.max_update_norm': (1e-9, None),
    'health.spike_deviations': (1, None),
    'health.spike_window': (10, None),
    'health.step_timeout': (1, None),
    'log.every_steps': (1, None),
    'log.profile_start': (0, None),
    'log.profile_steps': (1, None),
    'trials': (1, None),
    'task.head_dropout': (0, 0.99),
    'task.epochs': (0.001, None),
    'task.dev_share': (0.001, 0.9),
    'task.warmup_rate': (0, 1),
    'task.question_length': (1, None),
    'task.stride': (1, None),
    'task.answer_length': (1, None),
    'task.n_best': (1, None),
    'task.beams': (1, None),
    'task.answerable_weight': (0, None),
    'task.null_threshold': (None, None),
    'mesh.data': (-1, None),
    'mesh.fsdp': (-1, None),
    'mesh.tensor': (-1, None),
    'mesh.sequence': (-1, None),
}


def setting(config: Config, path: str) -> object:
    """The value at a dotted path, such as ``'optimizer.b1'``."""
    value: object = config
    for name in path.split('.'):
        value = getattr(value, name)
    return value


def validate(config: Config) -> None:
    """Checks choices, ranges and settings that contradict each other.

    Args:
        config: resolved (`resolve.resolve`).

    Raises:
        ConfigError: naming the field, its value, what is allowed and what to type.
    """
    open_model = inherits_model(config) and config.model.hidden_size is None
    for path, allowed in CHOICES.items():
        if open_model and path.startswith('model.') and setting(config, path) is None:
            continue
        if setting(config, path) not in allowed:
            named = [choice for choice in allowed if choice is not None]
            raise unknown(f'config.{path}', setting(config, path), named)
    for path, (low, high) in BOUNDS.items():
        _check_bounds(path, setting(config, path), low, high)
    if not open_model:
        _check_model(config)
    _check_task(config)
    _check_mesh(config)
    _check_parts(config)
    _check_objective(config)
    if config.job == 'pretrain' and config.init_network == 'none':
        raise ConfigError(
            "config.init_network is 'none', which is for fine-tuning: to pre-train from nothing, "
            'leave out --config.init_from'
        )


def _check_parts(config: Config) -> None:
    settings = config.optimizer
    for name in ('microbatches', 'clip_replicas'):
        parts = getattr(settings, name)
        if config.batch_size % parts:
            raise ConfigError(
                f'config.batch_size is {config.batch_size} and config.optimizer.{name} is '
                f'{parts}: the first must be a multiple of the second'
            )
    if settings.microbatches > 1 and settings.clip_replicas > 1:
        raise ConfigError(
            f'config.optimizer.microbatches is {settings.microbatches} and '
            f'config.optimizer.clip_replicas is {settings.clip_replicas}: the replicas are '
            'computed one after another already, so leave microbatches at 1'
        )


def _check_objective(config: Config) -> None:
    model, objective, settings = config.model, config.objective, config.optimizer
    own_network = model.generator in ('separate', 'two_tower')
    if model.embedding_sharing != 'shared' and model.generator != 'separate':
        raise ConfigError(
            f'config.model.embedding_sharing is {model.embedding_sharing!r}, but '
            f'config.model.generator is {model.generator!r}: only a separate generator has '
            'embeddings to share or not'
        )
    if model.generator_embedding_size is not None and model.embedding_sharing != 'untied':
        raise ConfigError(
            f'config.model.generator_embedding_size is {model.generator_embedding_size}, but the '
            'generator has embeddings of its own only with --config.model.embedding_sharing=untied'
        )
    if settings.generator_learning_rate is not None and not settings.separate:
        raise ConfigError(
            f'config.optimizer.generator_learning_rate is {settings.generator_learning_rate}: it '
            'needs --config.optimizer.separate=true'
        )
    alone = {
        'config.optimizer.separate': settings.separate,
        'config.objective.freeze_generator': objective.freeze_generator,
    }
    for name, wanted in alone.items():
        if wanted and not (own_network and model.embedding_sharing != 'shared'):
            raise ConfigError(
                f'{name} is true, but generator and discriminator share parameters (generator '
                f'{model.generator!r}, embeddings {model.embedding_sharing!r}): type '
                '--config.model.embedding_sharing=disentangled or untied'
            )
    if objective.name == 'two_stage':
        _check_two_stage(config)
    if objective.generator_steps is not None and objective.name != 'two_stage':
        raise ConfigError(
            f'config.objective.generator_steps is {objective.generator_steps}: it needs '
            '--config.objective.name=two_stage'
        )


def _check_two_stage(config: Config) -> None:
    model, steps = config.model, config.objective.generator_steps
    one_size = (
        generator_shape(model) == discriminator_shape(model)
        and model.embedding_sharing == 'untied'
        and generator_embedding_size(model) == model.embedding_size
    )
    if not one_size:
        raise ConfigError(
            'config.objective.name is two_stage, whose discriminator starts from the generator: '
            'they must be of one size, each with its own embeddings. Type '
            '--config.model.generator_width=1 --config.model.generator_layers=1 '
            '--config.model.embedding_sharing=untied '
            f'--config.model.generator_embedding_size={model.embedding_size}'
        )
    if steps is not None and steps >= config.total_steps:
        raise ConfigError(
            f'config.objective.generator_steps is {steps}, allowed: less than '
            f'config.total_steps, {config.total_steps}'
        )


# Fields of a resolved model that may still be None.
_OPEN = (*LEFT_TO_DEVICES, 'generator_embedding_size', 'local_window')


def check_stored_model(stored: object, where: str) -> None:
    """Refuses what a checkpoint says of its model, unless it is a resolved ModelConfig's fields.

    Args:
        stored: field name -> value, as JSON gave it.
        where: the checkpoint.

    Raises:
        CheckpointError: naming the field and its value.
    """
    try:
        if not isinstance(stored, Mapping):
            raise ConfigError(f'config.model is {stored!r:.60}')
        for field in dataclasses.fields(ModelConfig):
            value = stored.get(field.name, field.default)
            kind = (
                field.type | int if isinstance(value, int) and field.type is float else field.type
            )
            # A bool passes for an int, too.
            is_bool = isinstance(value, bool) and bool not in _kinds(field.type)
            missing = value is None and field.name not in _OPEN
            if not isinstance(value, kind) or is_bool or missing:
                raise ConfigError(f'config.model.{field.name} is {value!r:.60}')
        known = {field.name for field in dataclasses.fields(ModelConfig)}
        model = ModelConfig(**{name: value for name, value in stored.items() if name in known})
        _check_values(Config(model=model), 'model.')
        if model.hidden_size % model.num_heads:
            raise ConfigError(
                f'config.model.hidden_size is {model.hidden_size}, num_heads {model.num_heads}'
            )
        _check_model(Config(model=model))
    except ConfigError as error:
        raise CheckpointError(
            f'{where} does not say what model it has ({error}): it is no checkpoint of this '
            'program, or is damaged'
        ) from error


def _kinds(annotation: object) -> tuple[object, ...]:
    return typing.get_args(annotation) or (annotation,)


def _check_values(config: Config, prefix: str) -> None:
    """Choices and ranges of the settings whose names begin with `prefix`."""
    for path, allowed in CHOICES.items():
        if path.startswith(prefix) and setting(config, path) not in allowed:
            named = [choice for choice in allowed if choice is not None]
            raise unknown(f'config.{path}', setting(config, path), named)
    for path, (low, high) in BOUNDS.items():
        if path.startswith(prefix):
            _check_bounds(path, setting(config, path), low, high)


def _check_bounds(path: str, value: object, low: float | None, high: float | None) -> None:
    if value is None:
        return
    if value != value or (low is not None and value < low) or (high is not None and value > high):
        allowed = f'at least {low}' if high is None else f'{low} to {high}'
        raise ConfigError(f'config.{path} is {value}, allowed: {allowed}')


def _check_model(config: Config) -> None:
    generator_shape(config.model)  # refuses a width that heads do not divide
    kernels.check(config)
    _check_block(config.model)
    if config.model.vocab_multiple % 128:
        raise ConfigError(
            f'config.model.vocab_multiple is {config.model.vocab_multiple}, allowed: multiples of '
            '128, the block of the vocabulary softmax'
        )
    if config.model.vocab_chunks and 128 % config.model.vocab_chunks:
        raise ConfigError(
            f'config.model.vocab_chunks is {config.model.vocab_chunks}, allowed: divisors of 128, '
            'the block of the vocabulary softmax'
        )


def _check_block(model: ModelConfig) -> None:
    shapes = {'': discriminator_shape(model), 'generator_': generator_shape(model)}
    for prefix, shape in shapes.items():
        N, n = shape.num_layers, model.global_every or 1
        if model.local_window is not None and n < N and N % n:
            raise ConfigError(
                f'config.model.{prefix}layers makes {N} layers, of which every '
                f'config.model.global_every={n} is to be global: the first must be a multiple of '
                'the second'
            )
        if model.positions == 'rotary' and shape.head_size % 2:
            raise ConfigError(
                f'config.model.positions is rotary, which turns pairs of numbers, but heads are '
                f'{shape.head_size} wide: choose an even config.model.hidden_size / num_heads'
            )
    if model.positions == 'rotary' and model.position_init != 'normal':
        raise ConfigError(
            f'config.model.position_init is {model.position_init!r}, but with '
            'config.model.positions=rotary there is no position table: leave it out'
        )


def check_positions(config: Config) -> None:
    """Refuses rows longer than the model has positions; building a corpus needs no model.

    Raises:
        ConfigError: with the setting that makes them fit.
    """
    if config.data.row_length > config.model.max_positions:
        raise ConfigError(
            f'config.data.row_length is {config.data.row_length}, but config.model.max_positions '
            f'is {config.model.max_positions}: type '
            f'--config.model.max_positions={config.data.row_length}, or use shorter rows'
        )


def _check_task(config: Config) -> None:
    task = config.task
    if config.job == 'finetune' and task.name is None:
        raise ConfigError(
            'config.job is finetune, but config.task.name says no task: use a recipe such as '
            '--config=configs/finetune/sst2.py'
        )
    if task.dev_share is not None and task.dev_file is not None:
        raise ConfigError(
            f'config.task.dev_share is {task.dev_share:g} and config.task.dev_file '
            f'{task.dev_file!r}: rows to score come from one of them, leave the other out'
        )
    if config.job == 'pretrain' and task.name is not None:
        raise ConfigError(
            f'config.job is pretrain, but config.task.name is {task.name!r}: fine-tuning is '
            '--config.job=finetune; to pre-train, use a recipe without a task, such as '
            '--config=configs/small.py'
        )
    if config.trials > 1 and config.job == 'pretrain':
        raise ConfigError(
            f'config.trials is {config.trials}: only --config.job=finetune has trials; other seeds '
            'of pre-training are runs of their own (--config.seed=1 --workdir=DIR)'
        )


def _check_mesh(config: Config) -> None:
    mesh = config.mesh
    sizes = {'data': mesh.data, 'fsdp': mesh.fsdp, 'tensor': mesh.tensor, 'sequence': mesh.sequence}
    free = [name for name, size in sizes.items() if size == -1]
    if len(free) > 1:
        raise ConfigError(
            f'config.mesh.{free[0]} and config.mesh.{free[1]} are both -1 ("the rest of the '
            'devices"): only one may be'
        )
    for name, size in sizes.items():
        if size == 0:
            raise ConfigError(f'config.mesh.{name} is 0, allowed: 1 or more, or -1 for the rest')
