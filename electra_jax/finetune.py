"""Fine-tuning brought to life: a task's files, a model to start from, and trials of it.

A workdir of fine-tuning holds trials/0, trials/1, ...: each a checkpoint that is read alone by
`predict` and `--config.job=evaluate`, with its result in result.json, written last. So a trial
without one is not finished, and the same command does it again.
"""

import dataclasses
import functools
import json
import math
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import jax
import numpy as np
from etils import epath
from jax.sharding import Mesh

from electra_jax.config import presets, validate
from electra_jax.config.presets import HeadShape
from electra_jax.config.schema import Config, ModelConfig
from electra_jax.core import distributed, rng, trees
from electra_jax.core.errors import CheckpointError, ConfigError
from electra_jax.model import api
from electra_jax.optim import optimizer, schedules
from electra_jax.parallel import mesh as meshes
from electra_jax.parallel import report, rules
from electra_jax.tasks import batches, losses, token_rows
from electra_jax.tasks.token_rows import Rows
from electra_jax.tokenizers import load
from electra_jax.tokenizers.api import Tokenizer
from electra_jax.train import checkpoint, state, step, trial, workdir

TRIALS = 'trials'  # folder of a workdir
RESULT = 'result.json'  # of a trial, written when it is finished


class Start(NamedTuple):
    """What a run starts from.

    Attributes:
      where: the checkpoint, as it was named; None: from scratch.
      params: NumPy arrays of its parameters; empty from scratch.
      about: what it says of itself.
      model: resolved.
      tokenizer: of the checkpoint, or of config.data.tokenizer.
    """

    where: str | None
    params: trees.Tree
    about: Mapping[str, Any]
    model: ModelConfig
    tokenizer: Tokenizer


class Program(NamedTuple):
    """The functions of a fine-tuning config on a mesh, each compiled once for each row length.

    Attributes:
      config: resolved, with total_steps and warm-up those of the task's files.
      mesh: of the run.
      vocab_size: tokens, unpadded.
      head: of the task.
      abstract: shapes and shardings of the state.
      make_state: source parameters by name, seed -> the state at step 0.
      step: jitted: state, batch, seed -> state, metrics.
      answers: jitted: params, batch -> the head's outputs.
    """

    config: Config
    mesh: Mesh
    vocab_size: int
    head: HeadShape
    abstract: state.TrainState
    make_state: Callable[[Mapping[str, np.ndarray], np.uint32], state.TrainState]
    step: Callable
    answers: Callable


def open_start(config: Config) -> Start:
    """Reads the checkpoint of `config.init_from`, or settles what scratch needs.

    Raises:
        ConfigError: from scratch without a tokenizer, or settings at odds with the checkpoint.
        CheckpointError: it cannot be read.
    """
    if config.init_from is None:
        if config.data.tokenizer.path is None:
            raise ConfigError(
                'config.init_from is not set: type --config.init_from=WORKDIR of a pre-trained '
                'model. To train from scratch, --config.data.tokenizer.path=vocab.txt is needed'
            )
        tokenizer = load.open_tokenizer(config.data.tokenizer)
        return Start(None, {}, {}, config.model, tokenizer)
    params, about = checkpoint.read_params(epath.Path(config.init_from))
    return start_of(config, config.init_from, params, about)


def start_of(config: Config, where: str, params: trees.Tree, about: Mapping[str, Any]) -> Start:
    """A start from parameters and what their checkpoint says of itself."""
    try:
        stored, tokenizer = about['config']['model'], load.from_json(about['tokenizer'])
    except (KeyError, TypeError) as error:
        raise CheckpointError(
            f'{where} does not say what model or tokenizer it has ({error!r}): it is no '
            'checkpoint of this program, or is damaged'
        ) from error
    model = presets.inherit_model(config.model, stored)
    if config.data.tokenizer.path is not None:
        asked = load.open_tokenizer(config.data.tokenizer)
        if asked.hash != tokenizer.hash:
            raise ConfigError(
                f'config.data.tokenizer.path is {config.data.tokenizer.path!r}, but {where} was '
                'trained with another tokenizer, which it holds itself: leave the setting out'
            )
    return Start(where, params, about, model, tokenizer)


