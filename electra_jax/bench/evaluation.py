"""Evaluation side by side: one fine-tuned classifier over a split, ours and transformers'.

Both get the same weights, ours as a checkpoint and the peer's converted from it, and the same token
rows; both are timed from token rows to logits, batches and padding included.
"""

import dataclasses
import functools
import pathlib
import statistics
import tempfile
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import jax
import numpy as np
from etils import epath

from electra_jax.bench import contest
from electra_jax.bench.contest import Arena, Entry, Measured
from electra_jax.bench.training import (
    ALONE,
    SHARING,
    Plan,
    Rival,
    check_variants,
    peer_device,
    percentiles,
)
from electra_jax.config.settings import Config
from electra_jax.core.errors import ConfigError
from electra_jax.finetune import program
from electra_jax.finetune import split as splits
from electra_jax.finetune import task as trained
from electra_jax.finetune.task import TrainedTask
from electra_jax.finetune.token_rows import Rows
from electra_jax.init_from import Start, encoder_params, load_start
from electra_jax.interop import save
from electra_jax.train import checkpoint, workdir

# How the peer's batches are made and run; the fastest counts.
PEER_VARIANTS = (('file', 'eager'), ('sorted', 'eager'), ('sorted', 'compiled'))


class Model(NamedTuple):
    """A fine-tuned model, or one that could be: its head is fresh where the start has none."""

    start: Start
    task: TrainedTask
    params: Mapping[str, Any]


def open_model(config: Config) -> Model:
    """The model of `config.init_from`, or a fresh one, with a head for the config's task.

    Raises:
        UserError: files or checkpoint cannot be used, or there is no such task.
    """
    start = load_start(config)
    if 'task' in start.about:
        task = trained.from_json(start.about['task'], str(start.where))
        return Model(start, task, start.params)
    task = trained.settle(config, splits.read_train(config)[0].known)
    config = program.resolve(config, start.model, task.row_length, 1)
    start = start._replace(model=config.model)
    source, _ = encoder_params(start, config)
    size, seed = start.tokenizer.vocab_size, np.uint32(config.seed)
    init = jax.jit(functools.partial(program.initial_params, start.model, size, task.head()))
    return Model(start, task, jax.device_get(init(source, seed)))


def check_rival(config: Config, rival: Rival) -> None:
    """Refuses to compare evaluation with anything but transformers.

    Raises:
        ConfigError: naming the flag.
    """
    check_variants(rival, {variant for _, variant in PEER_VARIANTS})
    if rival.config is not None:
        raise ConfigError(f'--versus={rival.name}: evaluation is compared with transformers alone')


def measure(
    config: Config, name: str, rival: Rival | None, plan: Plan, say: Callable[[str], None]
) -> dict[str, Any]:
    """Measures evaluation of a config's first scored split.

    Args:
        config: of fine-tuning, resolved.
        name: of its recipe.
        rival: transformers, if it is measured, too.
        plan: how long; a pass over the split is the unit of work.
        say: told what happens, in words.

    Returns:
        The measured part of a record (`records.py`).

    Raises:
        UserError: the model or the split cannot be used.
    """
    model = open_model(config)
    with tempfile.TemporaryDirectory() as where, Arena() as arena:
        folder = pathlib.Path(where)
        settings = write_ours(folder, config, model)
        say(f'{name}: compiling and warming up')
        module = 'electra_jax.bench.answers'
        first = arena.enter(Entry(name, module, settings, SHARING if rival else {}))
        others = _peers(arena, rival, folder, config, model, first.ready, say) if rival else []
        say(f'{plan.turns} turns of {plan.amount} passes each')
        ours, *theirs = contest.compete(
            [first, *others], plan.turns, plan.amount,
            lambda done: say(f'turn {done} of {plan.turns}'),
        )  # fmt: skip
    found = summary(ours, first.ready)
    peers = [{**summary(one, first.ready), **agreement(ours, one)} for one in theirs]
    return {**found, **ALONE, **(compared(ours, theirs, peers) if peers else {}), 'peers': peers}


def write_ours(folder: pathlib.Path, config: Config, model: Model) -> dict[str, Any]:
    """Writes the model as a checkpoint; returns the settings of `answers.py`."""
    about = {
        'config': {**workdir.as_json(config), 'model': dataclasses.asdict(model.start.model)},
        'tokenizer': model.start.tokenizer.to_json(),
        'tokenizer_hash': model.start.tokenizer.hash,
        'task': trained.to_json(model.task),
    }
    checkpoint.write_params(epath.Path(folder) / 'ours', model.params, about)
    return {'config': dataclasses.asdict(config), 'checkpoint': str(folder / 'ours')}


