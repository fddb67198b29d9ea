"""Training steps side by side: ours, and PyTorch's on transformers or those of another recipe."""

import dataclasses
import statistics
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from electra_jax.bench import contest
from electra_jax.bench.contest import Arena, Contestant, Entry, Measured
from electra_jax.config import checks
from electra_jax.config.resolve import discriminator_shape, generator_shape
from electra_jax.config.settings import Config
from electra_jax.core.errors import ConfigError, UserError, unknown

# On a GPU, JAX would take most of the memory at once, and leave the peer none.
SHARING = {'XLA_PYTHON_CLIENT_PREALLOCATE': 'false'}
# Variants of the peer that may be the fastest, by the platform; of those timed the fastest counts.
PEER_VARIANTS = {'cpu': ('eager', 'compiled'), 'gpu': ('compiled', 'cuda_graphs')}
# What a record says of a peer where there is none.
ALONE = {'peer': None, 'peer_tokens_per_second': None, 'ratio': None, 'peers': []}


class Plan(NamedTuple):
    """How long to measure."""

    turns: int  # of each program
    amount: int  # steps, or passes over a split, in a turn
    warmup: int  # steps before


class Rival(NamedTuple):
    """What ours is measured against.

    Attributes:
      name: in tables.
      config: of another recipe; None: transformers.
      variants: of transformers; None: all that may be the fastest.
    """

    name: str
    config: Config | None
    variants: tuple[str, ...] | None = None


def check_rival(config: Config, rival: Rival) -> None:
    """Refuses what transformers has no model for.

    Raises:
        ConfigError: naming the setting.
    """
    check_variants(rival, {name for names in PEER_VARIANTS.values() for name in names})
    if rival.config is not None:
        return
    for path, wanted in (('objective.name', 'electra'), ('model.norm', 'post')):
        if checks.setting(config, path) != wanted:
            raise ConfigError(
                f'--versus=transformers times config.{path}={wanted}, which is all that '
                f'transformers has, not {checks.setting(config, path)!r}'
            )


def check_variants(rival: Rival, known: Iterable[str]) -> None:
    """Refuses a variant that there is not.

    Raises:
        ConfigError: naming it, and those that there are.
    """
    for variant in rival.variants or ():
        if variant not in known:
            raise unknown('--peer_variants', variant, known)


def measure(config: Config, name: str, rival: Rival | None, plan: Plan, say) -> dict[str, Any]:
    """Measures the step of a config and of what it is compared with.

    Args:
        config: resolved.
        name: of its recipe.
        rival: the other, if there is one.
        plan: how long.
        say: told what happens, in words.

    Returns:
        The measured part of a record (`records.py`).

    Raises:
        UserError: one of them cannot be run.
    """
    with Arena() as arena:
        say(f'{name}: compiling and warming up')
        first = arena.enter(_entry(name, config, plan, SHARING if rival else {}))
        others = _rivals(arena, first, config, rival, plan, say) if rival else []
        say(f'{plan.turns} turns of {plan.amount} steps each')
        ours, *theirs = contest.compete(
            [first, *others], plan.turns, plan.amount,
            lambda done: say(f'turn {done} of {plan.turns}'),
        )  # fmt: skip
    found = summary(ours, config)
    if not theirs:
        return {**found, **ALONE}
    peers = [summary(one, rival.config or config) for one in theirs]
    best = max(range(len(theirs)), key=lambda i: peers[i]['tokens_per_second'])
    return {**found, **compared(found, ours, peers[best], theirs[best]), 'peers': peers}


def compared(
    found: Mapping[str, Any], ours: Measured, peer: Mapping[str, Any], theirs: Measured
) -> dict[str, Any]:
    """The record's part about the peer; ratios are of the same turns, per token and real token."""
    of_steps = contest.ratio(ours, theirs, 'step_seconds')
    ratio = of_steps * found['tokens_per_step'] / peer['tokens_per_step']
    return {
        'peer': peer['name'],
        'peer_tokens_per_second': peer['tokens_per_second'],
        'peer_real_tokens_per_second': peer['real_tokens_per_second'],
        'peer_memory_bytes': peer['peak_memory_bytes'],
        'ratio': ratio,
        'ratio_of_processor_time': processor_ratio(ours, theirs, found, peer),
        'ratio_of_real_tokens': ratio * found['real_token_share'] / peer['real_token_share'],
    }


