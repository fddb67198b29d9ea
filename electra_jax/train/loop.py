"""The training loop: step, look, save, and stop cleanly whatever happens."""

import contextlib
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import jax
from etils import epath

from electra_jax.config.settings import Config
from electra_jax.core.errors import CheckpointError, DataError
from electra_jax.core.trees import Tree
from electra_jax.data.pipeline import DeviceBatches
from electra_jax.runtime import distributed, malloc
from electra_jax.train import phases as p
from electra_jax.train.checkpoint import Checkpoints
from electra_jax.train.goodput import Account
from electra_jax.train.health import Health
from electra_jax.train.profile import Profiler
from electra_jax.train.signals import stop_signals
from electra_jax.train.speed import DEVICE, INPUT, Meter
from electra_jax.train.state import TrainState
from electra_jax.train.writers import (
    METRICS_FILE,
    Metrics,
    Terminal,
    evaluation_line,
    summary_line,
)

HEALTH = 'health'  # beside the data iterator's place in a checkpoint; earlier versions lack it


class Parts(NamedTuple):
    """What the loop is handed; it knows no model, objective or task."""

    step: Callable[[TrainState, Mapping], tuple[TrainState, Mapping[str, jax.Array]]]
    evaluate: Callable[[Tree], dict[str, float]]  # params -> metrics, without a prefix
    batches: DeviceBatches
    checkpoints: Checkpoints
    about: dict[str, Any]  # goes into every checkpoint
    health: Health
    account: Account  # of the time
    meter: Meter
    phases: p.Phases


class Outcome(NamedTuple):
    """How training ended."""

    state: TrainState
    evaluation: dict[str, float]  # empty where a signal ended the run
    stopped_by: str | None  # the signal's name, if one did


def go_back(place: Mapping[str, Any], batches: DeviceBatches, health: Health | None = None) -> None:
    """Puts the data, and what was seen of the run's health, where a checkpoint says.

    Args:
        place: as the checkpoint has it.
        batches: of the run.
        health: of the run; None: it is not judged.
    """
    batches.restore({name: value for name, value in place.items() if name != HEALTH})
    if health is not None and HEALTH in place:
        health.restore(place[HEALTH])


def train(config: Config, parts: Parts, state: TrainState, workdir: epath.Path) -> Outcome:
    """Trains from `state` to the end of the run, or until SIGTERM or Ctrl-C.

    Args:
        config: resolved and validated.
        parts: compiled functions and open files.
        state: fresh or restored; its buffers are donated.
        workdir: of the run.

    Raises:
        NonFiniteError: a step went wrong (`health`); the newest checkpoint is from before it.
        DataError: text cannot be read any more; what was learnt until then is saved.
        CheckpointError: the state could not be saved; earlier checkpoints are whole.
    """
    start = int(state.step)
    end = min(config.total_steps, config.stop_at or config.total_steps)
    terminal = Terminal(start, end)
    writer = Metrics(workdir, start, config.log.tensorboard, terminal.say)
    profiler = Profiler(config.log, workdir)
    parts.account.begin(start)
    phases = parts.phases
    evaluation: dict[str, float] = {}
    pending: tuple[int, Any, Any] | None = None  # step, metrics, batch still to be looked at

    def look() -> None:
        """Fetches the pending step's metrics: a step late, so that the device never waits."""
        nonlocal pending
        if pending is None:
            return
        number, metrics, batch = pending
        pending = None
        with parts.meter.waiting(DEVICE):
            values = {k: float(v) for k, v in jax.device_get(metrics).items()}
        parts.meter.count()  # not a step that ends compiling: its time was spent there
        phases.step_seen()
        seen = parts.health.look(number, values, batch)
        written = dict(seen.metrics)
        if number % config.log.every_steps == 0 or number == end:
            written |= {f'train/{k}': v for k, v in values.items()} | parts.meter.read()
            written |= parts.account.metrics()
            terminal.log(number, summary_line(written))
        say(number, written, seen.lines)

    def say(number: int, metrics: Mapping[str, float], lines: list[str]) -> None:
        if metrics:
            writer.write(number, metrics)
        for line in lines:
            terminal.say(line)

    def save(number: int, last: bool) -> None:
        look()  # never save what has not been seen to be good
        if not writer.flush():  # a full disk; a checkpoint must not be ahead of its metrics
            # Of several processes this one alone knows: the others would wait for it in their save.
            if last or jax.process_count() > 1:
                raise CheckpointError(
                    f'{workdir / METRICS_FILE} cannot be written, so step {number} is not saved '
                    'either. Make room there and type the same command again: training goes on '
                    'from the newest checkpoint.'
                )
            return
        with phases.during(p.SAVING):
            place = {**parts.batches.place, HEALTH: parts.health.seen()}
            parts.checkpoints.save(number, state, place, parts.about, last)
            malloc.give_back()

    def read(number: int) -> Mapping:
        try:
            with parts.meter.waiting(INPUT):
                return next(parts.batches)
        except DataError:
            # Several processes cannot know here whether the others have failed, too.
            if number - 1 > start and jax.process_count() == 1:
                save(number - 1, last=True)
            raise

    with contextlib.ExitStack() as cleanup, stop_signals() as stop:
        # Whatever ends the loop, what is being saved gets to the disk first.
        for close in (writer.close, terminal.close, parts.checkpoints.finish, profiler.stop):
            cleanup.callback(close)
        cleanup.callback(phases.enter, p.ENDING)
        phases.enter(p.COMPILING)
        for number in range(start + 1, end + 1):
            # ---- one step; its metrics are fetched after the next one is under way
            batch = read(number)
            phases.begin_step(number)
            profiler.before(number - 1)
            state, metrics = parts.step(state, batch)
            look()
            pending = number, metrics, parts.batches.host_batch
            profiler.after(number - 1, metrics)
            terminal.advance(number)
            # ---- held-out text
            if number % config.eval.every_steps == 0 or number == end:
                look()
                with phases.during(p.EVALUATING):
                    evaluation = parts.evaluate(state.params)
                terminal.say(evaluation_line(number, evaluation))
                seen = parts.health.evaluated(number, evaluation)
                named = {f'eval/{k}': v for k, v in evaluation.items()}
                say(number, named | seen.metrics, seen.lines)
            # ---- save
            if number % config.checkpoint.every_steps == 0 or number == end:
                save(number, last=number == end)
            parts.checkpoints.check()
            if stop.name is None and distributed.told_to_stop(number):
                stop.name = 'SIGTERM'
            if stop.name:
                save(number, last=True)
                break
        if start >= end:  # typed again after the end
            evaluation = parts.evaluate(state.params)
        look()
    return Outcome(state, evaluation if not stop.name else {}, stop.name)