def resolve(config: Config, model: ModelConfig, steps: int) -> Config:
    """The config with nothing open: model, length and warm-up.

    Raises:
        ConfigError: the model does not allow it, or rows are longer than its positions.
    """
    platform = jax.devices()[0].platform
    config = dataclasses.replace(
        config,
        model=presets.resolve_platform(model, platform),
        total_steps=steps,
        optimizer=dataclasses.replace(
            config.optimizer, warmup_steps=round(config.task.warmup_rate * steps)
        ),
    )
    validate.validate(config)
    validate.check_positions(config)
    return config


def build_program(
    config: Config, vocab_size: int, head: HeadShape, devices: list[jax.Device] | None = None
) -> Program:
    """A config as functions over a mesh; compiles nothing yet.

    Args:
        config: from `resolve`.
        vocab_size: tokens of the tokenizer, unpadded.
        head: of the task.
        devices: all there are, if not given.

    Raises:
        ConfigError: mesh or batch do not fit the devices.
    """
    mesh = meshes.make_mesh(config.mesh, devices)
    meshes.check_batch(config, mesh, jax.process_count())
    settings = config.optimizer
    learning_rate = schedules.warmup_decay(
        settings.learning_rate, settings.warmup_steps, config.total_steps, settings.decay_power
    )
    init = functools.partial(initial_params, config.model, vocab_size, head)
    make_optimizer = functools.partial(optimizer.adamw, settings, learning_rate)
    abstract = state.abstract_state(functools.partial(init, {}, np.uint32(0)), make_optimizer, mesh)
    loss = functools.partial(
        losses.loss, config.model, vocab_size, head, config.task.answerable_weight
    )
    train_step = functools.partial(
        step.train_step,
        functools.partial(losses.draw, head.kind, config.task.sum_loss),
        loss,
        make_optimizer(abstract.params),
        learning_rate,
    )

    def seeded_step(current: state.TrainState, batch: Mapping, seed: jax.Array):
        # The seed is data, not a constant of the program: all trials share one compilation.
        return train_step(seed, settings.microbatches, current, batch)

    def make_state(source: Mapping[str, jax.Array], seed: jax.Array) -> state.TrainState:
        return state.fresh_state(functools.partial(init, source, seed), make_optimizer)

    shardings = jax.tree.map(lambda leaf: leaf.sharding, abstract)
    return Program(
        config,
        mesh,
        vocab_size,
        head,
        abstract,
        jax.jit(make_state, out_shardings=shardings),
        step.compile_train_step(seeded_step, abstract, mesh),
        compile_answers(config.model, vocab_size, head, mesh),
    )


def compile_answers(model: ModelConfig, vocab_size: int, head: HeadShape, mesh: Mesh) -> Callable:
    """params, batch -> the head's outputs, which every host sees whole."""
    answers = functools.partial(api.task_answers, model, vocab_size, head)
    return jax.jit(step.on_mesh(answers, mesh), out_shardings=rules.replicated(mesh))


def initial_params(
    model: ModelConfig,
    vocab_size: int,
    head: HeadShape,
    source: Mapping[str, jax.Array],
    seed: jax.Array,
) -> trees.Tree:
    """Parameters at step 0: those of `source` by name, all others fresh by the seed."""
    key = rng.stream_key(rng.root_key(seed), 0, 'init')
    fresh = api.init_encoder(model, vocab_size, key)
    fresh['task_head'] = api.init_head(model, head, jax.random.fold_in(key, 1))
    names = [name for name, _ in trees.named_leaves(fresh)]
    leaves, structure = jax.tree.flatten(fresh)
    return structure.unflatten(
        [source.get(name, leaf) for name, leaf in zip(names, leaves, strict=True)]
    )