def write_peer(folder: pathlib.Path, config: Config, model: Model) -> dict[str, Any]:
    """Writes the model and the split's rows for transformers; returns what settings share.

    Raises:
        UserError: transformers has no such task or head.
    """
    task, tokenizer = model.task, model.start.tokenizer
    if task.kind != 'classification':
        raise ConfigError(f'--versus=transformers compares classification, not {task.kind}')
    if task.style != 'huggingface':
        raise ConfigError(
            f'--versus=transformers: transformers has no head like {task.style!r}; type '
            '--config.task.head=huggingface'
        )
    labels = list(task.labels)
    save.save_foreign(
        'huggingface', folder / 'peer',
        save.Model(model.params, model.start.model, tokenizer, task.kind, labels),
    )  # fmt: skip
    loaded = next(iter(splits.read_scored(config, task.known).values()))
    rows = splits.make_split(config, tokenizer, task.features(labelled=False), loaded).rows
    np.savez(folder / 'rows.npz', **arrays(rows))
    return {
        'model': str(folder / 'peer'),
        'rows': str(folder / 'rows.npz'),
        'batch_size': config.batch_size,
    }


def arrays(rows: Rows) -> dict[str, np.ndarray]:
    """What the peer reads."""
    return {'tokens': rows.tokens.values, 'ends': rows.tokens.ends, 'second': rows.second}


def _peers(
    arena: Arena, rival: Rival, folder: pathlib.Path, config: Config, model: Model, ready, say
) -> list:
    """transformers, warmed up in each of its variants that run here."""
    shared = {**peer_device(ready), **write_peer(folder, config, model)}
    module = 'electra_jax.bench.torch_answers'
    entries = [
        Entry(
            f'transformers, {order} order, {variant}',
            module,
            {**shared, 'order': order, 'variant': variant},
        )
        for order, variant in PEER_VARIANTS
        if not rival.variants or variant in rival.variants
    ]
    return arena.enter_any(entries, say)


def summary(measured: Measured, split: Mapping[str, Any]) -> dict[str, Any]:
    """One program's numbers; `split` counts rows and tokens."""
    seconds, ready = measured.all('pass_seconds'), measured.ready
    median = statistics.median(seconds)
    chosen = np.argmax(measured.report['logits'], -1)
    return {
        'name': measured.name,
        'rows': split['rows'],
        'rows_per_second': split['rows'] / median,
        'tokens_per_second': split['tokens'] / median,
        'padding_share': 1 - split['tokens'] / ready['computed_tokens'],
        'pass_seconds': percentiles(seconds),
        'passes': len(seconds),
        'first_pass_seconds': ready['first_pass_seconds'],
        'peak_memory_bytes': measured.peak_memory_bytes,
        'chosen': np.bincount(chosen).tolist(),  # rows of each class
        'ready': ready,
    }


def agreement(ours: Measured, theirs: Measured) -> dict[str, Any]:
    """How many rows both answer alike, and how far apart logits are at most."""
    a, b = (np.array(one.report['logits']) for one in (ours, theirs))
    return {
        'same_answers': int((a.argmax(-1) == b.argmax(-1)).sum()),
        'logit_difference': float(np.abs(a - b).max()),
    }


def processor_ratio(ours: Measured, theirs: Sequence[Measured]) -> float | None:
    """The ratio in processor time, which other programs disturb less; of CPUs alone."""
    if ours.ready['platform'] != 'cpu':
        return None
    return min(contest.ratio(ours, one, 'cpu_seconds') for one in theirs)


def compared(
    ours: Measured, theirs: Sequence[Measured], peers: Sequence[Mapping[str, Any]]
) -> dict[str, Any]:
    """The record's part about the peers: the ratio to each, and to the fastest."""
    ratios = {one.name: contest.ratio(ours, one, 'pass_seconds') for one in theirs}
    best = min(ratios, key=ratios.get)
    peer = next(one for one in peers if one['name'] == best)
    first = ours.ready['first_pass_seconds']
    return {
        'peer': best,
        'peer_tokens_per_second': peer['tokens_per_second'],
        'peer_memory_bytes': peer['peak_memory_bytes'],
        'ratio': ratios[best],
        'ratio_of_processor_time': processor_ratio(ours, theirs),
        'ratios': ratios,
        # One pass from a fresh process: what it compiles counts.
        'first_pass_ratios': {one.name: one.ready['first_pass_seconds'] / first for one in theirs},
        'same_answers': min(one['same_answers'] for one in peers),
    }
