"""A benchmark from its command line to its record."""

import dataclasses
import functools
import pathlib
import sys
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from electra_jax.bench import contest, records
from electra_jax.bench.contest import Entry, Plan
from electra_jax.bench.records import Record
from electra_jax.bench.results import results
from electra_jax.config import fields, resolve
from electra_jax.config.fields import Settings
from electra_jax.config.shapes import EncoderShape, discriminator_shape, generator_shape
from electra_jax.core.errors import ConfigError, UserError, unknown
from electra_jax.objectives import table

# On a GPU, JAX would take most of the memory at once, and leave the peer none.
SHARING = {'XLA_PYTHON_CLIENT_PREALLOCATE': 'false'}
# On a CPU, glibc would return each large block that the peer frees to the kernel: more page faults.
KEEPING = {'MALLOC_TRIM_THRESHOLD_': str(1 << 62), 'MALLOC_MMAP_THRESHOLD_': str(1 << 30)}
# Platform -> variants of the peer that may be the fastest; of those timed the fastest counts.
PEER_VARIANTS = {'cpu': ('eager', 'compiled'), 'gpu': ('compiled', 'cuda_graphs')}

report = functools.partial(print, file=sys.stderr, flush=True)  # standard output has the result


class Request(NamedTuple):
    """A command line."""

    name: str  # of the recipe
    typed: frozenset[str]  # names of settings
    changed: Callable[..., Settings]  # settings, and another recipe or None -> the config
    versus: str | None
    versus_set: Mapping[str, str]
    variants: tuple[str, ...]
    plan: Plan
    folder: pathlib.Path


class Rival(NamedTuple):
    """What a config is measured against."""

    name: str
    config: Settings | None  # of another recipe; None: transformers
    variants: tuple[str, ...] = ()  # of transformers; none: all that may be the fastest


def run(request: Request) -> Record:
    """Measures the train step of a command line's config, and writes the record."""
    config = as_measured(request, {})
    rival = make_rival(request, config)
    other = rival and {
        **rival._asdict(),
        'config': rival.config and dataclasses.asdict(rival.config),
    }
    ours, theirs = contest.measure(
        entry(request.name, config, request.plan, SHARING if rival else {}),
        lambda ready: peers(config, rival, request.plan, ready) if rival else [],
        request.plan,
        report,
    )
    measured = results(ours, config, theirs, (rival and rival.config) or config)
    record = records.make(request.name, config, other, request.plan._asdict(), measured)
    report(f'record: {records.write(request.folder, record)}')
    return record


def as_measured(
    request: Request, changes: Mapping[str, str], recipe: str | None = None
) -> Settings:
    """The config as it is measured: on random tokens, unless the command names its text."""
    settings = request.changed(changes, recipe)
    if settings.task.name:
        raise ConfigError(
            f'config.task.name is {settings.task.name!r}, allowed: none, since bench measures the '
            'steps of pre-training alone; type --config=configs/small.py, for example'
        )
    typed = {*request.typed, *changes}
    config = resolve.fill(table.complete(settings, typed))
    if 'data.path' not in typed:
        config.data.path = None
    return config


def make_rival(request: Request, config: Settings) -> Rival | None:
    """What the config is compared with; another recipe is given the same settings."""
    if request.versus not in (None, 'transformers'):
        other = as_measured(request, request.versus_set, request.versus)
        return Rival(pathlib.Path(request.versus).stem, other)
    if request.versus_set:
        raise ConfigError('--versus_set is for another recipe: type --versus=FILE.py, too')
    if request.versus is None:
        return None
    variants = {name for names in PEER_VARIANTS.values() for name in names}
    for variant in request.variants:
        if variant not in variants:
            raise unknown('--peer_variants', variant, variants)
    for path, wanted in (('objective.name', 'electra'), ('model.norm', 'post')):
        if fields.get(config, path) != wanted:
            raise ConfigError(
                f'--versus=transformers times config.{path}={wanted}, which is all that '
                f'transformers has, not {fields.get(config, path)!r}'
            )
    return Rival('transformers', None, request.variants)


def entry(name: str, config: Settings, plan: Plan, environment: Mapping[str, str]) -> Entry:
    """The train step of a config as a program."""
    settings = {'config': dataclasses.asdict(config), 'warmup': plan.warmup}
    return Entry(name, 'electra_jax.bench.step', settings, environment)


def peers(config: Settings, rival: Rival, plan: Plan, ready: Mapping[str, Any]) -> list[Entry]:
    """The rival's programs: the other recipe's step, or the variants of PyTorch's.

    What ours answered when it was `ready` gives those their device and dtype.
    """
    if rival.config is not None:
        return [entry(rival.name, rival.config, plan, SHARING)]
    platform = ready['platform']
    if platform not in PEER_VARIANTS:
        raise UserError(f'--versus=transformers is timed on a CPU or a GPU, not on a {platform}')
    on_cpu = platform == 'cpu'
    shared = {
        **peer_settings(config, ready['vocab_size']),
        'device': 'cpu' if on_cpu else 'cuda',
        'dtype': ready['dtype'],
        'warmup': plan.warmup,
    }
    module, environment = 'electra_jax.bench.torch_step', KEEPING if on_cpu else {}
    return [
        Entry(f'transformers, {x}', module, {**shared, 'variant': x}, environment)
        for x in rival.variants or PEER_VARIANTS[platform]
    ]


def peer_settings(config: Settings, vocab_size: int) -> dict[str, Any]:
    """The config as settings of `torch_step.py`."""

    def network(shape: EncoderShape) -> dict[str, Any]:
        return {
            'vocab_size': vocab_size,
            'embedding_size': config.model.embedding_size,
            'hidden_size': shape.hidden_size,
            'num_hidden_layers': shape.num_layers,
            'num_attention_heads': shape.num_heads,
            'intermediate_size': shape.ffn_size,
            'hidden_dropout_prob': config.model.dropout,
            'attention_probs_dropout_prob': config.model.attention_dropout,
            'max_position_embeddings': config.model.max_positions,
        }

    return {
        'discriminator': network(discriminator_shape(config.model)),
        'generator': network(generator_shape(config.model)),
        'batch_size': config.batch_size,
        'row_length': config.data.row_length,
        'mask_rate': config.objective.mask_rate,
    }
