"""Whether a run goes well: bad steps, spikes of the loss, and networks that have collapsed.

No objective is known here: bad steps are found by the metrics that every step has, and signs of
collapse in an evaluation by a function that the objective provides (`warning_signs`).
"""

import collections
import io
import json
import math
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from etils import epath

from electra_jax.config.settings import HealthConfig
from electra_jax.core import errors
from electra_jax.core.complaints import counted
from electra_jax.core.errors import NonFiniteError
from electra_jax.data.pipeline import RECORDS

FOLDER = 'bad_steps'  # in the workdir
SKIPPED = 'skipped'  # metric of a step: 1 where its update was not applied
_MAX_DUMPS = 3  # by one process: many steps may be skipped
_MAD_TO_DEVIATION = 1.4826  # of a normal law

Signs = Callable[[Mapping[str, float]], dict[str, str]]  # evaluation -> what is wrong, by name
# What was noticed: metrics to write, and lines for the terminal.
Noticed = tuple[dict[str, float], list[str]]
_NO_LOSSES: Mapping[str, int] = {}


def limits(health_config: HealthConfig) -> dict[str, float]:
    """The largest allowed value of some metrics of a step."""
    most = {
        'loss': health_config.max_loss,
        'grad_norm': health_config.max_grad_norm,
        'update_norm': health_config.max_update_norm,
    }
    return {name: limit for name, limit in most.items() if limit is not None}


def is_good(health_config: HealthConfig, metrics: Mapping[str, jax.Array]) -> jax.Array:
    """Whether a step's metrics are finite and within `limits`; traced."""
    good = jnp.all(jnp.stack([jnp.isfinite(value) for value in metrics.values()]))
    for name, limit in limits(health_config).items():
        good &= metrics[name] <= limit
    return good


def bad_values(health_config: HealthConfig, values: Mapping[str, float]) -> list[str]:
    """What `is_good` refuses, on the host and in words: 'loss = nan'."""
    bad = [f'{name} = {value}' for name, value in values.items() if not math.isfinite(value)]
    for name, limit in limits(health_config).items():
        if math.isfinite(values[name]) and values[name] > limit:
            bad.append(f'{name} = {values[name]:.4g}, more than health.max_{name} {limit:.4g}')
    return bad


