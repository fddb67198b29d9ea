"""What a run reports of its steps and evaluations: fetched, judged, written and printed."""

import contextlib
from collections.abc import Callable, Iterator, Mapping, Sequence

import jax
from etils import epath

from electra_jax.config.settings import LogConfig
from electra_jax.data.pipeline import HostBatch
from electra_jax.runtime import distributed, malloc
from electra_jax.runtime.terminal import Progress, duration
from electra_jax.train.clock import COMPILING, DEVICE, EVALUATING, TRAINING, Clock, StepWork
from electra_jax.train.health import Health
from electra_jax.train.means import Means
from electra_jax.train.metrics import Metrics

# A line about a step: its metrics, which are called by the last part of their name, and how each
# is written.
_SHOWN: dict[str, Callable[[float], str]] = {
    'progress/epochs': '{:.2f}'.format,
    'speed/elapsed': duration,
    'train/loss': '{:.3f}'.format,
    'train/mlm_loss': '{:.3f}'.format,
    'train/disc_loss': '{:.4f}'.format,
    'train/fake_rate': '{:.3f}'.format,
    'train/learning_rate': '{:.2e}'.format,
    'speed/tokens_per_second': '{:,.0f}'.format,
    'speed/mfu': '{:.1%}'.format,
}


# A run's length is estimated after so much training; the first steps may compile.
ESTIMATE_SECONDS, ESTIMATE_STEPS = 8.0, 10


