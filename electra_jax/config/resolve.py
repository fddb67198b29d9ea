"""From settings as typed to the configuration of a run.

What is left unset comes from the named size or the checkpoint, from the task, and from the devices.
"""

import copy
import dataclasses
from collections.abc import Collection, Mapping
from typing import Any

from electra_jax.config import checks, fields, kernels, length
from electra_jax.config.fields import Settings
from electra_jax.config.settings import LEFT_TO_DEVICES, Config, ModelConfig, ObjectiveConfig
from electra_jax.config.shapes import MODEL_SIZES
from electra_jax.core.errors import CheckpointError, ConfigError, unknown

ROW_LENGTH = 128  # L, where neither a recipe nor a task has one
HEAD_SIZE = 64  # K, where a size does not name its number of heads
# Layers; ELECTRA-small's depth. Measured on a model of that size alone, on one H100 in batches of
# 128 x 128: 1.3 M tokens a second instead of 0.88 M (benchmarks/RESULTS.md).
_GPU_UNROLL = 12

# What runs have of the settings that `finetune.fitting` chooses, where it does not.
USUAL = {
    'batch_size': 128,
    'optimizer.learning_rate': 5e-4,
    'optimizer.weight_decay': 0.01,
    'optimizer.layer_decay': 1.0,
    'task.head': 'reference',
    'task.warmup_rate': 0.1,
}
TASK_BATCH_SIZE = 32

# What a layer is made of. Parameters of one block mean nothing in another, whatever their shapes.
BLOCK = (
    'norm', 'norm_type', 'biases', 'positions', 'rotary_base', 'local_rotary_base', 'feed_forward',
    'skip_first_norm', 'qk_norm', 'fused_qkv', 'local_window',
)  # fmt: skip
# What else decides which arrays there are, which shapes they have, and what they are used for.
SIZES = (
    'num_layers', 'hidden_size', 'ffn_size', 'num_heads', 'embedding_size', 'type_vocab_size',
    'image_size', 'image_patch', 'discriminator_head_norm', 'layer_norm_epsilon', 'vocab_multiple',
    'global_every',
)  # fmt: skip
_GENERATOR_SIZES = (
    'generator_layers', 'generator_width', 'embedding_sharing', 'generator_embedding_size'
)  # fmt: skip
# How to compute, never what: a checkpoint does not decide these.
_OF_THE_RUN = ('remat', 'dropout_bits', *LEFT_TO_DEVICES)


def resolve(
    settings: Settings,
    platform: str,
    stored: Mapping[str, Any] | None = None,
    row_length: int = ROW_LENGTH,
) -> Config:
    """The configuration of a run, in which every setting has its value.

    Args:
        settings: as typed.
        platform: 'cpu', 'gpu' or 'tpu', of the devices that will run it.
        stored: the model of the checkpoint whose model is used, field by field.
        row_length: L, where the settings have none.

    Raises:
        ConfigError: settings contradict each other, the checkpoint or the devices.
    """
    if stored is None and inherits_model(settings):
        raise ValueError('the model of these settings is that of a checkpoint: read it first')
    full = fill(settings, stored, row_length)
    _for_devices(full, platform)
    config = fields.build(Config, dataclasses.asdict(full))
    checks.validate(config, platform)
    return config


def check(settings: Settings) -> None:
    """Checks all that can be checked before a checkpoint or a device is looked at."""
    for name, leaf in fields.leaves(Config).items():
        fields.put(settings, name, leaf.checked(fields.get(settings, name)))
    if inherits_model(settings):
        checks.check_run(fill(settings))
    else:
        checks.validate(fill(settings))


def fill(
    settings: Settings, stored: Mapping[str, Any] | None = None, row_length: int = ROW_LENGTH
) -> Settings:
    """Settings in which only what depends on the devices is left unset; `resolve` has the rest.

    A model that is inherited from a checkpoint which is not given (`stored`) stays unset, too.
    """
    full = copy.deepcopy(settings)
    length.set_shares(full)
    if full.data.row_length is None:
        full.data.row_length = row_length
    if full.task.keep is None:
        full.task.keep = 'last' if full.task.patience is None else 'best'
    usual = USUAL if full.task.name is None else {**USUAL, 'batch_size': TASK_BATCH_SIZE}
    for name, value in usual.items():
        if fields.get(full, name) is None:
            fields.put(full, name, value)
    if stored is not None:
        _set(full.model, _sized(_inherited(full.model, stored)))
    elif not inherits_model(full):
        _set(full.model, _sized(dataclasses.asdict(full.model)))
    if full.data.image_size is None:
        full.data.image_size = full.model.image_size
    return full


