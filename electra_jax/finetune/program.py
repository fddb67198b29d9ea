"""A fine-tuning config as functions over a mesh, each compiled once for each row length."""

import dataclasses
import functools
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import jax
import numpy as np
from jax.sharding import Mesh

from electra_jax.config import fields
from electra_jax.config.fields import Settings
from electra_jax.config.recipe import recipe
from electra_jax.config.settings import Config, ModelConfig
from electra_jax.core import rng, trees
from electra_jax.core.errors import ConfigError
from electra_jax.finetune import batches, losses, predictions
from electra_jax.finetune.predictions import Predictions
from electra_jax.finetune.split import Split
from electra_jax.finetune.task import TrainedTask
from electra_jax.model import bind
from electra_jax.model.task_heads import HeadShape
from electra_jax.optim import optimizer, schedules
from electra_jax.parallel import mesh as meshes
from electra_jax.parallel import rules
from electra_jax.runtime import terminal
from electra_jax.train import state, step

Say = Callable[[str], None]  # to people


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


def with_steps(config: Config, steps: int) -> Config:
    """The config with the length of a trial, which follows from the task's rows and epochs."""
    warmup_steps = round(config.task.warmup_rate * steps)
    return dataclasses.replace(
        config,
        total_steps=steps,
        optimizer=dataclasses.replace(config.optimizer, warmup_steps=warmup_steps),
    )


# Settings in steps, which fine-tuning would lose in silence -> what to do instead.
_IN_STEPS = {
    'total_steps': 'type --config.task.epochs=... instead',
    'stop_at': 'type --config.task.epochs=... instead',
    'optimizer.warmup_steps': 'type --config.task.warmup_rate=... (a share of all steps) instead',
    'eval.every_steps': 'it is scored after each, so leave this out',
    'checkpoint.every_steps': 'each trial is saved at its end, so leave this out',
}


def refuse_steps(config: Settings) -> None:
    """Refuses lengths in steps and a step to replay.

    Raises:
        ConfigError: with what to type instead.
    """
    if config.replay is not None:
        raise ConfigError(
            f'config.replay is {config.replay!r}, but only steps of pre-training can be taken '
            'again: leave it out'
        )
    for name, advice in _IN_STEPS.items():
        asked = fields.get(config, name)
        if asked != fields.get(recipe({}), name):
            raise ConfigError(
                f'config.{name} is {asked}, but fine-tuning counts in epochs of its files: {advice}'
            )


def build_program(
    config: Config, vocab_size: int, head: HeadShape, devices: list[jax.Device] | None = None
) -> Program:
    """A config as functions over a mesh; compiles nothing yet.

    Args:
        config: for the platform of the devices.
        vocab_size: tokens of the tokenizer, unpadded.
        head: of the task.
        devices: all there are, if not given.

    Raises:
        ConfigError: mesh or batch do not fit the devices.
    """
    mesh = meshes.make_mesh(config.mesh, devices)
    meshes.check_batch(config, mesh, jax.process_count())
    init = functools.partial(initial_params, config.model, vocab_size, head)
    make_optimizer = functools.partial(optimizer.build, config)
    abstract = state.abstract_state(functools.partial(init, {}, np.uint32(0)), make_optimizer, mesh)
    train_step = functools.partial(
        step.train_step,
        functools.partial(losses.draw, head.kind, config.task.sum_loss),
        functools.partial(
            losses.loss, config.model, vocab_size, head, config.task.answerable_weight
        ),
        lambda params, number: params,
        functools.partial(losses.shared, head.kind, config.task.sum_loss),
        make_optimizer(abstract.params),
        schedules.from_config(config, config.optimizer.learning_rate),
    )

    def seeded_step(current: state.TrainState, batch: Mapping, seed: jax.Array):
        # The seed is data, not a constant of the program: all trials share one compilation.
        return train_step(seed, config.optimizer, config.health, current, batch)

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


def to_answer(model: ModelConfig) -> ModelConfig:
    """The model without unrolled layers: with no backward pass they would only compile longer."""
    return dataclasses.replace(model, scan_unroll=1)


def compile_answers(model: ModelConfig, vocab_size: int, head: HeadShape, mesh: Mesh) -> Callable:
    """params, batch -> the head's outputs, which every host sees whole."""
    answers = functools.partial(bind.task_answers, to_answer(model), vocab_size, head)
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
    fresh = bind.init_encoder(model, vocab_size, key)
    fresh['task_head'] = bind.init_head(model, head, jax.random.fold_in(key, 1))
    names = [name for name, _ in trees.named_leaves(fresh)]
    leaves, structure = jax.tree.flatten(fresh)
    return structure.unflatten(
        [source.get(name, leaf) for name, leaf in zip(names, leaves, strict=True)]
    )


def put(mesh: Mesh, host_batch: Mapping[str, np.ndarray]) -> dict[str, jax.Array]:
    """A global batch, which every host holds whole, as arrays over the mesh."""

    def place(x: np.ndarray) -> jax.Array:
        per_host = len(x) // jax.process_count()
        mine = x[jax.process_index() * per_host :][:per_host]
        sharding = rules.batch_sharding(mesh, x.shape)
        return jax.make_array_from_process_local_data(sharding, mine, x.shape)

    return {name: place(x) for name, x in host_batch.items()}


class Answerer(NamedTuple):
    """A model that answers: what evaluation and prediction need of a program."""

    mesh: Mesh
    batch_size: int
    answers: Callable

    def outputs(
        self, params: trees.Tree, split: Split, say: Say = lambda text: None, name: str = ''
    ) -> list[Mapping[str, np.ndarray]]:
        """The head's outputs for each row of a split, in the order of the rows.

        Args:
            params: on the mesh.
            split: the rows.
            say: told from time to time how far it is.
            name: of the split, for that.
        """
        found: list[Mapping[str, np.ndarray]] = [{}] * len(split.rows)
        pending: tuple[batches.Batch, Any] | None = None

        def collect() -> None:
            if pending is None:
                return
            batch, arrays = pending[0], jax.device_get(pending[1])
            for slot, row in enumerate(batch.rows):
                found[row] = {name: x[slot] for name, x in arrays.items()}

        todo = batches.in_order(split.rows.tokens.lengths(), split.sizes, self.batch_size)
        for batch in terminal.track(
            todo, f'{name}: tokens answered', lambda one: one.row_length, report=say
        ):
            host_batch = split.host_batch(batch, self.batch_size)
            arrays = self.answers(params, put(self.mesh, host_batch))
            collect()  # of the batch before, while this one is computed
            pending = batch, arrays
        collect()
        return found

    def predict(
        self,
        params: trees.Tree,
        task: TrainedTask,
        split: Split,
        say: Say = lambda text: None,
        name: str = '',
    ) -> Predictions:
        """What the model says of a split's examples; arguments as for `outputs`."""
        found = self.outputs(params, split, say, name)
        return predictions.predict(task, split.loaded.examples, split.rows, found)
