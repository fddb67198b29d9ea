"""Evaluation compared: one fine-tuned classifier over a split, ours and transformers'.

Both get the same weights, ours as a checkpoint and the peer's converted from it, and the same token
rows; both are timed from token rows to logits, including batches and padding.
"""

import dataclasses
import functools
import pathlib
import tempfile
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import jax
import numpy as np
from etils import epath

from electra_jax.bench import contest
from electra_jax.bench.contest import Entry, Measured, Plan
from electra_jax.bench.versus import ALONE, SHARING, Rival, check_variants, peer_device
from electra_jax.config import checks, resolve
from electra_jax.config.fields import Settings
from electra_jax.config.settings import Config
from electra_jax.core.errors import ConfigError
from electra_jax.finetune import program
from electra_jax.finetune import split as splits
from electra_jax.finetune import task as tasks
from electra_jax.finetune.kinds.kind import Task
from electra_jax.finetune.kinds.table import KINDS
from electra_jax.init_from import Start, encoder_params, load_start
from electra_jax.interop.projects import Checkpoint, write_huggingface
from electra_jax.model.bind import bind
from electra_jax.train import checkpoint, workdir

# How the peer's batches are made and run; the fastest counts.
PEER_VARIANTS = (('file', 'eager'), ('sorted', 'eager'), ('sorted', 'compiled'))


class Model(NamedTuple):
    """A fine-tuned model, or one that could be: its head is fresh where the start has none."""

    start: Start
    config: Config
    task: Task
    params: Mapping[str, Any]


def open_model(config: Settings) -> Model:
    """The model of `config.init_from`, or a fresh one, with a head for the config's task.

    Raises:
        UserError: files or checkpoint cannot be used, or there is no such task.
    """
    start = load_start(config)
    resolved = resolve.resolve(config, 'cpu', start.stored)
    if 'task' in start.about:
        task = tasks.from_json(start.about['task'], str(start.where))
        return Model(start, resolved, task, start.params)
    checks.check_positions(resolved)
    task = splits.read_train(resolved)[0].task
    source, _ = encoder_params(start, resolved)
    model, seed = bind(resolved.model, start.tokenizer.vocab_size), np.uint32(config.seed)
    head = model.head(KINDS[task.kind].head(task))
    init = jax.jit(functools.partial(program.initial_params, model, head))
    return Model(start, resolved, task, jax.device_get(init(source, seed)))


def check_rival(config: Settings, rival: Rival) -> None:
    """Refuses to compare evaluation with anything but transformers.

    Raises:
        ConfigError: naming the flag.
    """
    check_variants(rival, {variant for _, variant in PEER_VARIANTS})
    if rival.config is not None:
        raise ConfigError(f'--versus={rival.name}: evaluation is compared with transformers alone')


def measure(
    config: Settings, name: str, rival: Rival | None, plan: Plan, report: Callable[[str], None]
) -> dict[str, Any]:
    """Measures evaluation of a config's first scored split.

    Args:
        config: settings of fine-tuning.
        name: of its recipe.
        rival: transformers, if it is measured too.
        plan: how long; a pass over the split is the unit of work.
        report: called with a line about what happens.

    Returns:
        The measured part of a record (`records.py`).

    Raises:
        UserError: the model or the split cannot be used.
    """
    model = open_model(config)
    with tempfile.TemporaryDirectory() as where:
        folder = pathlib.Path(where)

        def peers_of(ready: Mapping[str, Any]) -> list[Entry]:
            if rival is None:
                return []
            shared = {**peer_device(ready), **write_peer(folder, config, model)}
            return [
                Entry(
                    f'transformers, {order} order, {variant}',
                    'electra_jax.bench.torch_answers',
                    {**shared, 'order': order, 'variant': variant},
                )
                for order, variant in PEER_VARIANTS
                if not rival.variants or variant in rival.variants
            ]

        settings = write_ours(folder, config, model)
        entry = Entry(name, 'electra_jax.bench.answers', settings, SHARING if rival else {})
        ours, theirs = contest.measure(entry, peers_of, plan, 'passes', report)
    return results(ours, theirs)


def write_ours(folder: pathlib.Path, config: Settings, model: Model) -> dict[str, Any]:
    """Writes the model as a checkpoint; returns the settings of `answers.py`."""
    about = {
        'config': {**workdir.as_json(config), 'model': dataclasses.asdict(model.config.model)},
        'tokenizer': model.start.tokenizer.to_json(),
        'tokenizer_hash': model.start.tokenizer.hash,
        'task': tasks.to_json(model.task),
    }
    checkpoint.write_params(epath.Path(folder) / 'ours', model.params, about)
    return {'config': dataclasses.asdict(config), 'checkpoint': str(folder / 'ours')}


def write_peer(folder: pathlib.Path, config: Settings, model: Model) -> dict[str, Any]:
    """Writes model and rows for transformers; returns the settings of `torch_answers.py`.

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
    checkpoint = Checkpoint(
        model.params, model.config.model, tokenizer, task.kind, list(task.labels)
    )
    write_huggingface(folder / 'peer', checkpoint)
    loaded = next(iter(splits.read_scored(model.config, task).values()))
    rows = splits.make_split(model.config, tokenizer, task, loaded, labelled=False).rows
    tokens = rows.tokens
    np.savez(folder / 'rows.npz', tokens=tokens.values, ends=tokens.ends, second=rows.second)
    return {
        'model': str(folder / 'peer'),
        'rows': str(folder / 'rows.npz'),
        'batch_size': config.batch_size,
    }


def results(ours: Measured, theirs: Sequence[Measured]) -> dict[str, Any]:
    """The measured part of a record."""
    split = ours.ready
    one = summary(ours, split)
    peers = [{**summary(other, split), **agreement(ours, other)} for other in theirs]
    if not peers:
        return {**one, **ALONE, 'peers': []}
    tokens = [split['tokens']] * (1 + len(theirs))
    compared, _ = contest.compare(ours, theirs, 'pass_seconds', tokens)
    first = split['first_pass_seconds']
    return {
        **one,
        **compared,
        # One pass of a new process, with what it compiles.
        'first_pass_ratios': {one.name: one.ready['first_pass_seconds'] / first for one in theirs},
        'same_answers': min(peer['same_answers'] for peer in peers),
        'peers': peers,
    }


def summary(measured: Measured, split: Mapping[str, Any]) -> dict[str, Any]:
    """One program's numbers; `split` counts rows and tokens."""
    common = contest.summary(measured, 'pass_seconds', split['tokens'])
    chosen = np.argmax(measured.report['logits'], -1)
    return {
        **common,
        'rows': split['rows'],
        'rows_per_second': split['rows'] * common['tokens_per_second'] / split['tokens'],
        'padding_share': 1 - split['tokens'] / measured.ready['computed_tokens'],
        'passes': len(measured.all('pass_seconds')),
        'first_pass_seconds': measured.ready['first_pass_seconds'],
        'chosen': np.bincount(chosen).tolist(),  # rows of each class
    }


def agreement(ours: Measured, theirs: Measured) -> dict[str, Any]:
    """How many rows both answer alike, and the largest difference of their logits."""
    a, b = (np.array(one.report['logits']) for one in (ours, theirs))
    return {
        'same_answers': int((a.argmax(-1) == b.argmax(-1)).sum()),
        'logit_difference': float(np.abs(a - b).max()),
    }