def processor_ratio(
    ours: Measured, theirs: Measured, found: Mapping[str, Any], peer: Mapping[str, Any]
) -> float | None:
    """The ratio in processor time a token, which other programs disturb less; of CPUs alone."""
    if ours.ready['platform'] != 'cpu':
        return None
    per_step = contest.ratio(ours, theirs, 'cpu_seconds')
    return per_step * found['tokens_per_step'] / peer['tokens_per_step']


def _entry(name: str, config: Config, plan: Plan, environment: Mapping[str, str]) -> Entry:
    settings = {'config': dataclasses.asdict(config), 'warmup': plan.warmup}
    return Entry(name, 'electra_jax.bench.step', settings, environment)


def _rivals(arena, first: Contestant, config: Config, rival: Rival, plan: Plan, say) -> list:
    """The programs to compare with, warmed up; variants that do not run are left out."""
    if rival.config is not None:
        say(f'{rival.name}: compiling and warming up')
        return [arena.enter(_entry(rival.name, rival.config, plan, SHARING))]
    shared = {
        **peer_settings(config, first.ready['vocab_size']),
        **peer_device(first.ready),
        'warmup': plan.warmup,
    }
    variants = rival.variants or PEER_VARIANTS[first.ready['platform']]
    module = 'electra_jax.bench.torch_step'
    entries = [Entry(f'transformers, {v}', module, {**shared, 'variant': v}) for v in variants]
    return arena.enter_any(entries, say)


def peer_device(ready: Mapping[str, Any]) -> dict[str, str]:
    """Where and in which dtype the peer runs: as ours does.

    Raises:
        UserError: PyTorch does not run there.
    """
    platform = ready['platform']
    if platform not in PEER_VARIANTS:
        raise UserError(f'--versus=transformers is timed on a CPU or a GPU, not on a {platform}')
    return {'device': 'cpu' if platform == 'cpu' else 'cuda', 'dtype': ready['dtype']}


def peer_settings(config: Config, vocab_size: int) -> dict[str, Any]:
    """The config in the peer's words."""
    generator, discriminator = generator_shape(config.model), discriminator_shape(config.model)
    return {
        'num_layers': discriminator.num_layers,
        'hidden_size': discriminator.hidden_size,
        'ffn_size': discriminator.ffn_size,
        'num_heads': discriminator.num_heads,
        'embedding_size': config.model.embedding_size,
        'generator_num_layers': generator.num_layers,
        'generator_hidden_size': generator.hidden_size,
        'generator_ffn_size': generator.ffn_size,
        'generator_num_heads': generator.num_heads,
        'vocab_size': vocab_size,
        'max_positions': config.model.max_positions,
        'batch_size': config.batch_size,
        'row_length': config.data.row_length,
        'mask_rate': config.objective.mask_rate,
        'dropout': config.model.dropout,
        'attention_dropout': config.model.attention_dropout,
    }


def summary(measured: Measured, config: Config) -> dict[str, Any]:
    """One program's numbers."""
    seconds, waits = measured.all('step_seconds'), measured.all('input_seconds')
    tokens = config.batch_size * config.data.row_length
    rate = tokens / statistics.median(seconds)
    share = measured.report.get('real_share', 1.0)
    ready = measured.ready
    peak, flops = ready.get('peak_flops'), ready.get('flops_per_token')
    return {
        'name': measured.name,
        'tokens_per_step': tokens,
        'tokens_per_second': rate,
        'real_token_share': share,
        'real_tokens_per_second': rate * share,
        'step_seconds': percentiles(seconds),
        'steps': len(seconds),
        'input_share': sum(waits) / sum(seconds) if waits else None,
        'compile_seconds': ready.get('compile_seconds'),
        'peak_memory_bytes': measured.peak_memory_bytes,
        'mfu': rate * flops['mfu'] / peak if peak else None,
        'flops_per_token': flops,
        'loss': measured.turns[-1]['loss'],
        'ready': ready,
    }


def percentiles(seconds: Sequence[float]) -> dict[str, float]:
    """How long steps took, from the quick to the slow.

    >>> percentiles([4.0, 1.0, 2.0, 3.0])
    {'p10': 1.3, 'p50': 2.5, 'p90': 3.7, 'max': 4.0}
    """
    if len(seconds) == 1:
        return dict.fromkeys(('p10', 'p50', 'p90', 'max'), seconds[0])
    tenths = statistics.quantiles(seconds, n=10, method='inclusive')
    found = {'p10': tenths[0], 'p50': tenths[4], 'p90': tenths[8], 'max': max(seconds)}
    return {name: round(value, 9) for name, value in found.items()}
