"""The loop of one trial: a known number of steps, scored after each epoch.

It is shorter than `train/loop.py`, because a trial that is interrupted starts again: nothing is
saved on the way.
"""

import contextlib
from collections.abc import Callable, Iterator, Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from etils import epath

from electra_jax.config.settings import Config
from electra_jax.core.trees import Tree
from electra_jax.finetune.results import scores_line
from electra_jax.runtime import distributed
from electra_jax.runtime.terminal import Progress
from electra_jax.train import signals
from electra_jax.train.clock import COMPILING, EVALUATING, Clock
from electra_jax.train.health import Health
from electra_jax.train.metrics import Metrics, summary_line
from electra_jax.train.state import TrainState

DeviceBatch = Mapping[str, jax.Array]
HostBatch = Mapping[str, np.ndarray]
Step = Callable[[TrainState, DeviceBatch, np.uint32], tuple[TrainState, DeviceBatch]]


class Plan(NamedTuple):
    """How long a trial is, and how its scores are named and compared.

    Attributes:
        seed: of the trial.
        steps: its length.
        epoch_steps: it is scored after each so many steps, and at the end.
        before: steps of earlier trials, which the writer counts, too.
        log_every: steps between two lines about the loss.
        metric_name: name of a score -> its name among the metrics.
        keep: the state that counts: 'last', or 'best' by `headline`.
        headline: name of the score that stands for the task; the higher, the better.
    """

    seed: int
    steps: int
    epoch_steps: int
    before: int
    log_every: int
    metric_name: Callable[[str], str]
    keep: str
    headline: str


class Tools(NamedTuple):
    """What all trials of a process share."""

    writer: Metrics
    progress: Progress
    stop: signals.Stop
    clock: Clock


class Outcome(NamedTuple):
    """What a trial reached.

    Attributes:
        params: of the state that counts (`Plan.keep`), on the mesh.
        scores: of these parameters.
        history: (step, scores) after each epoch.
        stopped_by: the signal's name, if one ended the trial early.
    """

    params: Tree
    scores: dict[str, float]
    history: list[tuple[int, dict[str, float]]]
    stopped_by: str | None


def train(
    plan: Plan,
    step: Step,
    batches: Iterator[tuple[DeviceBatch, HostBatch]],
    evaluate: Callable[[Tree], dict[str, float]],
    health: Health,
    tools: Tools,
    state: TrainState,
) -> Outcome:
    """Trains for one trial.

    Args:
        plan: of the trial.
        step: jitted: state, batch, seed -> state, metrics.
        batches: endless.
        evaluate: parameters -> scores by name.
        health: checks the metrics of each step.
        tools: of the process.
        state: at step 0; its buffers are donated.

    Raises:
        NonFiniteError: the loss, gradient or update of a step is not finite.
    """
    writer, progress, stop, clock = tools
    history: list[tuple[int, dict[str, float]]] = []
    kept: tuple[Tree, dict[str, float]] | None = None
    pending: tuple[int, Any, HostBatch] | None = None

    def fetch() -> None:
        """Fetches the pending step's metrics: a step late, so that the device never waits."""
        nonlocal pending
        if pending is None:
            return
        number, metrics, batch = pending
        pending = None
        values = {k: float(v) for k, v in jax.device_get(metrics).items()}
        clock.end_step()
        for line in health.look(plan.before + number, values, batch).lines:
            progress.print(line)
        if number % plan.log_every == 0 or number == plan.steps:
            values = {f'train/{name}': value for name, value in values.items()}
            writer.write(plan.before + number, values)
            progress.print(f'step {plan.before + number}  {summary_line(values)}', eta=True)

    clock.enter(COMPILING)
    for number in range(1, plan.steps + 1):
        batch, host_batch = next(batches)
        clock.begin_step(plan.before + number)
        state, metrics = step(state, batch, np.uint32(plan.seed))
        fetch()
        pending = number, metrics, host_batch
        progress.advance()
        if number % plan.epoch_steps == 0 or number == plan.steps:
            fetch()
            with clock.during(EVALUATING):
                scores = evaluate(state.params)
            history.append((number, scores))
            named = {plan.metric_name(name): value for name, value in scores.items()}
            writer.write(plan.before + number, named)
            progress.print(f'step {plan.before + number}  {scores_line(scores)}')
            best = kept is None or scores[plan.headline] > kept[1][plan.headline]
            if plan.keep == 'best' and best:
                # The next step reuses the memory of these parameters: copy them.
                kept = jax.tree.map(jnp.copy, state.params), scores
        if stop.requested(plan.before + number):
            fetch()
            return Outcome(state.params, {}, history, stop.name)
    fetch()
    params, scores = kept or (state.params, history[-1][1])
    return Outcome(params, scores, history, None)


@contextlib.contextmanager
def opened(workdir: epath.Path, config: Config, first: int, clock: Clock) -> Iterator[Tools]:
    """The tools of a run that begins with trial `first`."""
    workdir.mkdir(parents=True, exist_ok=True)
    start, end = first * config.total_steps, config.trials * config.total_steps
    progress = Progress(
        'training', end, start, 'steps', line_seconds=None, quiet=not distributed.is_first()
    )
    writer = Metrics(workdir, start, config.log.tensorboard, progress.print)
    with contextlib.ExitStack() as cleanup, signals.stop_signals() as stop:
        for close in (writer.close, progress.close):
            cleanup.callback(close)
        yield Tools(writer, progress, stop, clock)
