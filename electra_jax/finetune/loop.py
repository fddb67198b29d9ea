"""The loop of one trial: a known number of steps, scored after each epoch.

It is shorter than `train/loop.py`, because a trial that is interrupted starts again: nothing is
saved on the way.
"""

import contextlib
import math
from collections.abc import Iterator
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from etils import epath

from electra_jax.config.settings import Config
from electra_jax.core.complaints import counted
from electra_jax.core.trees import Tree
from electra_jax.data.pipeline import HostBatch
from electra_jax.finetune import batches, results
from electra_jax.finetune.kinds.kind import Predictions
from electra_jax.finetune.program import put, put_seed
from electra_jax.finetune.run import Run
from electra_jax.train import signals
from electra_jax.train.clock import EVALUATING, Clock
from electra_jax.train.health import Health
from electra_jax.train.log import Log


class Tools(NamedTuple):
    """What all trials of a process share."""

    log: Log
    stop: signals.Stop
    clock: Clock


@contextlib.contextmanager
def opened(workdir: epath.Path, config: Config, first: int, clock: Clock) -> Iterator[Tools]:
    """The tools of a run that begins with trial `first`."""
    workdir.mkdir(parents=True, exist_ok=True)
    start, end = first * config.total_steps, config.trials * config.total_steps
    log = Log(workdir, config.log, clock, start, end)
    # Only finished trials are saved.
    with contextlib.closing(log), signals.stop_signals(lambda: True) as stop:
        yield Tools(log, stop, clock)


class Outcome(NamedTuple):
    """What a trial reached."""

    params: Tree  # of the state that counts (`config.task.keep`), on the mesh
    predicted: dict[str, Predictions]  # with these parameters, of the splits that are scored
    history: list[dict[str, float]]  # 'step' and scores after each epoch


def train(run: Run, number: int, tools: Tools) -> Outcome | None:
    """Trains for one trial; None: a signal stopped it."""
    config, program, log, clock = run.config, run.program, tools.log, tools.clock
    before = number * config.total_steps  # steps of earlier trials, which are counted, too
    seed = seed_of(config, number)
    health = Health(config.health, run.folder, {'seed': seed}, warmup='task.warmup_rate')
    log.follow(health, before, before + config.total_steps, run.epoch_steps)
    todo = _batches(run, seed)
    device_seed = put_seed(program.mesh, seed)
    log.compiling()
    state = program.fresh_state(run.source, np.uint32(seed))
    predicted: dict[str, Predictions] = {}
    best, best_score, waited = None, -math.inf, 0
    history = []
    seen: set[tuple[tuple[int, ...], ...]] = set()  # shapes of batches, each with its own program
    for step in range(1, config.total_steps + 1):
        batch, host_batch = next(todo)
        clock.begin_step(before + step)
        shapes = tuple(x.shape for x in host_batch.values())
        compiles = step > 1 and shapes not in seen  # `log.compiling` shows the first one
        seen.add(shapes)
        showing = log.alive('compiling') if compiles else contextlib.nullcontext()
        # All that a step reads is on the devices.
        with showing, jax.transfer_guard('disallow'):
            state, metrics = program.step(state, batch, device_seed)
            log.finish_step()
        log.hold(before + step, metrics, host_batch)
        is_end = step % run.epoch_steps == 0 or step == config.total_steps
        if is_end and not tools.stop.has_come():
            log.finish_step()
            with clock.during(EVALUATING):
                with tools.stop.leaving():
                    predicted = program.answerer.predict(state.params, run.scored, log.print)
                if tools.stop.has_come():
                    return None
                scores = results.scored(run.kind, seed, predicted).metrics
            history.append({'step': step, **scores})
            named = {run.metric_name(name): value for name, value in scores.items()}
            line = f'step {before + step}  {results.scores_line(run.kind, scores)}'
            log.write(before + step, named, [line])
            waited += 1
            if scores[run.task.headline] > best_score:
                best_score, waited = scores[run.task.headline], 0
                if config.task.keep == 'best':
                    # The next step reuses the memory of these parameters: copy them.
                    best = jax.tree.map(jnp.copy, state.params), predicted
            if waited == config.task.patience:
                log.end_early(before + step)
                log.print(_ended_early(run, step, waited))
                break
        if tools.stop.requested(before + step):
            log.finish_step()
            return None
    log.finish_step()
    return Outcome(*(best or (state.params, predicted)), history)


def _ended_early(run: Run, step: int, waited: int) -> str:
    kept = 'the best state is kept' if run.config.task.keep == 'best' else 'this state is kept'
    return (
        f'ended after {step:,} of {run.config.total_steps:,} steps: {run.task.headline} has not '
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
