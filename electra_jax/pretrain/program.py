"""From a configuration to functions over a mesh: objective, state, jitted steps.

`pretrain/job.py` joins them with the rest of a run: rows of `data.pipeline`, which `put_batch`
brings to the mesh; the checkpoint to continue from; and `train.loop`, whose outcome it reports.
"""

import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import numpy as np
from jax.sharding import Mesh

from electra_jax.config import checks, kernels
from electra_jax.config.settings import Config
from electra_jax.core import rng, trees
from electra_jax.core.batch import TEXT_ARRAYS
from electra_jax.data import pipeline
from electra_jax.model.bind import bind
from electra_jax.objectives import table
from electra_jax.objectives.definition import Objective, Vocabulary
from electra_jax.optim import optimizer, schedules
from electra_jax.parallel import mesh as meshes
from electra_jax.parallel import rules
from electra_jax.train import state, step

READ = (*TEXT_ARRAYS, pipeline.PIXELS)  # what a step may read


class Program(NamedTuple):
    """The functions of a configuration on a mesh; they need no text, only a vocabulary."""

    config: Config
    mesh: Mesh
    vocabulary: Vocabulary
    objective: Objective
    abstract_state: state.TrainState  # shapes, dtypes and shardings
    init_params: Callable[[], trees.Tree]
    fresh_state: Callable[[], state.TrainState]  # at step 0, on the mesh
    # Jitted: state, batch -> state, metrics. `schedules.Lengths` and a seed as further arguments
    # replace those that the configuration has, which are compiled in otherwise.
    step: Callable
    totals: Callable  # jitted: params, batch, batch number -> totals of an evaluation
    examine: Callable  # jitted: state, batch -> `train.step.Examination`


def build_program(
    config: Config,
    vocabulary: Vocabulary,
    devices: list[jax.Device] | None = None,
    like: Program | None = None,
) -> Program:
    """The functions of a configuration on `devices` (None: all of them); compiles nothing yet.

    `like` is the program of a configuration that differs in lengths alone: what depends on none is
    taken from it, so that it is traced and compiled once.

    Raises:
        ConfigError: mesh or batch do not fit the devices.
    """
    checks.check_positions(config)
    mesh = meshes.make_mesh(config.mesh, devices)
    kernels.check(config, mesh.devices.flat[0].platform)
    meshes.check_batch(config, mesh, meshes.num_hosts(mesh))
    objective = table.build(config, vocabulary)

    # ---- The state at step 0: parameters, Adam's moments, and what an objective or a mean keeps.
    model = bind(config.model, vocabulary.size)

    # ---- The seed is an argument, so runs with different seeds share one compiled program.
    def init_params(seed: int | jax.Array = config.seed) -> trees.Tree:
        key = rng.stream_key(rng.root_key(seed), 0, 'init')
        return model.init(key, objective.networks)

    make_optimizer = functools.partial(optimizer.build, config)
    averages = config.optimizer.average_decay is not None

    def make_state(seed: int | jax.Array) -> state.TrainState:
        init = functools.partial(init_params, seed)
        return state.fresh_state(init, make_optimizer, objective.memory, averages)

    abstract = functools.partial(state.abstract_state, lambda: make_state(config.seed), mesh)
    abstract_state = like.abstract_state if like else abstract()
    shardings = jax.tree.map(lambda leaf: leaf.sharding, abstract_state)

    # ---- The step, in which all is bound but state, batch, lengths and seed.
    def bound(function: Callable) -> Callable:
        def of_length(
            now_state: Any,
            batch: Any,
            lengths: schedules.Lengths | None = None,
            seed: int | jax.Array = config.seed,
        ) -> Any:
            now = config if lengths is None else schedules.with_lengths(config, lengths)
            # Built again while a step is traced: mask rate and temperature follow lengths that are
            # arguments of the step. The `objective` above keeps the lengths of `config`; where the
            # run gets another length, `job.correct` hands the new `metrics_after` and
            # `other_losses` to what uses them.
            one = table.build(now, vocabulary)
            problem = step.Problem(one.draw, one.loss, one.prepare, one.alone, one.remember)
            update = optimizer.build(now, abstract_state.params)
            return function(problem, update, now, seed, now_state, batch)

        return of_length

    train_step, examine_step = bound(step.train_step), bound(step.examine_step)
    program = Program(
        config=config,
        mesh=mesh,
        vocabulary=vocabulary,
        objective=objective,
        abstract_state=abstract_state,
        init_params=init_params,
        fresh_state=functools.partial(
            jax.jit(make_state, out_shardings=shardings), np.uint32(config.seed)
        ),
        step=step.compile_train_step(train_step, abstract_state, mesh),
        totals=step.compile_totals(objective.totals, objective.draw, mesh),
        examine=jax.jit(rules.on_mesh(examine_step, mesh), out_shardings=rules.replicated(mesh)),
    )
    if like is None:
        return program
    return program._replace(fresh_state=like.fresh_state, step=like.step, totals=like.totals)


class StepOfAnyLength:
    """The step (state, batch -> state, metrics), compiled once for all lengths and seeds."""

    def __init__(self, program: Program):
        self._program = program
        self._seed = rules.put_scalar(program.mesh, np.uint32(program.config.seed))
        self.set_lengths(program.config)

    def set_lengths(self, config: Config) -> None:
        """The next steps are those of a run as long as that of `config`."""
        mesh, numbers = self._program.mesh, schedules.lengths(config)
        self._lengths = schedules.Lengths(*(put_number(mesh, number) for number in numbers))

    def __call__(self, state: Any, batch: Any) -> Any:
        return self._program.step(state, batch, self._lengths, self._seed)


def put_number(mesh: Mesh, number: int) -> jax.Array:
    """A whole number on every device."""
    return rules.put_scalar(mesh, np.int32(number))


def abstract_batch(program: Program) -> dict[str, jax.ShapeDtypeStruct]:
    """Shapes and shardings of what the program's step takes."""
    config = program.config
    B, L = config.batch_size, config.data.row_length
    blank = dict.fromkeys(TEXT_ARRAYS, np.zeros((B, L), np.int32)) | blank_images(config, B)
    return {
        name: jax.ShapeDtypeStruct(
            x.shape, x.dtype, sharding=rules.batch_sharding(program.mesh, x.shape)
        )
        for name, x in blank.items()
    }


def blank_images(config: Config, rows: int) -> pipeline.HostBatch:
    """What rows of random tokens need in addition where the model reads images."""
    size = config.model.image_size
    return {} if size is None else {pipeline.PIXELS: np.zeros((rows, size, size, 3), np.uint8)}


def put_batch(mesh: Mesh, batch_size: int, host_batch: pipeline.HostBatch) -> dict[str, jax.Array]:
    """This host's rows as its part of the global arrays [B, L], of images [B, size, size, 3]."""

    def put(x: np.ndarray) -> jax.Array:
        shape = (batch_size, *x.shape[1:])
        return jax.make_array_from_process_local_data(rules.batch_sharding(mesh, shape), x, shape)

    return {name: put(host_batch[name]) for name in READ if name in host_batch}
