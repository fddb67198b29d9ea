"""The loop of one trial: a known number of steps, scored after each epoch.

It is shorter than `train/loop.py`, because a trial that is interrupted starts again: nothing is
saved on the way.
"""

import contextlib
import math
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from etils import epath

from electra_jax.config.settings import Config
from electra_jax.core.trees import Tree
from electra_jax.finetune import batches, results
from electra_jax.finetune.kinds.kind import Predictions
from electra_jax.finetune.program import put, put_seed
from electra_jax.finetune.run import Run
from electra_jax.runtime import distributed
from electra_jax.runtime.terminal import Progress
from electra_jax.train import signals
from electra_jax.train.clock import COMPILING, EVALUATING, Clock
from electra_jax.train.health import FINE_TUNING, Health
from electra_jax.train.metrics import Metrics, summary_line

HostBatch = Mapping[str, np.ndarray]


class Tools(NamedTuple):
    """What all trials of a process share."""

    writer: Metrics
    progress: Progress
    stop: signals.Stop
    clock: Clock


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


class Outcome(NamedTuple):
    """What a trial reached."""

    params: Tree  # of the state that counts (`config.task.keep`), on the mesh
    predicted: dict[str, Predictions]  # with these parameters, of the splits that are scored
    history: list[dict[str, float]]  # 'step' and scores after each epoch


def train(run: Run, number: int, tools: Tools) -> Outcome | None:
    """Trains for one trial; None: a signal stopped it."""
    config, program, clock = run.config, run.program, tools.clock
    before = number * config.total_steps  # steps of earlier trials, which are counted, too
    seed = seed_of(config, number)
    log = _Log(run, seed, before, tools)
    todo = _batches(run, seed)
    device_seed = put_seed(program.mesh, seed)
    state = program.fresh_state(run.source, np.uint32(seed))
    predicted: dict[str, Predictions] = {}
    best, best_score = None, -math.inf
    clock.enter(COMPILING)
    for step in range(1, config.total_steps + 1):
        batch, host_batch = next(todo)
        clock.begin_step(before + step)
        with jax.transfer_guard('disallow'):  # all that a step reads is on the devices
            state, metrics = program.step(state, batch, device_seed)
            log.finish_step()
        log.begin_step(step, metrics, host_batch)
        if step % run.epoch_steps == 0 or step == config.total_steps:
            log.finish_step()
            with clock.during(EVALUATING):
                answerer, report = program.answerer, tools.progress.print
                predicted = answerer.predict(state.params, run.scored, report)
                scores = results.scored(run.kind, seed, predicted).metrics
            log.scores(step, scores)
            if config.task.keep == 'best' and scores[run.task.headline] > best_score:
                best_score = scores[run.task.headline]
                # The next step reuses the memory of these parameters: copy them.
                best = jax.tree.map(jnp.copy, state.params), predicted
        if tools.stop.requested(before + step):
            log.finish_step()
            return None
    log.finish_step()
    return Outcome(*(best or (state.params, predicted)), log.history)


def seed_of(config: Config, number: int) -> int:
    """The seed of a trial."""
    return (config.seed + number) % 2**32


def _batches(run: Run, seed: int) -> Iterator[tuple[dict[str, jax.Array], HostBatch]]:
    """Endless batches on the mesh, each with its copy in host memory."""
    size, lengths = run.config.batch_size, run.train.rows.tokens.lengths()
    for batch in batches.endless(lengths, run.train.sizes, size, seed):
        host_batch = run.train.host_batch(batch, size)
        yield put(run.program.mesh, host_batch), host_batch


class _Log:
    """Metrics of steps, fetched a step late so that the devices never wait, and of evaluations."""

    def __init__(self, run: Run, seed: int, before: int, tools: Tools):
        self._run, self._before, self._tools = run, before, tools
        about = {'seed': seed}
        self._health = Health(run.config.health, run.folder, about, advice=FINE_TUNING)
        self._pending: tuple[int, Any, HostBatch] | None = None
        self.history: list[dict[str, float]] = []

    def begin_step(self, step: int, metrics: Any, batch: HostBatch) -> None:
        """Keeps a step's metrics, still being computed, and its batch in host memory."""
        self._pending = step, metrics, batch
        self._tools.progress.advance()

    def finish_step(self) -> None:
        """Waits for the metrics that are kept, if any; judges, writes and prints them."""
        if self._pending is None:
            return
        (step, metrics, batch), self._pending = self._pending, None
        writer, progress, _, clock = self._tools
        values = {name: float(value) for name, value in jax.device_get(metrics).items()}
        clock.end_step()
        for line in self._health.look(self._before + step, values, batch).lines:
            progress.print(line)
        config = self._run.config
        if step % config.log.every_steps == 0 or step == config.total_steps:
            values = {f'train/{name}': value for name, value in values.items()}
            writer.write(self._before + step, values)
            progress.print(f'step {self._before + step}  {summary_line(values)}', eta=True)

    def scores(self, step: int, scores: Mapping[str, float]) -> None:
        """Writes and prints an evaluation."""
        self.history.append({'step': step, **scores})
        named = {self._run.metric_name(name): value for name, value in scores.items()}
        self._tools.writer.write(self._before + step, named)
        line = results.scores_line(scores)
        self._tools.progress.print(f'step {self._before + step}  {line}')