def inherits_model(settings: Settings | Config) -> bool:
    """Whether the model is that of a checkpoint: fine-tuning from one, or scoring one."""
    if settings.task.name is None or settings.job == 'pretrain':
        return False
    return settings.init_from is not None or settings.job == 'evaluate'


def model_of(fields_set: Mapping[str, Any]) -> ModelConfig:
    """A model by some of its fields; its size has the others, and it computes as a CPU would.

    >>> model_of({'size': 'small', 'num_layers': 6}).num_heads
    4
    """
    unset = dataclasses.asdict(fields.typed(ModelConfig)())
    full = _sized({**unset, **fields_set})
    how = _best_on('cpu', full['num_layers'], unrolls=True)
    how |= {name: full[name] for name in how if full[name] is not None}
    return ModelConfig(**{**full, **how})


def stored_model(stored: Mapping[str, Any]) -> ModelConfig:
    """The model of a checkpoint, field by field, which computes as a CPU would."""
    return model_of(_inherited(fields.typed(ModelConfig)(), stored))


def other_block(model: ModelConfig, stored: Mapping[str, Any]) -> dict[str, Any]:
    """Fields of `BLOCK` in which a checkpoint's model differs from `model`, with its values."""
    return _others(model, stored, BLOCK)


def other_sizes(
    model: ModelConfig, stored: Mapping[str, Any], has_generator: bool
) -> dict[str, Any]:
    """Fields of sizes in which a checkpoint's model differs, as `other_block` has them.

    `has_generator`: whether a generator of the checkpoint is used, whose sizes count as well.
    """
    return _others(model, stored, SIZES + _GENERATOR_SIZES * has_generator)


def _others(
    model: ModelConfig, stored: Mapping[str, Any], names: Collection[str]
) -> dict[str, Any]:
    default = fields.typed(ModelConfig)()
    theirs = {name: stored.get(name, getattr(default, name)) for name in names}
    return {name: value for name, value in theirs.items() if value != getattr(model, name)}


def first_stage(config: Config) -> int:
    """Steps of two-stage training's first stage; 0 for every other objective."""
    if not has_two_stages(config):
        return 0
    asked = config.objective.generator_steps
    return config.total_steps // 2 if asked is None else asked


