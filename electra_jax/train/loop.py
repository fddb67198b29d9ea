"""The training loop: step, look, save, and stop cleanly whatever happens."""

import contextlib
import math
import signal
import time
from collections.abc import Callable, Iterator, Mapping
from typing import Any, NamedTuple

import jax
import numpy as np
from etils import epath

from electra_jax.config.schema import Config
from electra_jax.core import distributed
from electra_jax.core.errors import NonFiniteError
from electra_jax.core.trees import Tree
from electra_jax.data.pipeline import DeviceBatches
from electra_jax.train.checkpoint import Checkpoints
from electra_jax.train.profile import Profiler
from electra_jax.train.state import TrainState
from electra_jax.train.writers import Metrics, Terminal


class Parts(NamedTuple):
    """What the loop is handed; it knows no model, objective or task."""

    step: Callable[[TrainState, Mapping], tuple[TrainState, Mapping[str, jax.Array]]]
    evaluate: Callable[[Tree], dict[str, float]]  # params -> metrics, without a prefix
    batches: DeviceBatches
    checkpoints: Checkpoints
    about: dict[str, Any]  # goes into every checkpoint
    flops_per_token: float
    peak_flops: float | None  # of all devices together, where known


class Outcome(NamedTuple):
    """How training ended."""

    state: TrainState
    evaluation: dict[str, float]  # empty where a signal ended the run
    stopped_by: str | None  # the signal's name, if one did


def train(config: Config, parts: Parts, state: TrainState, workdir: epath.Path) -> Outcome:
    """Trains from `state` to the end of the run, or until SIGTERM or Ctrl-C.

    Args:
        config: resolved and validated.
        parts: compiled functions and open files.
        state: fresh or restored; its buffers are donated.
        workdir: of the run.

    Raises:
        NonFiniteError: the loss, gradient or update of a step is not finite; the newest
            checkpoint is from before that step.
    """
    start = int(state.step)
    end = min(config.total_steps, config.stop_at or config.total_steps)
    writer = Metrics(workdir, start, config.log.tensorboard)
    terminal = Terminal(start, end)
    profiler = Profiler(config.log, workdir)
    meter = Meter(config, parts)
    evaluation: dict[str, float] = {}
    pending: tuple[int, Any, Any] | None = None  # step, metrics, batch still to be looked at

    def look() -> None:
        """Fetches the pending step's metrics: a step late, so that the device never waits."""
        nonlocal pending
        if pending is None:
            return
        number, metrics, batch = pending
        pending = None
        values = {k: float(v) for k, v in jax.device_get(metrics).items()}
        check_finite(number, values, batch, workdir)
        if number % config.log.every_steps == 0 or number == end:
            values = {f'train/{k}': v for k, v in values.items()} | meter.read()
            writer.write(number, values)
            terminal.log(number, summary_line(values))

    def save(number: int) -> None:
        look()  # never save what has not been seen to be finite
        parts.checkpoints.save(number, state, parts.batches.place, parts.about)

    with contextlib.ExitStack() as cleanup, stop_signals() as stop:
        # Whatever ends the loop, what is being saved gets to the disk first.
        for close in (writer.close, terminal.close, parts.checkpoints.finish, profiler.stop):
            cleanup.callback(close)
        for number in range(start + 1, end + 1):
            # ---- one step; its metrics are fetched after the next one is under way
            batch = next(parts.batches)
            profiler.before(number - 1)
            state, metrics = parts.step(state, batch)
            look()
            pending = number, metrics, parts.batches.host_batch
            profiler.after(number - 1, metrics)
            meter.count()
            terminal.advance(number)
            # ---- held-out text
            if number % config.eval.every_steps == 0 or number == end:
                look()
                with meter.paused():
                    evaluation = parts.evaluate(state.params)
                writer.write(number, {f'eval/{k}': v for k, v in evaluation.items()})
                terminal.say(evaluation_line(number, evaluation))
            # ---- save
            if number % config.checkpoint.every_steps == 0 or number == end:
                save(number)
            if stop.name is None and distributed.told_to_stop(number):
                stop.name = 'SIGTERM'
            if stop.name:
                save(number)
                break
        if start >= end:  # typed again after the end
            evaluation = parts.evaluate(state.params)
        look()
    return Outcome(state, evaluation if not stop.name else {}, stop.name)