class Log:
    """metrics.jsonl, event files and the terminal of a run.

    A step's metrics are fetched only after the next step was handed to the devices, so that an
    accelerator never waits for the host. Where the call of a step computes it, they are there.
    """

    def __init__(
        self, workdir: epath.Path, log_config: LogConfig, clock: Clock, start: int, end: int
    ):
        """Opens the files; the run goes on after step `start` and ends with step `end`."""
        self._every_steps, self._clock, self._end = log_config.every_steps, clock, end
        self._progress = Progress(
            'training', end, start, 'steps', line_seconds=None, quiet=not distributed.is_first()
        )
        self.print, self.alive = self._progress.print, self._progress.alive
        self._alive = contextlib.ExitStack()
        self._files = Metrics(workdir, start, log_config.trackers, self.print)
        self.path, self.flush = self._files.path, self._files.flush
        self._start, self._has_estimated, self._has_compiled = start, False, False
        self._is_computed = malloc.computes_in_main_thread()  # a step, when its call returns
        # The newest step: its number, its metrics, which may still be computed, and its rows.
        self._pending: tuple[int, Mapping[str, jax.Array], HostBatch] | None = None

    def follow(
        self,
        health: Health,
        before: int,
        last: int,
        epoch_steps: float,
        work: StepWork | None = None,
        means: Means | None = None,
    ) -> None:
        """Begins to log steps that belong together: those after `before`, up to `last`.

        Args:
            health: checks them.
            before: `log.every_steps` and epochs count from this step.
            last: is always logged.
            epoch_steps: steps in which all training rows are read once.
            work: of one step; None: their speed is not logged.
            means: of the steps since the last line that an earlier process has written, if any.
        """
        self._health, self._before, self._last, self._work = health, before, last, work
        self._epoch_steps, self._means = epoch_steps, means or Means()

    def close(self) -> None:
        self._alive.close()
        self._progress.close()
        self._files.close()

    def compiling(self, what: str) -> None:
        """The first step compiles, perhaps for minutes in which there is nothing else to see."""
        self._clock.enter(COMPILING)
        if not self._has_compiled:  # further trials have the same program
            self._alive.enter_context(self._compiling(what))

    @contextlib.contextmanager
    def another_shape(self, what: str) -> Iterator[None]:
        """Within it a step is handed to the devices that is compiled before, as `what`."""
        before = self._clock.seconds(COMPILING)
        with self._clock.during(COMPILING), self._compiling(what):
            yield
        self.print(f'compiled in {duration(self._clock.seconds(COMPILING) - before)}')

    @contextlib.contextmanager
    def _compiling(self, what: str) -> Iterator[None]:
        self.print(f'compiling {what}...')
        with self._progress.alive(f'compiling {what}', takes=False):
            yield

    @contextlib.contextmanager
    def evaluating(self) -> Iterator[None]:
        """Within it an evaluation is made, which the clock counts as one."""
        with self._clock.during(EVALUATING), self._progress.alive('evaluating'):
            yield

    def hold(self, number: int, metrics: Mapping[str, jax.Array], batch: HostBatch) -> None:
        """Keeps a step's metrics, which may still be being computed, until `finish_step`.

        Where the call of the step has computed them (`malloc.computes_in_main_thread`), the step is
        finished at once.

        Raises:
            NonFiniteError: as `finish_step` does.
        """
        self._pending = number, metrics, batch
        self._progress.advance()
        if self._is_computed:
            self._clock.computed_step()
            self.finish_step()

    def finish_step(self) -> None:
        """Waits for the newest step's metrics, if any; judges, writes and prints them.

        Raises:
            NonFiniteError: the step went wrong.
        """
        if self._pending is None:
            return
        (number, metrics, batch), self._pending = self._pending, None
        with self._clock.waiting(DEVICE):
            values = {name: float(value) for name, value in jax.device_get(metrics).items()}
        if self._clock.phase == COMPILING and not self._has_compiled:
            self._has_compiled = True
            self._alive.close()
            self.print(f'compiled in {duration(self._clock.seconds(COMPILING))}')
        self._clock.end_step()
        self._estimate(number)
        written, lines = self._health.look(number, values, batch)
        self._means.add(number, values)
        if (number - self._before) % self._every_steps == 0 or number == self._last:
            written |= {f'train/{name}': value for name, value in self._means.take().items()}
            written |= self._so_far(number)
            if self._work is not None:
                written |= self._clock.speed(self._work) | self._clock.goodput()
            left = self._clock.seconds_left(self._end - number)
            self._progress.print(f'step {number}/{self._end}  {_step_line(written)}', left)
        self.write(number, written, lines)

    def ends_at(self, end: int) -> None:
        """The run is to end after another step than was planned."""
        self._end = self._last = end
        self._progress.set_total(end)

    def end_early(self, number: int) -> None:
        """Writes the means since the last line, where step `number` turns out to be the last."""
        if means := self._means.take():
            named = {f'train/{name}': value for name, value in means.items()}
            self.write(number, named | self._so_far(number))

    def _estimate(self, number: int) -> None:
        """Prints once, after some seconds of training, how long the rest takes here."""
        if self._has_estimated or number - self._start <= ESTIMATE_STEPS or number == self._end:
            return
        if self._clock.seconds(TRAINING) < ESTIMATE_SECONDS:
            return
        left, step_seconds = self._end - number, self._clock.step_seconds()
        seconds = self._clock.seconds_left(left)
        if step_seconds is None or seconds is None:  # each step so far came after a pause
            return
        self._has_estimated = True
        counted = '' if self._clock.pauses(EVALUATING) else ', without evaluations'
        self.print(
            f'step {number}/{self._end}  {step_seconds:.3g} s a step: about '
            f'{duration(seconds)} here for the {left:,} that are left{counted}'
        )

    def evaluation(self, number: int, evaluation: Mapping[str, float]) -> None:
        """Judges, writes and prints an evaluation on held-out text."""
        self.print(evaluation_line(number, evaluation))
        noticed, lines = self._health.evaluated(number, evaluation)
        named = {f'eval/{name}': value for name, value in evaluation.items()}
        self.write(number, named | self._so_far(number) | noticed, lines)

    def _so_far(self, number: int) -> dict[str, float]:
        """How far the run has come with step `number`, in other measures than steps."""
        words = 0.0 if self._work is None else self._work.words
        return {
            'progress/epochs': (number - self._before) / self._epoch_steps,
            'speed/elapsed': self._clock.elapsed,
            **({'progress/words_read': number * words} if words else {}),
        }

    def write(self, number: int, values: Mapping[str, float], lines: Sequence[str] = ()) -> None:
        """Writes metrics, and prints lines about them."""
        if values:
            self._files.write(number, values)
        for line in lines:
            self.print(line)


def _step_line(values: Mapping[str, float]) -> str:
    shown = ((key.rpartition('/')[2], form, values.get(key)) for key, form in _SHOWN.items())
    return '  '.join(f'{name} {form(value)}' for name, form, value in shown if value is not None)


def evaluation_line(step: int, evaluation: Mapping[str, float]) -> str:
    """A line about an evaluation on held-out text.

    >>> evaluation_line(5, {'mlm_loss': 6.5}), evaluation_line(5, {})
    ('step 5  held-out: mlm_loss 6.5000', 'step 5  no held-out text')
    """
    shown = '  '.join(scores(evaluation))
    return f'step {step}  held-out: {shown}' if shown else f'step {step}  no held-out text'


def scores(evaluation: Mapping[str, float]) -> list[str]:
    """Each metric of an evaluation with its value; AUC with the generator that it is against.

    >>> scores({'mlm_loss': 6.5, 'disc_auc': 0.73})
    ['mlm_loss 6.5000', 'disc_auc 0.7300 (against a generator of mlm_loss 6.500)']
    """
    shown = {name: f'{name} {value:.4f}' for name, value in evaluation.items()}
    if 'disc_auc' in shown and 'mlm_loss' in shown:
        shown['disc_auc'] += f' (against a generator of mlm_loss {evaluation["mlm_loss"]:.3f})'
    return list(shown.values())
