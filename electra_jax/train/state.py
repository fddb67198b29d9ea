"""The training state: everything that a step changes."""

import typing
from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax.sharding import Mesh

from electra_jax.core.trees import Tree
from electra_jax.parallel.rules import state_shardings

if typing.TYPE_CHECKING:
    import optax

    MakeOptimizer = Callable[[Tree], optax.GradientTransformation]


class TrainState(NamedTuple):
    """Parameters and optimizer state after `step` steps. Randomness needs no place here."""

    step: jax.Array  # int32, steps taken
    params: Tree
    opt_state: Tree
    memory: Tree = None  # what the objective keeps from step to step; None: nothing
    average: Tree = None  # a running mean of the parameters; None: there is none


def abstract_state(make_state: Callable[[], TrainState], mesh: Mesh) -> TrainState:
    """Shapes, dtypes and shardings of the state, without any array being made."""
    shapes = jax.eval_shape(make_state)
    return jax.tree.map(
        lambda leaf, sharding: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=sharding),
        shapes,
        state_shardings(shapes, mesh),
    )


def fresh_state(
    init_params: Callable[[], Tree],
    make_optimizer: 'MakeOptimizer',
    init_memory: Callable[[], Tree] = lambda: None,
    with_average: bool = False,
) -> TrainState:
    """The state at step 0; run it under jit with the shardings of `abstract_state`."""
    params = init_params()
    opt_state = make_optimizer(params).init(params)
    average = jax.tree.map(jnp.copy, params) if with_average else None
    return TrainState(jnp.zeros((), jnp.int32), params, opt_state, init_memory(), average)
