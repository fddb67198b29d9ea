"""Settings that contradict each other."""

import itertools
from collections.abc import Sequence
from typing import Any, NamedTuple

from electra_jax.config import fields, kernels, length
from electra_jax.config.fields import Settings
from electra_jax.config.settings import Config, MeshConfig, ModelConfig
from electra_jax.config.shapes import discriminator_shape, generator_shape
from electra_jax.core.errors import ConfigError


class Need(NamedTuple):
    """A setting that keeps its default unless another one has one of these values.

    Where the other one is the job, evaluation counts as the job whose run it scores.
    """

    name: str
    other: str
    allowed: tuple[Any, ...]
    reason: str


_FINE_TUNING, _PRE_TRAINING, _APART = ('finetune',), ('pretrain',), ('disentangled', 'untied')
_SHARED = 'generator and discriminator share parameters'

OF_THE_RUN = (
    Need('task.name', 'job', _FINE_TUNING, 'to pre-train, --config=configs/small.py, for example'),
    Need('task.template', 'task.head', ('prompt',), 'no other head reads a template'),
    Need('task.words', 'task.head', ('prompt',), 'no other head reads words of classes'),
    Need('branch_from', 'job', _PRE_TRAINING, 'only pre-training saves the state of a run'),
    Need('optimizer.decay_share', 'job', _PRE_TRAINING, 'fine-tuning decays over all its epochs'),
    Need('optimizer.decay_steps', 'job', _PRE_TRAINING, 'fine-tuning decays over all its epochs'),
    Need('branch_from', 'init_from', (None,), 'both name what the run begins with'),
    *(
        Need('branch_from', name, (None,), 'its steps count from those of the other run')
        for name in length.MEASURED
    ),
    *(
        Need(name, other, (None,), 'one of them is the length')
        for other, name in itertools.combinations(length.MEASURED, 2)
    ),
    *(
        Need(name, 'job', _PRE_TRAINING, 'fine-tuning has config.task.epochs')
        for name in ('petaflop', 'words', 'max_exposures')
    ),
    Need(
        'checkpoint.keep_at_words', 'job', _PRE_TRAINING, 'fine-tuning saves the end of each trial'
    ),
    Need('optimizer.average_decay', 'job', _PRE_TRAINING, 'a task has config.task.average_last'),
    Need('eval.average', 'job', _PRE_TRAINING, 'a task has config.task.average_last'),
    Need('trials', 'job', _FINE_TUNING, 'pre-train other seeds by --config.seed=1 --workdir=DIR'),
    Need('data.runner_options', 'data.runner', ('beam',), 'only Beam has options'),
    Need(
        'data.tokenizer.strip_accents', 'data.tokenizer.kind', ('wordpiece',),
        'only wordpiece strips accents',
    ),
    Need(
        'data.tokenizer.train_megabytes', 'data.tokenizer.path', (None,),
        'a tokenizer that is named is not trained',
    ),
)  # fmt: skip
OF_THE_MODEL = (
    Need(
        'model.embedding_sharing', 'model.generator', ('separate',),
        'only a separate generator has embeddings that can be shared or not',
    ),
    Need(
        'model.generator_embedding_size', 'model.embedding_sharing', ('untied',),
        'only then has the generator embeddings of its own',
    ),
    Need('model.position_init', 'model.positions', ('learned',), 'there is no position table'),
    Need('model.local_rotary_base', 'model.positions', ('rotary',), 'positions are a table'),
    Need('model.skip_first_norm', 'model.norm', ('pre',), 'no norm precedes attention'),
    Need('optimizer.generator_learning_rate', 'optimizer.separate', (True,), 'there is one rate'),
    Need('optimizer.muon_momentum', 'optimizer.matrices', ('muon',), 'AdamW has optimizer.b1'),
    Need('optimizer.separate', 'model.embedding_sharing', _APART, _SHARED),
    Need('objective.freeze_generator', 'model.embedding_sharing', _APART, _SHARED),
    Need('model.image_size', 'data.layout', ('segments',), 'a row has one image, and so one text'),
    Need('objective.masks', 'objective.positions', ('distinct',), 'the other ones repeat'),
    Need('objective.mask_power', 'objective.masks', ('rarity', 'loss'), 'no others have weights'),
    Need('objective.generator_share', 'objective.name', ('two_stage',), 'there is one stage'),
    Need('objective.generator_steps', 'objective.name', ('two_stage',), 'there is one stage'),
)  # fmt: skip


def validate(config: Config | Settings, platform: str | None = None) -> None:
    """Refuses settings that contradict each other.

    What depends on the devices may be unset; the platform is theirs, where they are known.
    """
    check_model(config.model)
    kernels.check(config, platform)
    _check_needs(config, OF_THE_MODEL)
    sizes = {config.model.image_size, config.data.image_size}
    if None not in sizes and len(sizes) > 1:
        raise ConfigError(
            f'config.model.image_size is {config.model.image_size} and config.data.image_size is '
            f'{config.data.image_size}: leave the second out'
        )
    check_run(config)


def check_run(config: Config | Settings) -> None:
    """Checks the settings that have nothing to do with the model."""
    _check_needs(config, OF_THE_RUN)
    _check_job(config)
    _check_mesh(config)
    _check_batch(config)
    if config.eval.average and config.optimizer.average_decay is None:
        raise ConfigError(
            'config.eval.average is True, but config.optimizer.average_decay is not set: type '
            '--config.optimizer.average_decay=0.999'
        )
    _check_decay(config)
    _check_first_stage(config)
    length.kept_words(config.checkpoint.keep_at_words)


