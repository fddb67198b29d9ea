"""The training loop: step, evaluate, save, and stop in good order whatever happens."""

import contextlib
import functools
from collections.abc import Callable, Iterator, Mapping
from typing import Any, NamedTuple

import jax
from etils import epath

from electra_jax.config.settings import Config, LogConfig
from electra_jax.core.errors import DataError
from electra_jax.core.trees import Tree
from electra_jax.data.pipeline import DeviceBatches
from electra_jax.runtime import malloc
from electra_jax.train import clock as clocks
from electra_jax.train.checkpoint import ENDS_RUN, Checkpoints
from electra_jax.train.clock import Clock, StepWork
from electra_jax.train.health import Health
from electra_jax.train.log import Log
from electra_jax.train.means import Means
from electra_jax.train.signals import Stop, stop_signals
from electra_jax.train.state import TrainState

_HEALTH, _MEANS = 'health', 'means'  # next to the iterator state of the data


class Tools(NamedTuple):
    """What the loop works with; it knows no model, objective or task."""

    step: Callable[[TrainState, Mapping], tuple[TrainState, Mapping[str, jax.Array]]]
    evaluate: Callable[[Tree], dict[str, float]]  # params -> metrics, without a prefix
    batches: DeviceBatches
    checkpoints: Checkpoints
    about: dict[str, Any]  # stored in every checkpoint
    health: Health
    clock: Clock
    work: StepWork  # of one step, for its speed
    means: Means  # of metrics since the last line
    # step, params: keeps what people look at, each time that held-out text is evaluated
    show: Callable[[int, Tree], None] = lambda step, params: None
    # step -> the configuration from now on, where a run is to have another length; None: it stays
    correct: Callable[[int], Config | None] = lambda step: None


class Outcome(NamedTuple):
    """How training ended."""

    state: TrainState
    evaluation: dict[str, float]  # empty where a signal ended the run
    stopped_by: str | None  # the signal's name, if one did


def train(config: Config, tools: Tools, state: TrainState, workdir: epath.Path) -> Outcome:
    """Trains from `state`, whose buffers are donated, to the end, or until SIGTERM or Ctrl-C.

    After a signal a single process finishes the step under way, saves and ends; an evaluation is
    broken off. While the first step of this start compiles there is nothing new to save, and the
    process ends at once. In both cases the exit status is 0 after SIGTERM, whose sender has got
    what it asked for, and 130 after Ctrl-C, as of every interrupted program. A second Ctrl-C ends
    the process at once with status 130 and begins no save. Several processes end after the same
    step by SIGTERM, at once by Ctrl-C (`train/signals.py`).

    Raises:
        NonFiniteError: a step went wrong (`health`); the newest checkpoint is from before it.
        DataError: the text cannot be read any more. A single process has saved the state; several
            have not, and continue from the newest checkpoint when they are started again.
        CheckpointError: the state could not be saved; earlier checkpoints are whole.
    """
    start = int(state.step)
    end = min(config.total_steps, config.stop_at or config.total_steps)
    clock = tools.clock
    evaluation: dict[str, float] | None = None
    number = start
    evaluated_at = start - start % config.eval.every_steps
    clock.start_from(start)
    with _opened(config.log, tools, workdir, start, end) as (log, profiler, stop):
        if start < end:
            log.compiling(f'a step of {config.batch_size} rows of {config.data.row_length} tokens')
        while number < end:
            number += 1
            # ---- The next batch, which is on the devices already.
            try:
                with clock.waiting(clocks.INPUT):
                    batch = next(tools.batches)
            except DataError:
                # A process cannot know here whether the other ones have failed, too.
                if number - 1 > start and jax.process_count() == 1:
                    _save(tools, log, number - 1, state, last=True)
                raise

            # ---- One step. While an accelerator computes it, the metrics of the step before are
            # ---- fetched: so it never waits for the host. A CPU of few cores has computed it when
            # ---- the call returns.
            profiler.before(number - 1)
            clock.begin_step(number)
            with jax.transfer_guard('disallow'):  # all that a step reads is on the devices
                state, metrics = tools.step(state, batch)
                log.finish_step()
            log.hold(number, metrics, tools.batches.host_batch or {})
            profiler.after(number - 1, metrics)

            # ---- The length of the run, where time decides it.
            if (corrected := tools.correct(number)) is not None:
                config = corrected
                end = min(config.total_steps, config.stop_at or config.total_steps)
                log.ends_at(end)

            # ---- Evaluate on held-out text.
            is_due = number - evaluated_at >= config.eval.every_steps
            if (is_due or number == end) and not stop.has_come():
                evaluated_at = number
                log.finish_step()
                params = evaluated_params(config, state)
                save = functools.partial(_save_apart, tools, log, number, state)
                with log.evaluating():
                    evaluation = stop.unless_asked(functools.partial(tools.evaluate, params), save)
                    if evaluation is not None:  # else a signal came before it was whole
                        log.evaluation(number, evaluation)
                    stop.unless_asked(functools.partial(tools.show, number, params), save)

            # ---- Save.
            is_marked = number in tools.checkpoints.marks
            if number % config.checkpoint.every_steps == 0 or number == end or is_marked:
                _save(tools, log, number, state, last=number == end)
            tools.checkpoints.check()

            # ---- Stop, after SIGTERM or Ctrl-C; several processes agree on the same step.
            if stop.requested(number):
                _save(tools, log, number, state, last=True)
                break
        if start >= end:  # typed again after an end without an evaluation
            evaluate = functools.partial(tools.evaluate, evaluated_params(config, state))
            with log.evaluating():
                evaluation = stop.unless_asked(evaluate, lambda: start)  # it is saved
            if evaluation is not None:
                log.evaluation(start, evaluation)
        log.finish_step()
    return Outcome(state, {} if stop.name else evaluation or {}, stop.name)


