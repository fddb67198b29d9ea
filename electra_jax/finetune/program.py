"""A fine-tuning config as functions over a mesh, each compiled once for each row length."""

import dataclasses
import functools
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh

from electra_jax.config import fields
from electra_jax.config.fields import Settings
from electra_jax.config.recipe import recipe
from electra_jax.config.settings import Config
from electra_jax.core import rng, trees
from electra_jax.core.errors import ConfigError
from electra_jax.finetune import batches
from electra_jax.finetune.kinds.kind import Batch, Predictions, Task
from electra_jax.finetune.kinds.table import KINDS
from electra_jax.finetune.split import Split
from electra_jax.model.bind import Head, Model, Params, bind
from electra_jax.optim import optimizer
from electra_jax.parallel import mesh as meshes
from electra_jax.parallel import rules
from electra_jax.runtime import terminal
from electra_jax.train import state, step

Report = Callable[[str], None]  # prints a line for people


def silent(line: str) -> None:
    """Prints nothing."""


class Program(NamedTuple):
    """The functions of a fine-tuning config on a mesh, each compiled once for each row length.

    Attributes:
        config: of the run, with total_steps and warm-up those of the task's files.
        mesh: of the run.
        abstract_state: shapes and shardings of the state.
        fresh_state: source parameters by name, seed -> the state at step 0.
        step: jitted: state, batch, seed -> state, metrics.
        answerer: answers with the parameters that it is handed.
    """

    config: Config
    mesh: Mesh
    abstract_state: state.TrainState
    fresh_state: Callable[[Mapping[str, np.ndarray], np.uint32], state.TrainState]
    step: Callable
    answerer: 'Answerer'


def with_steps(config: Config, steps: int) -> Config:
    """The config with the length of a trial, which follows from the task's rows and epochs."""
    warmup_steps = round(config.task.warmup_rate * steps)
    return dataclasses.replace(
        config,
        total_steps=steps,
        optimizer=dataclasses.replace(config.optimizer, warmup_steps=warmup_steps),
    )


# Settings in steps, which fine-tuning would silently ignore -> what to do instead.
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
            f'config.replay is {config.replay!r}, but only steps of pre-training can be '
            'replayed: leave it out'
        )
    for name, advice in _IN_STEPS.items():
        asked = fields.get(config, name)
        if asked != fields.get(recipe({}), name):
            raise ConfigError(
                f'config.{name} is {asked}, but fine-tuning counts in epochs of its files: {advice}'
            )


def build_program(
    config: Config, vocab_size: int, task: Task, devices: list[jax.Device] | None = None
) -> Program:
    """A config as functions over a mesh; compiles nothing yet.

    Args:
        config: for the platform of the devices.
        vocab_size: tokens of the tokenizer, unpadded.
        task: of the run.
        devices: all there are, if not given.

    Raises:
        ConfigError: mesh or batch do not fit the devices.
    """
    mesh = meshes.make_mesh(config.mesh, devices)
    meshes.check_batch(config, mesh, jax.process_count())
    kind, model = KINDS[task.kind], bind(config.model, vocab_size)
    head = model.head(kind.head(task))

    # ---- The state at step 0, by parameters to start from and a seed.
    init = functools.partial(initial_params, model, head)
    make_optimizer = functools.partial(optimizer.build, config)
    abstract_state = state.abstract_state(
        functools.partial(init, {}, np.uint32(0)), make_optimizer, mesh
    )
    shardings = jax.tree.map(lambda leaf: leaf.sharding, abstract_state)

    def fresh_state(source: Mapping[str, jax.Array], seed: jax.Array) -> state.TrainState:
        return state.fresh_state(functools.partial(init, source, seed), make_optimizer)

    # ---- The step.
    share = functools.partial(with_shares, kind.terms, config.task.sum_loss)
    problem = step.Problem(
        draw=lambda batch, keys, number: share(batch),
        loss=make_loss(head, task),
        prepare=lambda params, number: params,
        alone=share,
    )
    adamw = make_optimizer(abstract_state.params)

    def seeded_step(
        current: state.TrainState, batch: Batch, seed: jax.Array
    ) -> tuple[state.TrainState, step.Metrics]:
        # The seed is data, not a constant of the program: all trials share one compilation.
        return step.train_step(problem, adamw, config, seed, current, batch)

    return Program(
        config=config,
        mesh=mesh,
        abstract_state=abstract_state,
        fresh_state=jax.jit(fresh_state, out_shardings=shardings),
        step=step.compile_train_step(seeded_step, abstract_state, mesh),
        answerer=task_answerer(config, vocab_size, task, mesh),
    )


def with_shares(
    terms: Callable[[Batch], jax.Array], sum_loss: bool, batch: Batch
) -> dict[str, jax.Array]:
    """The batch with each row's 'share' of the loss [B].

    Shares are 1 over the number of terms of the whole batch (rows, or tagged words), so that
    microbatches add up. With `sum_loss` they are 1, as in the reference (run_finetuning.py), whose
    gradients then grow with the batch. Rows of weight 0 have none.
    """
    weight_B = batch['weight']
    if sum_loss:
        return {**batch, 'share': weight_B}
    return {**batch, 'share': weight_B / jnp.maximum(jnp.sum(weight_B * terms(batch)), 1.0)}