def check_finite(
    step: int,
    values: Mapping[str, float],
    batch: Mapping[str, np.ndarray],
    workdir: epath.Path,
) -> None:
    """Stops a run that has gone wrong, leaving the batch that did it for inspection.

    Raises:
        NonFiniteError: naming the values and the dump.
    """
    bad = {name: value for name, value in values.items() if not math.isfinite(value)}
    if not bad:
        return
    folder = workdir / 'nonfinite'
    folder.mkdir(parents=True, exist_ok=True)
    dump = folder / f'step_{step}_host_{jax.process_index()}.npz'
    with dump.open('wb') as file:
        np.savez(file, step=step, **{f'metric_{k}': v for k, v in values.items()}, **batch)
    raise NonFiniteError(
        f'step {step} gave {", ".join(f"{k} = {v}" for k, v in bad.items())}; training stopped. '
        f'Checkpoints are from before that step; its batch is in {dump}. The usual cure is a run '
        'in another --workdir with a lower --config.optimizer.learning_rate or a longer '
        '--config.optimizer.warmup_steps.'
    )


class Meter:
    """Speed between two readings, without evaluations and compilation."""

    def __init__(self, config: Config, parts: Parts):
        self._tokens = config.batch_size * config.data.row_length
        self._flops, self._peak = parts.flops_per_token, parts.peak_flops
        self._steps = 0
        self._since: float | None = None
        self._paused = 0.0

    def count(self) -> None:
        """One more step was started; the first one only starts the clock, it compiles."""
        if self._since is None:
            self._since = time.monotonic()
        else:
            self._steps += 1

    @contextlib.contextmanager
    def paused(self) -> Iterator[None]:
        """Time spent inside does not count."""
        began = time.monotonic()
        yield
        self._paused += time.monotonic() - began

    def read(self) -> dict[str, float]:
        """Metrics since the last reading; none before two steps are done."""
        if not self._steps:
            return {}
        now = time.monotonic()
        rate = self._steps / max(now - self._since - self._paused, 1e-9)
        self._since, self._steps, self._paused = now, 0, 0.0
        speed = {
            'speed/steps_per_second': rate,
            'speed/tokens_per_second': rate * self._tokens,
        }
        if self._peak:
            speed['speed/mfu'] = rate * self._tokens * self._flops / self._peak
        return speed


class Stop:
    """Set by a signal."""

    name: str | None = None


@contextlib.contextmanager
def stop_signals() -> Iterator[Stop]:
    """SIGTERM and the first Ctrl-C ask for an orderly end; a second Ctrl-C means now.

    Several processes must end after the same step, so there SIGTERM is left to JAX, which tells
    the others (`distributed.told_to_stop`), and Ctrl-C means now.
    """
    stop = Stop()
    if jax.process_count() > 1:
        yield stop
        return

    def ask(number: int, frame: Any) -> None:
        del frame
        if stop.name == signal.Signals(number).name == 'SIGINT':
            raise KeyboardInterrupt
        stop.name = signal.Signals(number).name

    before = {number: signal.signal(number, ask) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        yield stop
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def summary_line(values: Mapping[str, float]) -> str:
    """A training line for the terminal."""
    shown = (
        ('loss', 'train/loss', '.3f'),
        ('mlm', 'train/mlm_loss', '.3f'),
        ('disc', 'train/disc_loss', '.4f'),
        ('fake', 'train/fake_rate', '.3f'),
        ('lr', 'train/learning_rate', '.2e'),
        ('tokens/s', 'speed/tokens_per_second', ',.0f'),
        ('mfu', 'speed/mfu', '.1%'),
    )
    return '  '.join(f'{name} {values[key]:{form}}' for name, key, form in shown if key in values)


def evaluation_line(step: int, evaluation: Mapping[str, float]) -> str:
    """An evaluation line for the terminal."""
    shown = '  '.join(f'{name} {value:.4f}' for name, value in evaluation.items())
    return f'step {step}  held-out: {shown}'
