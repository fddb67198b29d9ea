"""Settings that contradict each other."""

from electra_jax.config import kernels
from electra_jax.config.fields import Settings
from electra_jax.config.settings import Config, ModelConfig
from electra_jax.config.shapes import discriminator_shape, generator_shape
from electra_jax.core.errors import ConfigError


def validate(config: Config | Settings) -> None:
    """Checks settings that contradict each other.

    Args:
        config: of a run, or settings in which only what depends on the devices is left unset.

    Raises:
        ConfigError: naming the field, its value, what is allowed and what to type.
    """
    check_model(config.model)
    kernels.check(config)
    _check_objective(config)
    check_run(config)


def check_run(config: Config | Settings) -> None:
    """Checks the settings that have nothing to do with the model.

    Raises:
        ConfigError: naming the field, its value, what is allowed and what to type.
    """
    _check_data(config)
    _check_task(config)
    _check_mesh(config)
    _check_batch(config)
    if config.job == 'pretrain' and config.init_network == 'none':
        raise ConfigError(
            "config.init_network is 'none', which is for fine-tuning: to pre-train from nothing, "
            'leave out --config.init_from'
        )


def _check_data(config: Config | Settings) -> None:
    data, tokenizer = config.data, config.data.tokenizer
    if data.runner_options is not None and data.runner != 'beam':
        raise ConfigError(
            f'config.data.runner_options is {data.runner_options!r}, but config.data.runner is '
            f'{data.runner!r}: only --config.data.runner=beam has options'
        )
    if tokenizer.kind != 'wordpiece' and tokenizer.strip_accents:
        raise ConfigError(
            'config.data.tokenizer.strip_accents is True, but config.data.tokenizer.kind is '
            f'{tokenizer.kind!r}: only wordpiece strips accents, so leave it out'
        )


def _check_batch(config: Config | Settings) -> None:
    settings = config.optimizer
    for name in ('microbatches', 'clip_replicas'):
        count = getattr(settings, name)
        if config.batch_size % count:
            raise ConfigError(
                f'config.batch_size is {config.batch_size} and config.optimizer.{name} is '
                f'{count}: the first must be a multiple of the second'
            )
    if settings.microbatches > 1 and settings.clip_replicas > 1:
        raise ConfigError(
            f'config.optimizer.microbatches is {settings.microbatches} and '
            f'config.optimizer.clip_replicas is {settings.clip_replicas}: the replicas are '
            'already computed one after another, so leave microbatches at 1'
        )


def _check_objective(config: Config | Settings) -> None:
    model, objective, settings = config.model, config.objective, config.optimizer
    own_network = model.generator in ('separate', 'two_tower')
    if model.embedding_sharing != 'shared' and model.generator != 'separate':
        raise ConfigError(
            f'config.model.embedding_sharing is {model.embedding_sharing!r}, but '
            f'config.model.generator is {model.generator!r}: only a separate generator has '
            'embeddings that can be shared or not'
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
    for_networks_apart = {
        'config.optimizer.separate': settings.separate,
        'config.objective.freeze_generator': objective.freeze_generator,
    }
    for name, wanted in for_networks_apart.items():
        if wanted and not (own_network and model.embedding_sharing != 'shared'):
            raise ConfigError(
                f'{name} is true, but generator and discriminator share parameters (generator '
                f'{model.generator!r}, embeddings {model.embedding_sharing!r}): type '
                '--config.model.embedding_sharing=disentangled or untied'
            )
    if objective.generator_steps is not None and objective.name != 'two_stage':
        raise ConfigError(
            f'config.objective.generator_steps is {objective.generator_steps}: it needs '
            '--config.objective.name=two_stage'
        )


def check_heads(D: int, H: int) -> None:
    """Refuses a width that the heads do not divide.

    Raises:
        ConfigError: naming both settings.
    """
    if H < 1 or D % H:
        raise ConfigError(
            f'config.model.hidden_size is {D} and config.model.num_heads is {H}: the first must be '
            'a multiple of the second'
        )


def check_model(model: ModelConfig | Settings) -> None:
    """Checks a model by itself.

    Raises:
        ConfigError: naming the field, its value and what is allowed.
    """
    check_heads(model.hidden_size, model.num_heads)
    if model.vocab_multiple % 128:
        raise ConfigError(
            f'config.model.vocab_multiple is {model.vocab_multiple}, allowed: multiples of 128, '
            'the block of the vocabulary softmax'
        )
    if model.vocab_chunks and 128 % model.vocab_chunks:
        raise ConfigError(
            f'config.model.vocab_chunks is {model.vocab_chunks}, allowed: divisors of 128, the '
            'block of the vocabulary softmax'
        )
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
                f'config.model.positions is rotary, which rotates pairs of numbers, but heads are '
                f'{shape.head_size} wide: choose an even config.model.hidden_size / num_heads'
            )
    if model.positions == 'rotary' and model.position_init != 'normal':
        raise ConfigError(
            f'config.model.position_init is {model.position_init!r}, but with '
            'config.model.positions=rotary there is no position table: leave it out'
        )


def check_positions(config: Config | Settings) -> None:
    """Refuses rows that are longer than the model has positions.

    This is not part of `validate`, because building a corpus needs no model.

    Raises:
        ConfigError: with the setting that makes them fit.
    """
    if config.data.row_length > config.model.max_positions:
        raise ConfigError(
            f'config.data.row_length is {config.data.row_length}, but config.model.max_positions '
            f'is {config.model.max_positions}: type '
            f'--config.model.max_positions={config.data.row_length}, or use shorter rows'
        )


def _check_task(config: Config | Settings) -> None:
    task = config.task
    if config.job == 'finetune' and task.name is None:
        raise ConfigError(
            'config.job is finetune, but config.task.name is not set: type --config.task.name=sst2 '
            'or another of the tasks in configs/finetune/task.py'
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


def _check_mesh(config: Config | Settings) -> None:
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
