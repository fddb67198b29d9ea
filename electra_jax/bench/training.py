"""Training steps compared: ours, and PyTorch's on transformers or those of another recipe."""

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from electra_jax.bench import contest
from electra_jax.bench.contest import Entry, Measured, Plan
from electra_jax.bench.versus import (
    ALONE,
    PEER_VARIANTS,
    SHARING,
    Rival,
    check_variants,
    peer_device,
)
from electra_jax.config import fields
from electra_jax.config.fields import Settings
from electra_jax.config.shapes import EncoderShape, discriminator_shape, generator_shape
from electra_jax.core.errors import ConfigError


def check_rival(config: Settings, rival: Rival) -> None:
    """Refuses what transformers has no model for.

    Raises:
        ConfigError: naming the setting.
    """
    check_variants(rival, {name for names in PEER_VARIANTS.values() for name in names})
    if rival.config is not None:
        return
    for path, wanted in (('objective.name', 'electra'), ('model.norm', 'post')):
        if fields.get(config, path) != wanted:
            raise ConfigError(
                f'--versus=transformers times config.{path}={wanted}, which is all that '
                f'transformers has, not {fields.get(config, path)!r}'
            )


def measure(
    config: Settings, name: str, rival: Rival | None, plan: Plan, report: Callable[[str], None]
) -> dict[str, Any]:
    """Measures the train step of a config and of what it is compared with.

    Args:
        config: settings in which only what depends on the devices is left unset.
        name: of its recipe.
        rival: the other, if there is one.
        plan: how long.
        report: called with a line about what happens.

    Returns:
        The measured part of a record (`records.py`).

    Raises:
        UserError: one of them cannot be run.
    """

    def peers_of(ready: Mapping[str, Any]) -> list[Entry]:
        return _peers(config, rival, plan, ready) if rival else []

    ours_entry = _entry(name, config, plan, SHARING if rival else {})
    ours, theirs = contest.measure(ours_entry, peers_of, plan, 'steps', report)
    return results(ours, config, theirs, (rival and rival.config) or config)


def _peers(config: Settings, rival: Rival, plan: Plan, ready: Mapping[str, Any]) -> list[Entry]:
    if rival.config is not None:
        return [_entry(rival.name, rival.config, plan, SHARING)]
    sizes = peer_settings(config, ready['vocab_size'])
    shared = {**sizes, **peer_device(ready), 'warmup': plan.warmup}
    return [
        Entry(f'transformers, {x}', 'electra_jax.bench.torch_step', {**shared, 'variant': x})
        for x in rival.variants or PEER_VARIANTS[ready['platform']]
    ]


def _entry(name: str, config: Settings, plan: Plan, environment: Mapping[str, str]) -> Entry:
    settings = {'config': dataclasses.asdict(config), 'warmup': plan.warmup}
    return Entry(name, 'electra_jax.bench.step', settings, environment)


def results(
    ours: Measured, config: Settings, theirs: Sequence[Measured], their_config: Settings
) -> dict[str, Any]:
    """The measured part of a record; ratios are per token, and per token that is not padding."""
    one, peers = summary(ours, config), [summary(other, their_config) for other in theirs]
    if not peers:
        return {**one, **ALONE, 'peers': []}
    tokens = [one['tokens_per_step'], *(peer['tokens_per_step'] for peer in peers)]
    compared, best = contest.compare(ours, theirs, 'step_seconds', tokens)
    real_share = one['real_token_share'] / peers[best]['real_token_share']
    return {
        **one,
        **compared,
        'peer_real_tokens_per_second': peers[best]['real_tokens_per_second'],
        'ratio_of_real_tokens': compared['ratio'] * real_share,
        'peers': peers,
    }


def summary(measured: Measured, config: Settings) -> dict[str, Any]:
    """One program's numbers."""
    seconds, waits = measured.all('step_seconds'), measured.all('input_seconds')
    tokens = config.batch_size * config.data.row_length
    common = contest.summary(measured, 'step_seconds', tokens)
    rate, share = common['tokens_per_second'], measured.report.get('real_share', 1.0)
    peak, flops = measured.ready.get('peak_flops'), measured.ready.get('flops_per_token')
    return {
        **common,
        'tokens_per_step': tokens,
        'real_token_share': share,
        'real_tokens_per_second': rate * share,
        'steps': len(seconds),
        'input_share': sum(waits) / sum(seconds) if waits else None,
        'compile_seconds': measured.ready.get('compile_seconds'),
        'mfu': rate * flops['mfu'] / peak if flops and peak else None,
        'flops_per_token': flops,
        'loss': measured.turns[-1]['loss'],
    }


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
