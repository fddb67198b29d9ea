"""The loop of one trial: a known number of steps, scored after each epoch.

It is shorter than `train/loop.py`, because a trial that is interrupted starts again: nothing is
saved on the way.
"""

import contextlib
import math
from collections.abc import Iterator, Mapping
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from etils import epath

from electra_jax.config.settings import Config
from electra_jax.core import trees
from electra_jax.core.complaints import counted
from electra_jax.core.trees import Tree
from electra_jax.data.pipeline import HostBatch
from electra_jax.finetune import batches, results
from electra_jax.finetune.answers import put
from electra_jax.finetune.kinds.kind import Predictions
from electra_jax.finetune.program import put_lengths, put_seed
from electra_jax.finetune.run import Judge, Run
from electra_jax.train import signals
from electra_jax.train.clock import COMPILING, EVALUATING, Clock
from electra_jax.train.health import Health
from electra_jax.train.log import Log


class Tools(NamedTuple):
    """What all trials of a process share."""

    log: Log
    stop: signals.Stop
    clock: Clock
    shapes: set[tuple[tuple[int, ...], ...]]  # of batches so far, each with a program of its own


@contextlib.contextmanager
def opened(workdir: epath.Path, config: Config, first: int, clock: Clock) -> Iterator[Tools]:
    """The tools of a run that begins with trial `first`."""
    workdir.mkdir(parents=True, exist_ok=True)
    start, end = first * config.total_steps, config.trials * config.total_steps
    log = Log(workdir, config.log, clock, start, end)
    # Only finished trials are saved.
    signals_end = signals.stop_signals(
        lambda: clock.phase == COMPILING,
        may_end=lambda: True,
        kept='finished trials kept; the trial under way begins again',
    )
    with contextlib.closing(log), signals_end as stop:
        yield Tools(log, stop, clock, set())


class Outcome(NamedTuple):
    """What a trial reached."""

    # Of the state that counts (`config.task.keep`), or a mean (`average_last`); on the mesh.
    params: Tree
    predicted: dict[str, Predictions]  # with these parameters, of the splits that are scored
    # 'step' and scores after each epoch; last those of `predicted`, where they are others.
    history: list[dict[str, float]]


def train(run: Run, number: int, tools: Tools) -> Outcome | None:
    """Trains for one trial; None: a signal stopped it."""
    config, program, log, clock = run.config, run.program, tools.log, tools.clock
    before = number * config.total_steps  # steps of earlier trials, which are counted, too
    seed = seed_of(config, number)
    health = Health(config.health, run.folder, {'seed': seed}, warmup='task.warmup_rate')
    log.follow(health, before, before + config.total_steps, run.epoch_steps)
    todo = _batches(run, seed)
    device_seed, lengths = put_seed(program.mesh, seed), put_lengths(program.mesh, config)
    batch, host_batch = next(todo)
    log.compiling(_described(config, host_batch))
    state = program.fresh_state(run.source, np.uint32(seed))
    kept, history, ends = _Kept(run), [], run.epoch_ends
    for step in range(1, config.total_steps + 1):
        if step > 1:
            batch, host_batch = next(todo)
        clock.begin_step(before + step)
        shapes = tuple(x.shape for x in host_batch.values())
        compiles = step > 1 and shapes not in tools.shapes  # `log.compiling` shows the first one
        if compiles:
            log.finish_step()
        tools.shapes.add(shapes)
        clock.count_programs(len(tools.shapes), len(run.train.sizes))
        what = _described(config, host_batch)
        showing = log.another_shape(what) if compiles else contextlib.nullcontext()
        # All that a step reads is on the devices.
        with jax.transfer_guard('disallow'):
            with showing:
                state, metrics = program.step(state, batch, device_seed, lengths)
            log.finish_step()
        log.hold(before + step, metrics, host_batch)
        if step in ends and not tools.stop.has_come():
            log.finish_step()
            found = _scored(run, tools, before + step, state.params, run.interim)
            if found is None:
                return None
            predicted, scores = found
            history.append({'step': step, **scores})
            kept.see(step, state.params, predicted, scores)
            if kept.waited == config.task.patience:
                log.end_early(before + step)
                log.print(_ended_early(run, step, kept.waited))
                break
        if tools.stop.requested(before + step):
            log.finish_step()
            return None
    log.finish_step()
    params, predicted = kept.params or state.params, kept.predicted
    if run.interim is not run.final or config.task.average_last is not None:
        if config.task.average_last is not None:
            log.print(f'the mean of the states after the last {kept.averaged} epochs counts')
        found = _scored(run, tools, before + step, params, run.final)
        if found is None:
            return None
        predicted, scores = found
        history.append({'step': step, **scores})
    return Outcome(params, predicted, history)


