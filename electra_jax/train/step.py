"""One optimizer step over the mesh, and one evaluation step: pure functions, compiled once.

The step knows no objective. It is handed a `Problem`, and does what is common to all: random keys,
microbatches, gradient, optimizer, metrics.
"""

import functools
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from jax.sharding import Mesh

from electra_jax.config.settings import Config, OptimizerConfig
from electra_jax.core import rng
from electra_jax.core.batch import Batch
from electra_jax.core.trees import Tree, named_leaves
from electra_jax.optim import schedules
from electra_jax.parallel import rules
from electra_jax.train.health import SKIPPED, is_good
from electra_jax.train.state import TrainState

Metrics = dict[str, jax.Array]
Draw = Callable[[Any, Mapping[str, jax.Array], jax.Array | int | None, Tree], Any]
Loss = Callable[[Tree, Any, jax.Array | None, jax.Array], tuple[jax.Array, Metrics]]


class Problem(NamedTuple):
    """What a step minimizes, as pure functions.

    Pre-training takes them from its `Objective`. Fine-tuning has no objective, and evaluates in
    another way: so a step is handed only what it calls itself, and `Draw` allows any inputs.
    """

    # Batch, random keys by stream, step (None: evaluation), memory -> inputs, whose arrays all lead
    # with B.
    draw: Draw
    # Params, inputs, dropout_key, step -> loss and metrics: sums over rows of terms whose weights
    # sum to one over the batch, so that microbatches add up.
    loss: Loss
    # Params, step -> the parameters that the step starts from: the same ones, except where
    # two-stage training copies the generator into the discriminator.
    prepare: Callable[[Tree, jax.Array], Tree]
    # A part of the inputs -> the same with weights that sum to one over that part.
    alone: Callable[[Any], Any]
    # Memory, metrics of the loss -> the memory of the next step, and the metrics without what only
    # the memory needs.
    remember: Callable[[Tree, Metrics], tuple[Tree, Metrics]] = lambda memory, metrics: (
        memory,
        metrics,
    )


def train_step(
    problem: Problem,
    optimizer: optax.GradientTransformation,
    config: Config,
    seed: int | jax.Array,
    state: TrainState,
    batch: Any,
) -> tuple[TrainState, Metrics]:
    """One step: draws, loss, gradient, clipped AdamW update.

    Args:
        optimizer: its updates include the learning rate.
        config: `optimizer.microbatches`: the gradient is summed over so many parts of the batch.
            `optimizer.clip_replicas`: so many parts have a loss and a clipped gradient each.
            `health.on_bad_step` 'skip': a bad step changes no parameter and no moment.
        seed: the random keys follow from it and from `state.step`; `config.seed`, or a trial's.
        batch: what `problem.draw` takes; int32 [B, L] arrays, global.

    Returns:
        The next state, and float32 scalars: the problem's metrics, 'grad_norm', 'update_norm'
        and 'learning_rate'; where bad steps are skipped 'skipped', 1 or 0.
    """
    state, metrics, grads = gradients(problem, config, seed, state, batch)
    memory, metrics = problem.remember(state.memory, metrics)
    updates, opt_state = optimizer.update(grads, state.opt_state, state.params)
    params = optax.apply_updates(state.params, updates)
    average, average_decay = state.average, config.optimizer.average_decay
    if average_decay is not None:
        average = problem.prepare(average, state.step)
        average = running_mean(average, params, state.step, average_decay)
    learning_rate = schedules.from_config(config, config.optimizer.learning_rate)
    metrics = {
        **metrics,
        'grad_norm': optax.tree.norm(grads),
        'update_norm': optax.tree.norm(updates),
        'learning_rate': learning_rate(state.step),
    }
    after = TrainState(state.step + 1, params, opt_state, memory, average)
    if config.health.on_bad_step == 'skip':
        good = is_good(config.health, metrics)
        after = jax.tree.map(functools.partial(_unless_bad, good), after, state)
        metrics[SKIPPED] = 1.0 - good
    return after, metrics


def running_mean(mean: Tree, params: Tree, step: jax.Array, decay: float) -> Tree:
    """The mean of the steps before, with the parameters after `step`, which counts from 0.

    The share of the mean that is kept is `decay`, and at first (1 + step) / (10 + step): so it
    forgets the parameters of step 0 (TensorFlow's ExponentialMovingAverage).
    """
    now = step.astype(jnp.float32)
    kept = jnp.minimum(decay, (1 + now) / (10 + now))
    return jax.tree.map(lambda old, new: kept * old + (1 - kept) * new, mean, params)


def _unless_bad(good: jax.Array, new: jax.Array, old: jax.Array) -> jax.Array:
    """Counts advance even in a bad step, so that schedules stay with the step."""
    return new if jnp.issubdtype(new.dtype, jnp.integer) else jnp.where(good, new, old)


class Examination(NamedTuple):
    """Values that a step computes on its way, and that training does not keep."""

    metrics: Metrics  # the problem's, float32 scalars
    # 'parameters', 'gradients', 'updates' -> path of each array -> its norm.
    norms: dict[str, dict[str, jax.Array]]
    # The same -> how many of its elements are not finite, int32.
    bad: dict[str, dict[str, jax.Array]]


