"""One optimizer step over the mesh, and one evaluation step: pure functions, compiled once.

The step knows no objective: it is handed `draw` (batch and keys to inputs) and `loss` (params and
inputs to a sum over rows), and does what is common to all: keys, parts of a batch, gradient,
optimizer, metrics.
"""

import functools
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from jax.sharding import Mesh

from electra_jax.config.settings import HealthConfig, OptimizerConfig
from electra_jax.core import rng
from electra_jax.core.dims import sharding_activations
from electra_jax.core.trees import Tree, named_leaves
from electra_jax.optim.schedules import Schedule
from electra_jax.parallel import rules
from electra_jax.train.health import SKIPPED, is_good
from electra_jax.train.state import TrainState

Batch = Mapping[str, jax.Array]
Metrics = dict[str, jax.Array]
Draw = Callable[[Batch, Mapping[str, jax.Array], jax.Array], Any]
Loss = Callable[..., tuple[jax.Array, Metrics]]


def train_step(
    draw: Draw,
    loss: Loss,
    prepare: Callable[[Tree, jax.Array], Tree],
    alone: Callable[[Any], Any],
    optimizer: optax.GradientTransformation,
    learning_rate: Schedule,
    seed: int,
    settings: OptimizerConfig,
    health: HealthConfig,
    state: TrainState,
    batch: Batch,
) -> tuple[TrainState, Metrics]:
    """One step: draws, loss, gradient, clipped AdamW update.

    Args:
        draw, loss, prepare, alone: of the objective; the loss is a sum over rows of globally
            normalized terms.
        optimizer: its updates include the learning rate.
        learning_rate: for the metric only.
        seed: of the run; keys follow from it and from `state.step`.
        settings: for `microbatches` (the gradient is summed over this many parts of the batch)
            and `clip_replicas` (so many parts with a loss and a clipped gradient each).
        health: for `on_bad_step`: with 'skip', a bad step changes no parameter and no moment.
        state: before the step.
        batch: int32 [B, L] arrays, global.

    Returns:
        The next state, and float32 scalars: the objective's metrics, 'grad_norm',
        'update_norm' and 'learning_rate'; where bad steps are skipped 'skipped', 1 or 0.
    """
    state, metrics, grads = gradients(draw, loss, prepare, alone, seed, settings, state, batch)
    updates, opt_state = optimizer.update(grads, state.opt_state, state.params)
    params = optax.apply_updates(state.params, updates)
    metrics = {
        **metrics,
        'grad_norm': optax.tree.norm(grads),
        'update_norm': optax.tree.norm(updates),
        'learning_rate': learning_rate(state.step),
    }
    after = TrainState(state.step + 1, params, opt_state)
    if health.on_bad_step == 'skip':
        good = is_good(health, metrics)
        after = jax.tree.map(functools.partial(_unless_bad, good), after, state)
        metrics[SKIPPED] = 1.0 - good
    return after, metrics


class Examination(NamedTuple):
    """What a step computes on its way; nothing of it is kept in training.

    Attributes:
      metrics: the objective's terms, float32 scalars.
      norms: 'parameters', 'gradients', 'updates' -> path of each array -> its norm.
      bad: the same -> how many of its elements are not finite, int32.
    """

    metrics: Metrics
    norms: dict[str, dict[str, jax.Array]]
    bad: dict[str, dict[str, jax.Array]]


def examine_step(
    draw: Draw,
    loss: Loss,
    prepare: Callable[[Tree, jax.Array], Tree],
    alone: Callable[[Any], Any],
    optimizer: optax.GradientTransformation,
    seed: int,
    settings: OptimizerConfig,
    state: TrainState,
    batch: Batch,
) -> Examination:
    """The same computation as `train_step`, for looking into it."""
    state, metrics, grads = gradients(draw, loss, prepare, alone, seed, settings, state, batch)
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


def _unless_bad(good: jax.Array, new: jax.Array, old: jax.Array) -> jax.Array:
    """Counts go on whatever happens, so that schedules stay with the step."""
    return new if jnp.issubdtype(new.dtype, jnp.integer) else jnp.where(good, new, old)


def gradients(
    draw: Draw,
    loss: Loss,
    prepare: Callable[[Tree, jax.Array], Tree],
    alone: Callable[[Any], Any],
    seed: int,
    settings: OptimizerConfig,
    state: TrainState,
    batch: Batch,
) -> tuple[TrainState, Metrics, Tree]:
    """The first half of `train_step`: the prepared state, the objective's metrics, the gradient."""
    keys = rng.step_keys(rng.root_key(seed), state.step)
    state = state._replace(params=prepare(state.params, state.step))
    inputs = draw(batch, keys, state.step)
    gradient = jax.value_and_grad(loss, has_aux=True)
    parts = settings.microbatches
    if settings.clip_replicas > 1:
        gradient, parts = _clipped(gradient, alone, settings), settings.clip_replicas
    if parts > 1:
        metrics, grads = _accumulate(gradient, state, inputs, keys['dropout'], parts)
    else:
        (_, metrics), grads = gradient(state.params, inputs, keys['dropout'], state.step)
    return state, metrics, grads