def _scored(
    run: Run, tools: Tools, step: int, params: Tree, judge: Judge
) -> tuple[dict[str, Predictions], dict[str, float]] | None:
    """The answers to what is scored, and their scores, which are logged; None: a signal came."""
    with tools.clock.during(EVALUATING):
        predicted = tools.stop.unless_asked(
            lambda: judge.answerer.predict(params, judge.splits, tools.log.print)
        )
        if predicted is None:
            return None
        scores = dict(results.scored(0, predicted).metrics)
    named = {run.metric_name(name): value for name, value in scores.items()}
    tools.log.write(step, named, [f'step {step}  {results.scores_line(scores)}'])
    return predicted, scores


class _Kept:
    """Which parameters of a trial count, of those that are seen after its epochs."""

    def __init__(self, run: Run) -> None:
        self.params: Tree | None = None  # of the best state, or a mean; None: those of the last
        self.predicted: dict[str, Predictions] = {}
        self.averaged = 0
        self.waited = 0  # epochs since the best score
        self._best_score = -math.inf
        self._keeps_best = run.config.task.keep == 'best'
        self._headline = run.interim.headline
        last = run.config.task.average_last
        self._averaged_steps = run.epoch_ends[-last:] if last is not None else ()
        self._updated_mean = jax.jit(trees.updated_mean)

    def see(
        self,
        step: int,
        params: Tree,
        predicted: dict[str, Predictions],
        scores: Mapping[str, float],
    ) -> None:
        """Takes note of the state after an epoch, whose memory the next step reuses."""
        self.waited += 1
        is_best = scores[self._headline] > self._best_score
        if is_best:
            self._best_score, self.waited = scores[self._headline], 0
        if is_best or not self._keeps_best:
            self.predicted = predicted
        if is_best and self._keeps_best:
            self.params = jax.tree.map(jnp.copy, params)
        if step in self._averaged_steps:
            self.averaged += 1
            if self.params is None:
                self.params = jax.tree.map(jnp.copy, params)
            else:
                self.params = self._updated_mean(self.params, params, np.float32(self.averaged))


def _described(config: Config, host_batch: HostBatch) -> str:
    """What is compiled for a batch, for people."""
    return f'a step of {config.batch_size} rows of {host_batch["tokens"].shape[1]} tokens'


def _ended_early(run: Run, step: int, waited: int) -> str:
    kept = 'the best state is kept' if run.config.task.keep == 'best' else 'this state is kept'
    return (
        f'ended after {step:,} of {run.config.total_steps:,} steps: {run.interim.headline} has not '
        f'become better for {counted(waited, "epochs")} (config.task.patience); {kept}'
    )


def seed_of(config: Config, number: int) -> int:
    """The seed of a trial."""
    return (config.seed + number) % 2**32


def _batches(run: Run, seed: int) -> Iterator[tuple[dict[str, jax.Array], HostBatch]]:
    """Endless batches on the mesh, each with its copy in host memory."""
    size, lengths = run.config.batch_size, run.train.rows.lengths()
    for batch in batches.endless(lengths, run.train.sizes, size, seed):
        host_batch = run.train.host_batch(batch, size)
        yield put(run.program.mesh, host_batch), host_batch
