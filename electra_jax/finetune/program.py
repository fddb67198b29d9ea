"""A fine-tuning config as functions over a mesh, each compiled once for each row length."""

import functools
from collections.abc import Callable, Mapping
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh

from electra_jax.config.settings import Config
from electra_jax.core import rng, trees
from electra_jax.finetune.answers import Answerer, task_answerer
from electra_jax.finetune.kinds.kind import Batch, Task
from electra_jax.finetune.kinds.table import KINDS
from electra_jax.model.bind import Head, Model, Params, bind
from electra_jax.optim import optimizer, schedules
from electra_jax.parallel import mesh as meshes
from electra_jax.parallel import rules
from electra_jax.train import state, step


class Program(NamedTuple):
    """The functions of a fine-tuning config on a mesh, each compiled once for each row length."""

    config: Config  # with total_steps and warm-up those of the task's files
    mesh: Mesh
    abstract_state: state.TrainState  # shapes and shardings
    # Source parameters by name, seed -> the state at step 0.
    fresh_state: Callable[[Mapping[str, np.ndarray], np.uint32], state.TrainState]
    # Jitted: state, batch, seed -> state, metrics. With `schedules.Lengths` as a fourth argument it
    # takes those, and else the configuration's, as constants.
    step: Callable
    answerer: Answerer


def build_program(
    config: Config, vocab_size: int, task: Task, devices: list[jax.Device] | None = None
) -> Program:
    """A config as functions over a mesh of `devices` (all there are); compiles nothing yet.

    `vocab_size` counts the tokens of the tokenizer, unpadded.
    """
    mesh = meshes.make_mesh(config.mesh, devices)
    meshes.check_batch(config, mesh, jax.process_count())
    kind, model = KINDS[task.kind], bind(config.model, vocab_size)
    head = model.head(kind.head(task))

    # ---- The state at step 0, by parameters to start from and a seed.
    make_optimizer = functools.partial(optimizer.build, config)

    def fresh_state(source: Mapping[str, jax.Array], seed: jax.Array | int) -> state.TrainState:
        init = functools.partial(_initial_params, model, head, source, seed)
        return state.fresh_state(init, make_optimizer)

    abstract_state = state.abstract_state(lambda: fresh_state({}, 0), mesh)
    shardings = jax.tree.map(lambda leaf: leaf.sharding, abstract_state)

    # ---- The step.
    share = functools.partial(_with_shares, kind.terms, config.task.sum_loss)
    problem = step.Problem(
        draw=lambda batch, keys, number, memory: share(batch),
        loss=_make_loss(head, task),
        prepare=lambda params, number: params,
        alone=share,
    )

    def seeded_step(
        current: state.TrainState,
        batch: Batch,
        seed: jax.Array,
        lengths: schedules.Lengths | None = None,
    ) -> tuple[state.TrainState, step.Metrics]:
        # Seed and lengths are data, no constants of the program: all trials, and runs on other
        # numbers of rows, share one compilation.
        now = config if lengths is None else schedules.with_lengths(config, lengths)
        adamw = optimizer.build(now, abstract_state.params)
        return step.train_step(problem, adamw, now, seed, current, batch)

    return Program(
        config=config,
        mesh=mesh,
        abstract_state=abstract_state,
        fresh_state=jax.jit(fresh_state, out_shardings=shardings),
        step=step.compile_train_step(seeded_step, abstract_state, mesh),
        answerer=task_answerer(config, vocab_size, task, mesh),
    )


def _with_shares(
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


def _make_loss(head: Head, task: Task) -> step.Loss:
    """The task's loss of (part of) a batch, and its metrics: sums over rows of shared terms."""
    kind = KINDS[task.kind]

    def loss(
        params: Params, inputs: Batch, dropout_key: jax.Array | None, number: jax.Array
    ) -> tuple[jax.Array, dict[str, jax.Array]]:
        outputs = head.outputs(params, inputs, dropout_key)
        total = jnp.sum(inputs['share'] * kind.loss(task, outputs, inputs))
        return total, {'loss': total}

    return loss


def _initial_params(
    model: Model, head: Head, source: Mapping[str, jax.Array], seed: jax.Array | int
) -> trees.Tree:
    """Parameters at step 0: those of `source` by name, all others fresh by the seed."""
    key = rng.stream_key(rng.root_key(seed), 0, 'init')
    fresh = model.init(key, ('encoder',))
    own = head.init(jax.random.fold_in(key, 1))
    if own:
        fresh['task_head'] = own
    chosen = [source.get(name, leaf) for name, leaf in trees.named_leaves(fresh)]
    return jax.tree.unflatten(jax.tree.structure(fresh), chosen)


def put_lengths(mesh: Mesh, config: Config) -> schedules.Lengths:
    """The lengths of a trial as a step takes them, on every device."""
    numbers = schedules.lengths(config)
    return schedules.Lengths(*(rules.put_scalar(mesh, np.int32(number)) for number in numbers))


def put_seed(mesh: Mesh, seed: int) -> jax.Array:
    """A seed as a step takes it, on every device."""
    return rules.put_scalar(mesh, np.uint32(seed))