def examine_step(
    problem: Problem,
    optimizer: optax.GradientTransformation,
    config: Config,
    seed: int | jax.Array,
    state: TrainState,
    batch: Any,
) -> Examination:
    """Looks into the computation of `train_step`; the arguments are the same."""
    state, metrics, grads = gradients(problem, config, seed, state, batch)
    _, metrics = problem.remember(state.memory, metrics)
    updates, _ = optimizer.update(grads, state.opt_state, state.params)
    groups = {
        name: dict(named_leaves(tree))
        for name, tree in (('parameters', state.params), ('gradients', grads), ('updates', updates))
    }
    return Examination(
        metrics,
        jax.tree.map(lambda x: jnp.sqrt(jnp.sum(jnp.square(x))), groups),
        jax.tree.map(lambda x: jnp.sum(~jnp.isfinite(x), dtype=jnp.int32), groups),
    )


def gradients(
    problem: Problem, config: Config, seed: int | jax.Array, state: TrainState, batch: Any
) -> tuple[TrainState, Metrics, Tree]:
    """The first half of `train_step`: the prepared state, the problem's metrics, the gradient."""
    keys = rng.step_keys(rng.root_key(seed), state.step)
    state = state._replace(params=problem.prepare(state.params, state.step))
    inputs = problem.draw(batch, keys, state.step, state.memory)
    gradient = jax.value_and_grad(problem.loss, has_aux=True)
    parts = config.optimizer.microbatches
    if config.optimizer.clip_replicas > 1:
        gradient = _clipped(gradient, problem.alone, config.optimizer)
        parts = config.optimizer.clip_replicas
    if parts > 1:
        metrics, grads = _accumulate(gradient, state, inputs, keys['dropout'], parts)
    else:
        (_, metrics), grads = gradient(state.params, inputs, keys['dropout'], state.step)
    return state, metrics, grads


def _clipped(gradient: Callable, alone: Callable[[Any], Any], config: OptimizerConfig) -> Callable:
    """The gradient as one replica of the reference computes it.

    Metrics are means over replicas; arrays, which count what was observed, are sums.
    """
    clip = optax.clip_by_global_norm(config.clip_norm)

    def share(x: jax.Array) -> jax.Array:
        return x if x.ndim else x / config.clip_replicas

    def replica(params: Tree, part: Any, key: jax.Array, step: jax.Array) -> tuple:
        (value, metrics), grads = gradient(params, alone(part), key, step)
        grads, _ = clip.update(grads, clip.init(params))
        return (value, jax.tree.map(share, metrics)), grads

    return replica


def _accumulate(
    gradient: Callable, state: TrainState, inputs: Any, dropout_key: jax.Array, parts: int
) -> tuple[Metrics, Tree]:
    """Sums metrics and gradients over equal parts of the batch, one after another."""

    # Part i takes rows i, i + parts, ...: each device's own rows, so nothing moves.
    def split(x: jax.Array) -> jax.Array:
        return x.reshape(x.shape[0] // parts, parts, *x.shape[1:]).swapaxes(0, 1)

    def part_gradient(part: tuple) -> tuple[Metrics, Tree]:
        number, part_inputs = part
        key = jax.random.fold_in(dropout_key, number)
        (_, metrics), grads = gradient(state.params, part_inputs, key, state.step)
        return metrics, grads

    def add(total: tuple[Metrics, Tree], part: tuple) -> tuple[tuple[Metrics, Tree], None]:
        return jax.tree.map(jnp.add, total, part_gradient(part)), None

    numbered = (jnp.arange(parts), jax.tree.map(split, inputs))
    first = jax.tree.map(lambda x: x[0], numbered)
    zero = jax.tree.map(lambda x: jnp.zeros(x.shape, x.dtype), jax.eval_shape(part_gradient, first))
    total, _ = jax.lax.scan(add, zero, numbered)
    return total


def compile_train_step(
    step: Callable[..., tuple[TrainState, Metrics]], state: TrainState, mesh: Mesh
) -> Callable[..., tuple[TrainState, Metrics]]:
    """`train_step` as one jitted program over `mesh` that donates its state.

    All of `step` is bound but state, batch and what a job adds; `state` is abstract.
    """
    shardings = jax.tree.map(lambda leaf: leaf.sharding, state)
    out_shardings = (shardings, rules.replicated(mesh))
    return jax.jit(rules.on_mesh(step, mesh), out_shardings=out_shardings, donate_argnums=0)


def compile_totals(
    totals: Callable[..., Metrics], draw: Draw, mesh: Mesh
) -> Callable[[Tree, Batch, jax.Array], Metrics]:
    """An evaluation step (params, batch, batch number) -> additive float32 totals.

    The draws depend on the batch's number alone, not on the training step or the run's seed:
    every evaluation masks the same positions, so that numbers can be compared.
    """

    def step(params: Tree, batch: Batch, number: jax.Array) -> Metrics:
        key = rng.stream_key(rng.root_key(0), number, 'evaluate')
        return totals(params, draw(batch, rng.step_keys(key, 0), None, None))

    return jax.jit(rules.on_mesh(step, mesh), out_shardings=rules.replicated(mesh))