class Health:
    """Judges every step and every evaluation of a run."""

    def __init__(
        self,
        health_config: HealthConfig,
        workdir: epath.Path,
        about: Mapping[str, Any],
        newest: Callable[[], int | None] = lambda: None,
        signs: Signs = lambda evaluation: {},
        signs_from: int = 0,
        other_losses: Mapping[str, int] = _NO_LOSSES,
        warmup: str = 'optimizer.warmup_steps',
    ):
        """Begins with nothing seen.

        Args:
            health_config: what is bad, and what then happens.
            workdir: dumps of bad steps go there.
            about: facts about the run, as JSON, for a dump.
            newest: returns the step of the run's newest whole checkpoint, for a dump.
            signs: `warning_signs` of the objective.
            signs_from: only evaluations after this step are judged; a young run shows every sign.
            other_losses: `Objective.other_losses`.
            warmup: the job's setting for the length of the warm-up, for an advice.
        """
        self._config, self._workdir = health_config, workdir
        self._newest, self._signs = newest, signs
        self.follow(about, signs_from, other_losses)
        self._warmup = warmup
        self._in_a_row, self._skipped, self._dumps = 0, 0, 0
        self._spikes = Spikes(health_config.spike_window, health_config.spike_deviations)
        self._signs_seen: dict[str, int] = {}  # sign -> evaluations in a row

    def follow(
        self,
        about: Mapping[str, Any],
        signs_from: int = 0,
        other_losses: Mapping[str, int] = _NO_LOSSES,
    ) -> None:
        """The run has another length from now on; the arguments are those of a new `Health`."""
        self._about, self._signs_from = about, signs_from
        self._other_losses = other_losses

    def seen(self) -> dict[str, Any]:
        """The state that a checkpoint keeps, as JSON, so that a continued run reports the same."""
        return {
            'in_a_row': self._in_a_row,
            'skipped': self._skipped,
            'signs': dict(self._signs_seen),
            'losses': list(self._spikes.last),
            'quiet': self._spikes.quiet,
        }

    def restore(self, seen: Mapping[str, Any]) -> None:
        """Continues from what `seen` returned."""
        self._in_a_row, self._skipped = seen['in_a_row'], seen['skipped']
        self._signs_seen = dict(seen['signs'])
        self._spikes.begin(seen['losses'], seen['quiet'])

    def look(
        self, step: int, values: Mapping[str, float], batch: Mapping[str, np.ndarray]
    ) -> Noticed:
        """Judges step number `step`, from 1, by its metrics; a dump keeps the `batch` of a bad one.

        Raises:
            NonFiniteError: it is bad, and the run does not skip bad steps, or not so many.
        """
        changes = [line for line, after in self._other_losses.items() if step == after + 1]
        lines = [f'step {step}  {line}' for line in changes]
        if lines:
            self._spikes.begin()
        bad = bad_values(self._config, values)
        if bad:
            noticed, more = self._bad(step, bad, values, batch)
            return noticed, [*lines, *more]
        self._in_a_row = 0
        high = self._spikes.look(values['loss'])
        if high is None:
            return {}, lines
        lines.append(
            f'step {step}  the loss {values["loss"]:.4g} is a spike: {high:.1f} deviations above '
            f'the median of the last {self._config.spike_window} steps'
        )
        return {'health/loss_spike': high}, lines

    def _bad(
        self,
        step: int,
        bad: list[str],
        values: Mapping[str, float],
        batch: Mapping[str, np.ndarray],
    ) -> Noticed:
        self._in_a_row += 1
        self._skipped += 1
        skip = self._config.on_bad_step == 'skip'
        fatal = not skip or self._in_a_row > self._config.max_skips
        where = ''
        if fatal or self._dumps < _MAX_DUMPS:
            self._dumps += 1
            where = f' Its batch ({_rows(batch)}) {self._kept(step, values, batch)}.'
        text = f'step {step} gave {", ".join(bad)}'
        if fatal:
            many = f' It is bad step {self._in_a_row} in a row.' if skip else ''
            raise NonFiniteError(
                f'{text}; training stopped.{many} What was saved before that step is kept.{where} '
                'The usual fix is a run in another --workdir with a lower '
                f'--config.optimizer.learning_rate or a longer warm-up (--config.{self._warmup}); '
                'to leave single bad steps out: --config.health.on_bad_step=skip.'
            )
        return {'health/skipped_steps': float(self._skipped)}, [f'{text}; skipped.{where}']

    def _kept(self, step: int, values: Mapping[str, float], batch: Mapping[str, np.ndarray]) -> str:
        """Writes a dump; returns where it is, in words, or why there is none."""
        facts = {'step': step, 'checkpoint': self._newest(), 'metrics': dict(values)}
        content, about = io.BytesIO(), json.dumps({**facts, **self._about})
        np.savez(content, step=step, about=about, **batch)  # type: ignore[arg-type]
        path = self._workdir / FOLDER / f'step_{step}_host_{jax.process_index()}.npz'
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content.getvalue())
        except Exception as error:  # each storage raises its own; the bad step matters more
            return f'could not be written to {path.parent}: {errors.first_line(error)}'
        if RECORDS not in batch:  # rows of a task: only those of a corpus can be read again
            return f'is in {path}'
        return (
            f'is in {path}: the same command with --config.replay={path} repeats that step and '
            'shows where it goes wrong'
        )

    def evaluated(self, step: int, evaluation: Mapping[str, float]) -> Noticed:
        """Judges an evaluation; reports a sign seen twice in a row, and when it disappears."""
        if step <= self._signs_from:
            return {}, []
        signs, before = self._signs(evaluation), self._signs_seen
        gone = [name for name, times in before.items() if times > 1 and name not in signs]
        lines = [f'step {step}  no more: {name.replace("_", " ")}' for name in gone]
        self._signs_seen = {name: before.get(name, 0) + 1 for name in signs}
        lines += [f'step {step}  {signs[n]}' for n, times in self._signs_seen.items() if times == 2]
        return {f'health/{name}': 1.0 for name in signs}, lines


class Spikes:
    """Finds the onset of spikes in a series, by median and median absolute deviation."""

    def __init__(self, window: int, deviations: float | None):
        self._window, self._deviations = window, deviations
        self.begin()

    def begin(self, last: Iterable[float] = (), quiet: int = 0) -> None:
        """Forgets the series; goes on after the values `last`."""
        self.last = collections.deque(last, maxlen=self._window)
        self.quiet = quiet  # values still to come within bounds before the next onset counts

    def look(self, value: float) -> float | None:
        """How many deviations `value` is above the window, at the onset of a spike.

        >>> spikes = Spikes(10, 8.0)
        >>> [spikes.look(x) for x in (1, 2, 1, 2, 1, 2, 1, 2, 1, 2)][-1]
        >>> round(spikes.look(20), 1), spikes.look(30)
        (25.0, None)
        """
        window = np.array(self.last)
        self.last.append(value)
        if self._deviations is None or len(window) < self._window:
            return None
        middle = float(np.median(window))
        spread = _MAD_TO_DEVIATION * float(np.median(abs(window - middle)))
        # A loss that hardly moves has no typical deviation: one thousandth of it is used.
        high = (value - middle) / max(spread, 1e-3 * abs(middle), 1e-12)
        if high < self._deviations:
            self.quiet = max(0, self.quiet - 1)
            return None
        onset, self.quiet = self.quiet == 0, self._window // 4
        return high if onset else None


def _rows(batch: Mapping[str, np.ndarray]) -> str:
    """The rows of a batch in a few words: '8 rows: corpus 0 row 17, ...'."""
    if RECORDS not in batch:
        return counted(len(next(iter(batch.values()))), 'rows')
    rows = [f'corpus {corpus} row {row}' for corpus, row in batch[RECORDS][:3].tolist()]
    return f'{counted(len(batch[RECORDS]), "rows")}: {", ".join(rows)}, ...'
