"""Which attention kernel a config runs with, and what each of them cannot do."""

import importlib.util
from collections.abc import Iterator

from electra_jax.config import fields
from electra_jax.config.fields import Settings
from electra_jax.config.settings import Config
from electra_jax.config.shapes import discriminator_shape, generator_shape
from electra_jax.core.errors import ConfigError

# Where each kernel runs; None: everywhere.
PLATFORM_OF: dict[str, str | None] = {
    'xla': None, 'splash': 'tpu', 'mosaic': 'tpu', 'cudnn': 'gpu', 'triton': 'gpu',
    'cudnn_mask': 'gpu',
}  # fmt: skip
# What is tried in turn where no kernel is set; the first that can run the config is used.
FASTEST_FIRST: dict[str, tuple[str, ...]] = {
    'tpu': ('mosaic', 'splash'),
    'gpu': ('cudnn', 'triton'),  # 'cudnn_mask' has not run on a card yet
}
# Modules that JAX may no longer have: 0.12 deprecates its Triton kernels and will remove them.
MODULE_OF: dict[str, str] = {'triton': 'jax.experimental.pallas.ops.gpu.attention'}

_LONGEST = 2**15  # tokens of a row in 'mosaic', whose gradients stay in on-chip memory


def is_available(kernel: str) -> bool:
    """Whether the installed JAX has the kernel."""
    module = MODULE_OF.get(kernel)
    try:
        return module is None or importlib.util.find_spec(module) is not None
    except ModuleNotFoundError:  # a package above it is gone, too
        return False


def limits(config: Config | Settings, kernel: str) -> Iterator[tuple[str, str, str]]:
    """What the kernel cannot do, the setting that asks for it, and what to type instead."""
    model, triton = config.model, 'model.attention=triton'
    if kernel == 'xla':
        return
    if kernel == 'mosaic':
        if model.attention_dropout > 0 and model.dropout_bits != 'hash':
            bits = 'model.dropout_bits'
            yield 'drops probabilities by the bits of the hash alone', bits, f'{bits}=hash'
        if (config.data.row_length or 0) > _LONGEST:
            length = f'data.row_length={_LONGEST}'
            yield f'has rows of at most {_LONGEST:,} tokens', 'data.row_length', length
    elif model.attention_dropout > 0:
        dropout = 'model.attention_dropout'
        yield 'drops no attention probabilities', dropout, f'{dropout}=0'
    if config.mesh.sequence != 1:
        yield 'needs whole rows on each device', 'mesh.sequence', 'mesh.sequence=1'
    if kernel not in ('cudnn', 'cudnn_mask'):
        return
    if kernel == 'cudnn':
        masked = triton if is_available('triton') else 'model.attention=cudnn_mask'
        # Fine-tuning and prediction have one text a row.
        if config.task.name is None and config.data.layout == 'packed':
            yield 'does not keep the documents of a row apart', 'data.layout', masked
        if model.generator == 'two_tower':
            yield 'looks to both sides or back, not ahead', 'model.generator', masked
    if model.compute_dtype == 'float32':
        yield 'does not compute in float32', 'model.compute_dtype', 'model.compute_dtype=bfloat16'
    shapes = discriminator_shape(model), generator_shape(model)
    if any(shape.head_size % 8 or shape.head_size > 128 for shape in shapes):
        heads = 'wants hidden_size / num_heads of both networks to be a multiple of 8 up to 128'
        yield heads, 'model.num_heads', triton


def choose(config: Config | Settings, platform: str) -> str:
    """The attention kernel where none is set: the first that can run the config."""
    able = [
        name
        for name in FASTEST_FIRST.get(platform, ())
        if is_available(name) and not any(limits(config, name))
    ]
    return [*able, 'xla'][0]


def check(config: Config | Settings, platform: str | None = None) -> None:
    """Refuses an attention kernel that cannot do what the config asks for.

    The platform is that of the devices, where they are known.
    """
    kernel = config.model.attention
    if kernel is None:
        return
    where = PLATFORM_OF[kernel]
    if platform is not None and where is not None and where != platform:
        known = ', '.join(name for name, at in PLATFORM_OF.items() if at in (None, platform))
        raise ConfigError(
            f'config.model.attention is {kernel!r}, which runs on a {where.upper()}, but the '
            f'devices are of the kind {platform!r}; allowed there: {known}'
        )
    if not is_available(kernel):
        raise ConfigError(
            f'config.model.attention is {kernel!r}, which the installed JAX no longer has '
            f'({MODULE_OF[kernel]}): type --config.model.attention=xla, or install an older JAX'
        )
    for problem, name, advice in limits(config, kernel):
        raise ConfigError(
            f'config.model.attention is {kernel!r}, which {problem} (config.{name} is '
            f'{fields.get(config, name)!r}): type --config.{advice}, or '
            '--config.model.attention=xla'
        )