class Taken(NamedTuple):
    """What of a start's parameters a program uses."""

    source: dict[str, np.ndarray]  # by name
    fresh: list[str]  # parameters of the program that the start lacks
    unused: list[str]  # parts of the start that the program has no place for


def take(start: Start, params: trees.Tree) -> Taken:
    """Matches a start's parameters with a program's, by name.

    Args:
        start: where from.
        params: of the program, abstract.

    Raises:
        CheckpointError: a parameter has another shape there.
    """
    have = dict(trees.named_leaves(start.params))
    need = dict(trees.named_leaves(params))
    source = {name: np.asarray(have[name]) for name in need if name in have}
    wrong = [
        f'{name} is {list(value.shape)} there, {list(need[name].shape)} here'
        for name, value in source.items()
        if value.shape != need[name].shape
    ]
    if wrong:
        raise CheckpointError(
            f'{start.where} does not fit the model:\n  ' + '\n  '.join(wrong) + '\nThe model is '
            "the checkpoint's own where no --config.model setting says otherwise"
        )
    unused = sorted({name.split('/')[0] for name in have if name not in need})
    return Taken(source, sorted(set(need) - set(source)), unused)


def put(mesh: Mesh, host_batch: Mapping[str, np.ndarray]) -> dict[str, jax.Array]:
    """A global batch, which every host holds whole, as arrays over the mesh."""

    def place(x: np.ndarray) -> jax.Array:
        per_host = len(x) // jax.process_count()
        mine = x[jax.process_index() * per_host :][:per_host]
        sharding = rules.batch_sharding(mesh, x.shape)
        return jax.make_array_from_process_local_data(sharding, mine, x.shape)

    return {name: place(x) for name, x in host_batch.items()}


class Split(NamedTuple):
    """The token rows of a split and the shapes they come in."""

    rows: Rows
    sizes: list[int]
    pad: int

    def host_batch(self, batch: batches.Batch, batch_size: int) -> dict[str, np.ndarray]:
        """The arrays of a batch."""
        return token_rows.to_batch(self.rows, batch.rows, batch_size, batch.row_length, self.pad)

    def shares(self) -> str:
        """Row lengths and how many rows have them, in words."""
        bucket = np.searchsorted(self.sizes, self.rows.tokens.lengths())
        count = np.bincount(bucket, minlength=len(self.sizes)) / max(len(self.rows), 1)
        return ', '.join(f'{L} ({c:.0%})' for L, c in zip(self.sizes, count, strict=True))


def make_split(config: Config, rows: Rows, pad: int, row_length: int) -> Split:
    """Rows with their shapes."""
    sizes = batches.shapes(
        rows.tokens.lengths(), row_length, config.mesh.sequence, config.task.bucketing
    )
    return Split(rows, sizes, pad)


def train_batches(
    program: Program, split: Split, seed: int
) -> Iterator[tuple[dict[str, jax.Array], dict[str, np.ndarray]]]:
    """Endless batches on the mesh, each with its copy in host memory."""
    size = program.config.batch_size
    lengths = split.rows.tokens.lengths()
    for batch in batches.endless(lengths, split.sizes, size, seed):
        host_batch = split.host_batch(batch, size)
        yield put(program.mesh, host_batch), host_batch


def outputs(program: Program, params: trees.Tree, split: Split) -> list[Mapping[str, np.ndarray]]:
    """The head's outputs for each row of a split, in the order of the rows."""
    found: list[Mapping[str, np.ndarray]] = [{}] * len(split.rows)
    size = program.config.batch_size
    pending: tuple[batches.Batch, Any] | None = None

    def collect() -> None:
        if pending is None:
            return
        batch, arrays = pending
        arrays = jax.device_get(arrays)
        for slot, row in enumerate(batch.rows):
            found[row] = {name: x[slot] for name, x in arrays.items()}

    for batch in batches.in_order(split.rows.tokens.lengths(), split.sizes, size):
        arrays = program.answers(params, put(program.mesh, split.host_batch(batch, size)))
        collect()  # of the batch before, while this one is computed
        pending = batch, arrays
    collect()
    return found