def evaluated_params(config: Config, state: TrainState) -> Tree:
    """The parameters that are evaluated: the state's, or their running mean."""
    return state.average if config.eval.average else state.params


@contextlib.contextmanager
def _opened(
    log_config: LogConfig, tools: Tools, workdir: epath.Path, start: int, end: int
) -> Iterator[tuple[Log, '_Profiler', Stop]]:
    """What a run opens; however its loop ends, all of it is ended, the last one first."""
    with contextlib.ExitStack() as cleanup:
        log = Log(workdir, log_config, tools.clock, start, end)
        log.follow(tools.health, 0, end, tools.work.epoch_steps, tools.work, tools.means)
        cleanup.callback(log.close)  # the others may still print
        profiler = _Profiler(log_config, workdir)
        cleanup.callback(profiler.stop)  # takes seconds, and a trace matters less than a checkpoint
        # What is being saved reaches the disk, or raises.
        cleanup.callback(tools.checkpoints.finish)
        cleanup.callback(tools.clock.enter, clocks.ENDING)
        # While the first step compiles, and after this block, a signal ends the process at once.
        stop = cleanup.enter_context(stop_signals(lambda: tools.clock.phase == clocks.COMPILING))
        yield log, profiler, stop


def _save(tools: Tools, log: Log, number: int, state: TrainState, last: bool) -> None:
    """Saves the state after step `number`, and where data and health are to continue."""
    log.finish_step()  # a bad step raises here, and is never saved
    if not log.flush():  # a full disk, for example; a checkpoint must not be ahead of its metrics
        tools.checkpoints.refuse(
            f'{log.path} cannot be written, so step {number} is not saved either.',
            ENDS_RUN if last else tools.checkpoints.then,
        )
        return
    with tools.clock.during(clocks.SAVING):
        ours = {_HEALTH: tools.health.seen(), _MEANS: tools.means.seen()}
        data_state = {**tools.batches.state, **ours}
        tools.checkpoints.save(number, state, data_state, tools.about, last)
        malloc.give_back()


def _save_apart(tools: Tools, log: Log, number: int, state: TrainState) -> int:
    """Saves the state after step `number`, which it returns, before the process ends.

    An evaluation that no signal can interrupt is still computing in the main thread: a thread that
    the signal has started calls this (`Stop.unless_asked`).
    """
    _save(tools, log, number, state, last=True)
    tools.clock.write()
    return number


def restore_data_state(
    data_state: Mapping[str, Any],
    batches: DeviceBatches,
    health: Health | None = None,
    means: Means | None = None,
) -> None:
    """Moves the data, and what else is given, to where `_save` saved `data_state`."""
    ours = (_HEALTH, _MEANS)
    batches.restore({name: value for name, value in data_state.items() if name not in ours})
    if health is not None:
        health.restore(data_state[_HEALTH])
    if means is not None and _MEANS in data_state:  # checkpoints of 0.1.0 have none
        means.restore(data_state[_MEANS])


class _Profiler:
    """Traces `profile_steps` steps from `profile_start`, for TensorBoard or Perfetto."""

    def __init__(self, log_config: LogConfig, workdir: epath.Path):
        self._first = log_config.profile_start
        self._end = (log_config.profile_start or 0) + log_config.profile_steps
        self._folder = workdir / 'profile'
        self._running = False

    def before(self, step: int) -> None:
        if step == self._first:
            jax.profiler.start_trace(str(self._folder))
            self._running = True

    def after(self, step: int, result: object) -> None:
        if self._running and step + 1 >= self._end:
            jax.block_until_ready(result)  # of the last step
            self.stop()

    def stop(self) -> None:
        if self._running:
            jax.profiler.stop_trace()
            self._running = False