def _clipped(
    gradient: Callable, alone: Callable[[Any], Any], settings: OptimizerConfig
) -> Callable:
    """The gradient as one replica of the reference computes it; metrics are means over replicas."""
    clip = optax.clip_by_global_norm(settings.clip_norm)

    def replica(params: Tree, part: Any, key: jax.Array, step: jax.Array) -> tuple:
        (value, metrics), grads = gradient(params, alone(part), key, step)
        grads, _ = clip.update(grads, clip.init(params))
        return (value, jax.tree.map(lambda x: x / settings.clip_replicas, metrics)), grads

    return replica


def _accumulate(
    gradient: Callable,
    state: TrainState,
    inputs: Any,
    dropout_key: jax.Array,
    parts: int,
) -> tuple[Metrics, Tree]:
    """Sums metrics and gradients over equal parts of the batch, one after another."""

    # Part i takes rows i, i + parts, ...: each device's own rows, so nothing moves.
    def split(x: jax.Array) -> jax.Array:
        return x.reshape(x.shape[0] // parts, parts, *x.shape[1:]).swapaxes(0, 1)

    def add(total: tuple[Metrics, Tree], part: tuple) -> tuple[tuple[Metrics, Tree], None]:
        number, part_inputs = part
        key = jax.random.fold_in(dropout_key, number)
        (_, metrics), grads = gradient(state.params, part_inputs, key, state.step)
        return jax.tree.map(jnp.add, total, (metrics, grads)), None

    numbered = (jnp.arange(parts), jax.tree.map(split, inputs))
    first = jax.tree.map(lambda x: x[0], numbered)
    zero = jax.tree.map(
        lambda x: jnp.zeros(x.shape, x.dtype),
        jax.eval_shape(lambda part: _part_shapes(gradient, state, part, dropout_key), first),
    )
    total, _ = jax.lax.scan(add, zero, numbered)
    return total


def _part_shapes(gradient: Callable, state: TrainState, part: tuple, key: jax.Array):
    """Metrics and gradients of one part; only ever traced, for their shapes."""
    (_, metrics), grads = gradient(state.params, part[1], key, state.step)
    return metrics, grads


def compile_train_step(
    step: Callable[[TrainState, Batch], tuple[TrainState, Metrics]],
    state: TrainState,
    mesh: Mesh,
) -> Callable[[TrainState, Batch], tuple[TrainState, Metrics]]:
    """`step` as one jitted program over `mesh` that donates its state.

    Args:
        step: `train_step` with all but state and batch bound.
        state: abstract (`train.state.abstract_state`), for the shardings.
        mesh: of the run; the batch is expected as `parallel.rules.batch_sharding` lays it.
    """
    shardings = jax.tree.map(lambda leaf: leaf.sharding, state)
    return jax.jit(
        on_mesh(step, mesh),
        out_shardings=(shardings, rules.replicated(mesh)),
        donate_argnums=0,
    )


def compile_examination(
    step: Callable[[TrainState, Batch], Examination], mesh: Mesh
) -> Callable[[TrainState, Batch], Examination]:
    """`examine_step`, with all but state and batch bound, as a program that keeps its inputs."""
    return jax.jit(on_mesh(step, mesh), out_shardings=rules.replicated(mesh))


def on_mesh(function: Callable, mesh: Mesh) -> Callable:
    """`function` with the model's arrays laid over `mesh` while it is traced."""

    def bound(*args):
        with sharding_activations(rules.activation_layout(mesh)):
            return function(*args)

    return bound


_EVALUATION_SEED = 0


def compile_totals(
    totals: Callable[..., Metrics], draw: Draw, mesh: Mesh
) -> Callable[[Tree, Batch, jax.Array], Metrics]:
    """An evaluation step (params, batch, batch number) -> additive float32 totals.

    The draws depend on the batch's number alone, not on the training step or the run's seed:
    every evaluation masks the same positions, so that numbers can be compared.
    """

    def step(params: Tree, batch: Batch, number: jax.Array) -> Metrics:
        key = rng.stream_key(rng.root_key(_EVALUATION_SEED), number, 'evaluate')
        return totals(params, draw(batch, rng.step_keys(key, 0), 0))

    return jax.jit(on_mesh(step, mesh), out_shardings=rules.replicated(mesh))