def make_loss(head: Head, task: Task) -> step.Loss:
    """The task's loss of (part of) a batch, and its metrics: sums over rows of shared terms."""
    kind = KINDS[task.kind]

    def loss(
        params: Params, inputs: Batch, dropout_key: jax.Array | None, number: jax.Array
    ) -> tuple[jax.Array, dict[str, jax.Array]]:
        outputs = head.outputs(params, inputs, dropout_key)
        total = jnp.sum(inputs['share'] * kind.loss(task, outputs, inputs))
        return total, {'loss': total}

    return loss


def initial_params(
    model: Model,
    head: Head,
    source: Mapping[str, jax.Array],
    seed: jax.Array,
) -> trees.Tree:
    """Parameters at step 0: those of `source` by name, all others fresh by the seed."""
    key = rng.stream_key(rng.root_key(seed), 0, 'init')
    fresh = model.init_encoder(key)
    fresh['task_head'] = head.init(jax.random.fold_in(key, 1))
    names = [name for name, _ in trees.named_leaves(fresh)]
    leaves, structure = jax.tree.flatten(fresh)
    chosen = [source.get(name, leaf) for name, leaf in zip(names, leaves, strict=True)]
    return jax.tree.unflatten(structure, chosen)


def put(mesh: Mesh, host_batch: Mapping[str, np.ndarray]) -> dict[str, jax.Array]:
    """A global batch, which every host holds whole, as arrays over the mesh."""

    def put_one(x: np.ndarray) -> jax.Array:
        per_host = len(x) // jax.process_count()
        mine = x[jax.process_index() * per_host :][:per_host]
        sharding = rules.batch_sharding(mesh, x.shape)
        return jax.make_array_from_process_local_data(sharding, mine, x.shape)

    return {name: put_one(x) for name, x in host_batch.items()}


# ---------------------------------------------------------------------------------------------
# Answers


class Answerer(NamedTuple):
    """What evaluation and prediction need of a program.

    Attributes:
        mesh: that parameters and batches are on.
        batch_size: rows of a batch.
        answers: jitted: params, batch -> outputs for each row, which every host sees whole.
    """

    mesh: Mesh
    batch_size: int
    answers: Callable

    def outputs(
        self, params: trees.Tree, split: Split, report: Report = silent, name: str = ''
    ) -> list[Mapping[str, np.ndarray]]:
        """The outputs for each row of a split, in the order of the rows.

        Args:
            params: on the mesh.
            split: the rows.
            report: is handed a line from time to time, which shows the progress.
            name: of the split, for that.
        """
        outputs: list[Mapping[str, np.ndarray]] = [{}] * len(split.rows)
        pending: tuple[batches.Batch, Any] | None = None

        def collect() -> None:
            if pending is None:
                return
            batch, arrays = pending[0], jax.device_get(pending[1])
            for slot, row in enumerate(batch.rows):
                outputs[row] = {name: x[slot] for name, x in arrays.items()}

        todo = batches.in_order(split.rows.tokens.lengths(), split.sizes, self.batch_size)
        for batch in terminal.track(
            todo, f'{name}: tokens answered', lambda one: one.row_length, report=report
        ):
            host_batch = split.host_batch(batch, self.batch_size)
            arrays = self.answers(params, put(self.mesh, host_batch))
            collect()  # the batch before, while the device computes this one
            pending = batch, arrays
        collect()
        return outputs

    def predict(
        self,
        params: trees.Tree,
        task: Task,
        split: Split,
        report: Report = silent,
        name: str = '',
    ) -> Predictions:
        """What the model says of a split's examples; the other arguments are those of `outputs`."""
        outputs = self.outputs(params, split, report, name)
        examples = split.loaded.examples
        values = KINDS[task.kind].answers(task, examples, split.rows, outputs)
        return Predictions(task, examples, values)


def answerer(
    config: Config,
    vocab_size: int,
    mesh: Mesh,
    outputs: Callable[[Model], Callable[[Params, Batch], dict[str, jax.Array]]],
) -> Answerer:
    """Compiles params, batch -> outputs for each row; layers are not unrolled.

    With no backward pass, unrolled layers would only take longer to compile.

    Args:
        config: of the run.
        vocab_size: tokens of the tokenizer, unpadded.
        mesh: of the run.
        outputs: makes the function to compile from a model.
    """
    model = bind(dataclasses.replace(config.model, scan_unroll=1), vocab_size)
    bound = step.on_mesh(outputs(model), mesh)
    return Answerer(mesh, config.batch_size, jax.jit(bound, out_shardings=rules.replicated(mesh)))


def task_answerer(config: Config, vocab_size: int, task: Task, mesh: Mesh) -> Answerer:
    """The answerer of a fine-tuned model."""
    shape = KINDS[task.kind].head(task)
    return answerer(config, vocab_size, mesh, lambda model: model.head(shape).answers)
