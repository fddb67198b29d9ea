"""A training loop without a model: a state of a few numbers, for tests of what is around it."""

import jax
import jax.numpy as jnp
import numpy as np
from etils import epath

from electra_jax.config.settings import CheckpointConfig
from electra_jax.train import loop
from electra_jax.train.checkpoint import Checkpoints
from electra_jax.train.clock import Clock, StepWork
from electra_jax.train.health import Health
from electra_jax.train.means import Means
from electra_jax.train.state import TrainState
from tests.support.configs import tiny_config

ABOUT = {'config': {'job': 'pretrain'}, 'tokenizer': {'kind': 'none'}}


def state(step: int = 0, value: float = 1.0) -> TrainState:
    w = jnp.arange(64, dtype=jnp.float32) * value
    return TrainState(jnp.int32(step), {'net': {'w': w}}, {'m': w + 1})


def abstract() -> TrainState:
    return jax.tree.map(
        lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=x.sharding), state()
    )


def after(steps: int) -> TrainState:
    """What a whole run of so many steps gives."""
    current = state()
    for number in range(1, steps + 1):
        current, _ = step(current, {'tokens': np.full((2, 2), number)})
    return current


@jax.jit
def _update(current: TrainState, number: jax.Array) -> tuple[TrainState, dict]:
    params = jax.tree.map(lambda x: 0.5 * x + number, current.params)
    metrics = {'loss': number, 'grad_norm': 1.0, 'update_norm': 1.0, 'learning_rate': 0.1}
    metrics = {name: jnp.float32(value) for name, value in metrics.items()}
    return TrainState(current.step + 1, params, current.opt_state), metrics


def step(current: TrainState, batch) -> tuple[TrainState, dict]:
    return _update(current, jax.device_put(np.float32(batch['tokens'][0, 0])))


class Batches:
    """Batch k is full of k."""

    def __init__(self):
        self.state, self.host_batch = {'next': 1}, None

    def restore(self, state):
        self.state = state

    def __next__(self):
        number = self.state['next']
        self.state = {'next': number + 1}
        self.host_batch = {
            'tokens': np.full((2, 2), number),
            'records': np.asarray([[0, number], [0, number + 1]]),
        }
        return {'tokens': self.host_batch['tokens']}


def settings(steps: int = 12, **changes):
    base = {
        'total_steps': steps,
        'checkpoint': {'every_steps': 4},
        'eval': {'every_steps': 1000},
        'log': {'every_steps': 1, 'trackers': ''},
    }
    return tiny_config(**{**base, **changes})


def open_checkpoints(workdir, keep: int = 5, printed: list | None = None, **words) -> Checkpoints:
    printed = [] if printed is None else printed
    return Checkpoints(
        epath.Path(workdir) / 'checkpoints', CheckpointConfig(keep=keep, **words), printed.append
    )


def run(workdir, config=None, printed=None, evaluate=lambda params: {'score': 1.0}, **changes):
    """Trains in `workdir`, from its newest checkpoint; `changes` replace parts of the loop."""
    config = config or settings()
    workdir = epath.Path(workdir)
    workdir.mkdir(parents=True, exist_ok=True)
    printed = [] if printed is None else printed
    batches = changes.pop('batches', None) or Batches()
    marks = changes.pop('marks', {})
    checkpoints = Checkpoints(
        workdir / 'checkpoints', config.checkpoint, printed.append, marks=marks, retry_seconds=0.01
    )
    newest = checkpoints.latest()
    health, means = Health(config.health, workdir, ABOUT, checkpoints.latest), Means()
    if newest is None:
        current = state()
    else:
        current, data_state = checkpoints.restore(newest, abstract())
        loop.restore_data_state(data_state, batches, health, means)
    tools = loop.Tools(
        step=step,
        evaluate=evaluate,
        batches=batches,
        checkpoints=checkpoints,
        about=ABOUT,
        health=health,
        clock=Clock(workdir),
        work=StepWork(tokens=4, epoch_steps=8),
        means=means,
    )._replace(**changes)
    try:
        return loop.train(config, tools, current, workdir)
    finally:
        tools.clock.write()
