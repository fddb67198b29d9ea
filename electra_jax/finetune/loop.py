"""The loop of one fine-tuning run: a known number of steps, scored after each epoch.

Shorter than `train/loop.py`, because a trial that is cut off is done again from its start: nothing
is saved on the way.
"""

import contextlib
from collections.abc import Callable, Iterator, Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from etils import epath

from electra_jax.core.trees import Tree
from electra_jax.runtime import distributed
from electra_jax.runtime.terminal import Progress
from electra_jax.train import clock, signals
from electra_jax.train.clock import Clock
from electra_jax.train.health import Health
from electra_jax.train.metrics import Metrics, summary_line
from electra_jax.train.state import TrainState

DeviceBatch = Mapping[str, jax.Array]
HostBatch = Mapping[str, np.ndarray]


class Plan(NamedTuple):
    """How long a trial is, and what it is called."""

    seed: int
    steps: int
    epoch_steps: int  # scored after each so many, and at the end
    before: int  # steps of earlier trials, for the writer's count
    log_every: int
    names: Callable[[str], str]  # name of a score -> its name among the metrics
    keep: str  # 'last' or 'best' by `score`
    score: Callable[[Mapping[str, float]], float]  # the higher, the better
    show: Callable[[Mapping[str, float]], str]  # scores on a line, as people read them


class Parts(NamedTuple):
    """What the loop is handed; it knows no task."""

    step: Callable[[TrainState, DeviceBatch, np.uint32], tuple[TrainState, DeviceBatch]]
    batches: Iterator[tuple[DeviceBatch, HostBatch]]
    evaluate: Callable[[Tree], dict[str, float]]  # params -> scores by name
    writer: Metrics
    progress: Progress
    stop: signals.Stop
    health: Health
    clock: Clock


class Outcome(NamedTuple):
    """What a trial reached.

    Attributes:
      params: that count (`Plan.keep`), on the mesh.
      scores: of these parameters.
      history: (step, scores) after each epoch.
      stopped_by: the signal's name, if one ended the trial before its time.
    """

    params: Tree
    scores: dict[str, float]
    history: list[tuple[int, dict[str, float]]]
    stopped_by: str | None


def train(plan: Plan, parts: Parts, state: TrainState) -> Outcome:
    """Trains from `state`, whose buffers are donated.

    Raises:
        NonFiniteError: the loss, gradient or update of a step is not finite.
    """
    history: list[tuple[int, dict[str, float]]] = []
    kept: tuple[Tree, dict[str, float]] | None = None
    pending: tuple[int, Any, HostBatch] | None = None

    def look() -> None:
        """Fetches the pending step's metrics: a step late, so that the device never waits."""
        nonlocal pending
        if pending is None:
            return
        number, metrics, batch = pending
        pending = None
        values = {k: float(v) for k, v in jax.device_get(metrics).items()}
        parts.clock.end_step()
        seen = parts.health.look(plan.before + number, values, batch)
        for line in seen.lines:
            parts.progress.print(line)
        if number % plan.log_every == 0 or number == plan.steps:
            values = {f'train/{name}': value for name, value in values.items()}
            parts.writer.write(plan.before + number, values)
            parts.progress.print(f'step {plan.before + number}  {summary_line(values)}', eta=True)

    parts.clock.enter(clock.COMPILING)
    for number in range(1, plan.steps + 1):
        batch, host_batch = next(parts.batches)
        parts.clock.begin_step(plan.before + number)
        state, metrics = parts.step(state, batch, np.uint32(plan.seed))
        look()
        pending = number, metrics, host_batch
        parts.progress.advance()
        if number % plan.epoch_steps == 0 or number == plan.steps:
            look()
            with parts.clock.during(clock.EVALUATING):
                scores = parts.evaluate(state.params)
            history.append((number, scores))
            parts.writer.write(plan.before + number, {plan.names(k): v for k, v in scores.items()})
            parts.progress.print(f'step {plan.before + number}  {plan.show(scores)}')
            if plan.keep == 'best' and (kept is None or plan.score(scores) > plan.score(kept[1])):
                # The next step reuses the memory of these parameters: a copy.
                kept = jax.tree.map(jnp.copy, state.params), scores
        if parts.stop.requested(plan.before + number):
            look()
            return Outcome(state.params, {}, history, parts.stop.name)
    look()
    params, scores = kept or (state.params, history[-1][1])
    return Outcome(params, scores, history, None)


@contextlib.contextmanager
def files(workdir: epath.Path, start: int, end: int, tensorboard: bool) -> Iterator[tuple]:
    """Writer, progress and stop signal of a run of trials: (Metrics, Progress, Stop)."""
    workdir.mkdir(parents=True, exist_ok=True)
    progress = Progress(
        'training', end, start, 'steps', line_seconds=None, quiet=not distributed.is_first()
    )
    writer = Metrics(workdir, start, tensorboard, progress.print)
    with contextlib.ExitStack() as cleanup, signals.stop_signals() as stop:
        for close in (writer.close, progress.close):
            cleanup.callback(close)
        yield writer, progress, stop