def _check_first_stage(config: Config | Settings) -> None:
    objective = config.objective
    if objective.generator_steps is None or objective.generator_share is not None:
        return
    for name in length.MEASURED:
        if (value := getattr(config, name)) is not None:
            raise ConfigError(
                f'config.objective.generator_steps is {objective.generator_steps}, but '
                f'config.{name} is {value:g}, from which the number of steps follows: leave the '
                'first out (half of them), or type --config.objective.generator_share=0.6 in its '
                'place'
            )


def _check_decay(config: Config | Settings) -> None:
    if config.optimizer.decay_power != 0:
        return
    for name in 'decay_share', 'decay_steps':
        if (value := getattr(config.optimizer, name)) is not None:
            raise ConfigError(
                f'config.optimizer.{name} is {value}, but config.optimizer.decay_power is 0, so '
                'nothing decays: leave the first out, or type --config.optimizer.decay_power=1'
            )


def contradicts(config: Config | Settings, need: Need) -> bool:
    """Whether a setting is asked for that nothing reads."""
    value, found = fields.get(config, need.name), fields.get(config, need.other)
    if need.other == 'job' and found == 'evaluate':
        found = _scored_job(config)
    is_asked_for = value is not None and value is not False
    usual = fields.get(fields.typed(Config)(), need.name)
    return is_asked_for and value != usual and found not in need.allowed


def _check_needs(config: Config | Settings, needs: Sequence[Need]) -> None:
    for need in needs:
        if not contradicts(config, need):
            continue
        value, found = fields.get(config, need.name), fields.get(config, need.other)
        scores = need.other == 'job' and found == 'evaluate'
        typed = [f'--config.{need.other}={str(one).lower()}' for one in need.allowed if one]
        remedy = f'the first out, or type {" or ".join(typed)}' if typed else 'one of them out'
        raise ConfigError(
            f'config.{need.name} is {value!r}, but config.{need.other} is {found!r}'
            + f' and config.task.name {config.task.name!r}' * scores
            + f' ({need.reason}): leave {"the first out" if scores else remedy}'
        )


def _scored_job(config: Config | Settings) -> str:
    """The job whose run an evaluation scores."""
    return 'pretrain' if config.task.name is None else 'finetune'


def _check_mesh(config: Config | Settings) -> None:
    """What is wrong on any number of devices is found before a corpus is built."""
    sizes = {name: fields.get(config, f'mesh.{name}') for name in fields.leaves(MeshConfig)}
    wrong = [name for name, size in sizes.items() if size == 0]
    free = [name for name, size in sizes.items() if size == -1]
    if wrong or len(free) > 1:
        spelled = ', '.join(f'config.mesh.{name}={sizes[name]}' for name in wrong or free)
        raise ConfigError(f'{spelled}, allowed: 1 or more, and -1 (the rest) for one of them')


def _check_job(config: Config | Settings) -> None:
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
    if task.average_last is not None and (task.keep == 'best' or task.patience is not None):
        raise ConfigError(
            f'config.task.average_last is {task.average_last}, and config.task.patience '
            f'{task.patience}, config.task.keep {task.keep!r}: the mean of the states after the '
            'last epochs counts, or the best state: leave the others out'
        )
    if config.job == 'pretrain' and config.init_network == 'none':
        raise ConfigError(
            "config.init_network is 'none', which is for fine-tuning: to pre-train from nothing, "
            'leave out --config.init_from'
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


def check_model(model: ModelConfig | Settings) -> None:
    """Checks a model by itself."""
    if model.vocab_multiple % 128:
        raise ConfigError(
            f'config.model.vocab_multiple is {model.vocab_multiple}, allowed: multiples of 128, '
            'the block of the vocabulary softmax'
        )
    if model.type_vocab_size == 1:
        raise ConfigError(
            'config.model.type_vocab_size is 1, allowed: 0 (no token types), 2 (one for each of '
            'the two texts of a pair) or more'
        )
    if model.vocab_chunks and 128 % model.vocab_chunks:
        raise ConfigError(
            f'config.model.vocab_chunks is {model.vocab_chunks}, allowed: divisors of 128, the '
            'block of the vocabulary softmax'
        )
    if model.image_size is not None and model.image_size % model.image_patch:
        raise ConfigError(
            f'config.model.image_size is {model.image_size} and config.model.image_patch is '
            f'{model.image_patch}: the first must be a multiple of the second'
        )
    shapes = {'num': discriminator_shape(model), 'generator': generator_shape(model)}
    for prefix, shape in shapes.items():
        N, n = shape.num_layers, model.global_every or 1
        if model.local_window is not None and n < N and N % n:
            raise ConfigError(
                f'config.model.{prefix}_layers makes {N} layers, of which every '
                f'config.model.global_every={n} is to be global: the first must be a multiple of '
                'the second'
            )
        if model.positions == 'rotary' and shape.head_size % 2:
            raise ConfigError(
                f'config.model.positions is rotary, which rotates pairs of numbers, but heads are '
                f'{shape.head_size} wide: choose an even config.model.hidden_size / num_heads'
            )


def check_positions(config: Config | Settings) -> None:
    """Refuses rows that are longer than the model has positions.

    This is not part of `validate`, because building a corpus needs no model.
    """
    if config.data.row_length > config.model.max_positions:
        raise ConfigError(
            f'config.data.row_length is {config.data.row_length}, but config.model.max_positions '
            f'is {config.model.max_positions}: type '
            f'--config.model.max_positions={config.data.row_length}, or use shorter rows'
        )