def stored_first_stage(stored: Mapping[str, Any]) -> int:
    """`first_stage` of the configuration that a run has recorded."""
    objective = stored.get('objective') or {}
    if objective.get('name') != 'two_stage':
        return 0
    asked = objective.get('generator_steps')
    return int(stored['total_steps'] // 2 if asked is None else asked)


def highest_mask_rate(objective: ObjectiveConfig) -> float:
    """The largest share of a row that is masked in any step, for which every step has room."""
    return max(objective.mask_rate, objective.mask_rate_end or 0.0)


def has_two_stages(config: Config) -> bool:
    """Whether the generator is trained first, and then the discriminator."""
    return config.objective.name == 'two_stage'


def _set(group: Settings, values: Mapping[str, Any]) -> None:
    for name, value in values.items():
        setattr(group, name, value)


def _sized(model: Mapping[str, Any]) -> dict[str, Any]:
    """Fields of a model, those that are unset with the values of the named size."""
    if model['size'] not in MODEL_SIZES:
        raise unknown('config.model.size', model['size'], MODEL_SIZES)
    given = {name: value for name, value in model.items() if value is not None}
    full: dict[str, Any] = {**model, **MODEL_SIZES[model['size']], **given}
    D = full['hidden_size']
    usual = {'ffn_size': 4 * D, 'generator': 'separate', 'num_heads': max(1, D // HEAD_SIZE)}
    full |= {name: value for name, value in usual.items() if full[name] is None}
    H = full['num_heads']
    if H < 1 or D % H:
        raise ConfigError(
            f'config.model.hidden_size is {D} and config.model.num_heads is {H}: the first must be '
            'a multiple of the second'
        )
    return full


def _inherited(asked: Settings, stored: Mapping[str, Any]) -> dict[str, Any]:
    """A checkpoint's model, but for what the recipe or the command line sets to something else."""
    default = fields.typed(ModelConfig)()
    if asked.size not in (default.size, stored.get('size')):
        raise ConfigError(
            f'config.model.size is {asked.size!r}, but the checkpoint is of size '
            f'{stored.get("size")!r}: leave it out, or start from another checkpoint'
        )
    merged = {}
    for name, usual in dataclasses.asdict(default).items():
        ours = getattr(asked, name)
        is_ours = name in _OF_THE_RUN or (name != 'size' and ours != usual)
        merged[name] = ours if is_ours else stored.get(name, usual)
    return merged


def _for_devices(settings: Settings, platform: str) -> None:
    """Sets how to compute where that is unset.

    Unrolled layers are faster (a scan copies each layer's activations into stacked arrays), and
    compile longer: a CPU unrolls all of them; a GPU, which small kernels keep waiting, a dozen, but
    not to fine-tune, which compiles a step for each length of rows, nor where memory is to be saved
    (`remat`: without a loop XLA merges what is computed again with what was); a TPU none. Products
    of two-dimensional operands spare XLA on a CPU a transposed copy of every activation in the
    backward pass; elsewhere [B, L] must stay apart to be sharded. The vocabulary's logits would be
    an accelerator's largest array, so they are made in chunks there; a CPU has the memory, and
    searches one long row for its best token faster than many short ones.
    """
    model = settings.model
    unrolls = settings.job == 'pretrain' and model.remat == 'none'
    best = _best_on(platform, model.num_layers, unrolls)
    if model.compute_dtype is None:  # on which the kernel depends
        model.compute_dtype = best['compute_dtype']
    best['attention'] = kernels.choose(settings, platform)
    _set(model, {name: value for name, value in best.items() if getattr(model, name) is None})


def _best_on(platform: str, N: int, unrolls: bool) -> dict[str, Any]:
    on_cpu = platform == 'cpu'
    return {
        'attention': 'xla',
        'compute_dtype': 'float32' if on_cpu else 'bfloat16',
        'scan_unroll': N if on_cpu else min(N, _GPU_UNROLL) if platform == 'gpu' and unrolls else 1,
        'flat_products': on_cpu,
        'vocab_chunks': 1 if on_cpu else 8,
    }


# Fields of a model that may be null in a checkpoint.
_MAY_BE_NULL = (
    *LEFT_TO_DEVICES, 'generator_embedding_size', 'image_size', 'local_rotary_base', 'local_window'
)  # fmt: skip


def check_stored_model(stored: object, where: str) -> None:
    """Refuses a checkpoint's record of its model, unless it has known fields with possible values.

    Args:
        stored: field name -> value, as JSON gave it.
        where: the checkpoint.

    Raises:
        CheckpointError: naming the field and its value.
    """
    try:
        if not isinstance(stored, Mapping):
            raise ConfigError(f'config.model is {stored!r:.60}')
        default = fields.typed(ModelConfig)()
        known = [field.name for field in dataclasses.fields(ModelConfig)]
        newer = [name for name in stored if name not in known]
        if newer:
            raise ConfigError(f'config.model has {newer[0]!r}, which this version does not know')
        for name, leaf in fields.leaves(ModelConfig, 'model.').items():
            field = name.removeprefix('model.')
            value = stored.get(field, getattr(default, field))
            if value is None and field not in _MAY_BE_NULL:
                raise ConfigError(f'config.{name} is None')
            leaf.checked(value)
        checks.check_model(stored_model(stored))
    except ConfigError as error:
        raise CheckpointError(
            f'{where} does not describe its model ({error}): it is not a checkpoint of this '
            'program, is damaged, or was written by a newer version'
        ) from error
