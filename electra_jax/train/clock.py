"""Where a run's time goes: phases, speed, and goodput over all starts of the run."""

import collections
import contextlib
import json
import os
import statistics
import time
from collections.abc import Callable, Iterator
from typing import NamedTuple

from etils import epath

from electra_jax.core import files
from electra_jax.runtime import distributed

FILE = 'goodput.json'  # in the workdir
_NEWEST = 101  # steps whose median is the speed by which the time left is estimated

# What a process is doing.
STARTING, COMPILING, TRAINING = 'starting', 'compiling', 'training'
EVALUATING, SAVING, ENDING = 'evaluating', 'saving', 'ending'

# What the training loop waits for. Where INPUT is large, or DEVICE near 0, the host keeps the
# devices waiting.
INPUT, DEVICE = 'input', 'device'


class StepWork(NamedTuple):
    """The work in one training step."""

    tokens: int
    flops_per_token: float = 0.0
    peak_flops: float | None = None  # FLOP/s of all devices together, where known
    epoch_steps: float = 1.0  # steps that read as many rows as there are to train on
    words: float = 0.0  # the mean of those that are read; 0: they are not known


class Start(NamedTuple):
    """One process's share in a run, as `goodput.json` keeps it."""

    first: int  # steps done when it began
    last: int  # the newest step that it began
    seconds: float  # the process lived
    training: float  # seconds of them spent on steps
    timed: float | None = None  # seconds of them since its text was there; None: not recorded


class Clock:
    """The time of this process: its phase and step, and the seconds spent in each phase.

    The thread that trains writes it, the heartbeat's thread reads it. Only monotonic clocks are
    used: a wall clock that is set changes nothing.
    """

    def __init__(
        self,
        workdir: epath.Path | None = None,
        now: Callable[[], float] = time.monotonic,
        age: float | None = None,
    ):
        """Begins in phase STARTING, `age` seconds ago (None: when the process began).

        `workdir` holds the record of earlier starts, `now` gives monotonic seconds.
        """
        self._path = workdir / FILE if workdir else None
        self._earlier = read(workdir) if workdir else []
        self._is_closed = False  # whether the record of this process is final
        self._first: int | None = None  # step that this process continues from
        self.timed_from: float | None = None  # `now()` when the text of this process was there
        self.now = now
        self.phase = STARTING
        self.step: int | None = None  # the newest one that was begun
        self.slowest_step = 0.0  # seconds, of the steps that nothing interrupted
        self._spent: dict[str, float] = collections.defaultdict(float)
        self._spent[STARTING] = process_age() if age is None else age
        self._phase_began = now()
        self._step_began: float | None = None
        # Since the last reading of the speed:
        self._steps, self._trained_before = 0, 0.0
        self._waited = dict.fromkeys((INPUT, DEVICE), 0.0)
        # For the time that is left: seconds of the newest steps, and of each pause between steps.
        self._durations: collections.deque[float] = collections.deque(maxlen=_NEWEST)
        self._step_ended: float | None = None
        self._ended = 0  # steps of this process
        self._pauses: dict[str, list[float]] = {EVALUATING: [], SAVING: []}
        self._compiled = self._programs = 1  # of the programs of steps, so many are compiled

    # ---- phases

    def enter(self, phase: str) -> None:
        """Ends the current phase, and begins this one."""
        now = self.now()
        self._spent[self.phase] += now - self._phase_began
        self.phase, self._phase_began = phase, now
        self._step_began = self._step_ended = None

    @contextlib.contextmanager
    def during(self, phase: str) -> Iterator[None]:
        before, began = self.phase, self.now()
        self.enter(phase)
        try:
            yield
        finally:
            self.enter(before)
            if phase in self._pauses:
                self._pauses[phase].append(self.now() - began)

    def seconds(self, phase: str) -> float:
        running = self.now() - self._phase_began if phase == self.phase else 0.0
        return self._spent[phase] + running

    @property
    def total(self) -> float:  # seconds since the process began
        return sum(self._spent.values()) + self.now() - self._phase_began

    # ---- steps

    def start_from(self, step: int) -> None:
        """Training begins after `step` steps that earlier processes have done."""
        self._first = step

    def begin_step(self, step: int) -> None:
        """The step is handed to the devices; the one before it is over."""
        now = self.now()
        if self._step_began is not None and self.phase == TRAINING:
            self.slowest_step = max(self.slowest_step, now - self._step_began)
        self.step, self._step_began = step, now

    def computed_step(self) -> None:
        """The call that handed over the step has waited for its end, too."""
        if self._step_began is not None and self.phase == TRAINING:
            self._waited[DEVICE] += self.now() - self._step_began

    def end_step(self) -> None:
        """A step's results have arrived. The step that includes compilation has no speed."""
        self._ended += 1
        if self.phase == COMPILING:
            self.enter(TRAINING)
        elif self.phase == TRAINING:
            self._steps += 1
            if self._step_ended is not None:
                self._durations.append(self.now() - self._step_ended)
        self._step_ended = self.now()

    def count_programs(self, compiled: int, of: int) -> None:
        """So many programs are compiled, that of the step included, of one for each shape."""
        self._compiled, self._programs = compiled, of

    def step_seconds(self) -> float | None:
        """The median of the newest steps: those that compile do not count; None: no step yet.

        The mean, where steps have several shapes and so differ.
        """
        middle = statistics.median if self._programs == 1 else statistics.fmean
        return middle(self._durations) if self._durations else None

    def mean_step_seconds(self, newest: int) -> float | None:
        """The mean of so many of the newest steps at most; None: no step yet."""
        some = list(self._durations)[-newest:]
        return statistics.fmean(some) if some else None

    def pauses(self, phase: str) -> list[float]:
        """Seconds of each pause for EVALUATING or SAVING."""
        return list(self._pauses[phase])

    def seconds_left(self, steps: int) -> float | None:
        """How long so many more steps take, with as many pauses as so far, by their medians.

        Programs that are not compiled yet take as long as those that are did. Of two evaluations,
        the first of which compiles, the shorter one is the usual one.
        """
        step_seconds = self.step_seconds()
        if step_seconds is None:
            return None
        pauses = sum(
            len(each) * statistics.median_low(each) for each in self._pauses.values() if each
        )
        to_compile = (self._programs / self._compiled - 1) * self.seconds(COMPILING)
        return to_compile + steps * (step_seconds + pauses / self._ended)

    @contextlib.contextmanager
    def waiting(self, what: str) -> Iterator[None]:
        """Times a wait for INPUT (the next batch) or DEVICE (the results of a step)."""
        began, training = self.now(), self.phase == TRAINING
        try:
            yield
        finally:
            if training:
                self._waited[what] += self.now() - began

    def speed(self, work: StepWork) -> dict[str, float]:
        """Metrics since the last reading, by the time spent training; none before a timed step."""
        if not self._steps:
            return {}
        trained = self.seconds(TRAINING)
        seconds = max(trained - self._trained_before, 1e-9)
        tokens = self._steps * work.tokens / seconds
        metrics = {
            'speed/steps_per_second': self._steps / seconds,
            'speed/tokens_per_second': tokens,
            **{f'speed/{what}_share': waited / seconds for what, waited in self._waited.items()},
        }
        if work.peak_flops:
            metrics['speed/mfu'] = tokens * work.flops_per_token / work.peak_flops
        self._steps, self._trained_before = 0, trained
        self._waited = dict.fromkeys(self._waited, 0.0)
        return metrics

    # ---- goodput

    def starts(self) -> list[Start]:  # of the run, this one last
        first = self._first or 0
        timed = None if self.timed_from is None else self.now() - self.timed_from
        this = Start(first, self.step or first, self.total, self.seconds(TRAINING), timed)
        return [*self._earlier, this]

    @property
    def elapsed(self) -> float:  # seconds that processes of this run have lived
        return sum(start.seconds for start in self.starts())

    def goodput(self) -> dict[str, float]:
        """Metrics: the share of time spent training, of this process and over all starts."""
        starts = self.starts()
        return {'speed/goodput': goodput(starts[-1:]), 'speed/run_goodput': goodput(starts)}

    def goodput_line(self) -> str:
        """The goodput in words, at the end of a run.

        The record in the workdir, which the run's page reads, is final then: both show one number.
        """
        own, whole = self.goodput().values()
        self.write()
        self._is_closed = True
        text = f"{own:.1%} of this process's time went into steps (goodput)"
        return f'{text}, {whole:.1%} over {len(self.starts())} starts' if self._earlier else text

    def write(self) -> None:
        """The first process updates the workdir's record of starts, once training has begun."""
        if self._path is None or self._first is None or self._is_closed:
            return
        if distributed.is_first():
            records = [start._asdict() for start in self.starts()]
            files.write_whole(self._path, json.dumps({'starts': records}) + '\n')


def goodput(starts: list[Start]) -> float:
    """Seconds spent on steps that were kept, divided by the seconds in which a process lived.

    A step is lost where a later start did it again.

    >>> goodput([Start(0, 100, 50.0, 40.0), Start(50, 100, 50.0, 40.0)])
    0.6
    """
    kept = 0.0
    for number, start in enumerate(starts):
        repeated_from = min((later.first for later in starts[number + 1 :]), default=start.last)
        steps = start.last - start.first
        if steps > 0:
            kept += start.training * max(min(repeated_from, start.last) - start.first, 0) / steps
    return kept / max(sum(start.seconds for start in starts), 1e-9)


def timed(starts: list[Start]) -> float:
    """Seconds that a run had its text for, over its starts."""
    return sum(start.seconds if start.timed is None else start.timed for start in starts)


def began(pid: int) -> str | None:
    """When a process of this machine began, in ticks since the boot; None: there is none."""
    try:
        with open(f'/proc/{pid}/stat') as file:
            state, *rest = file.read().rpartition(')')[2].split()
        return None if state in 'ZX' else rest[18]
    except (OSError, ValueError):
        return None


def process_age() -> float:
    """Seconds since this process was started, imports included; 0 where that is not known."""
    ticks = began(os.getpid())
    if ticks is None:
        return 0.0
    return time.clock_gettime(time.CLOCK_BOOTTIME) - int(ticks) / os.sysconf('SC_CLK_TCK')


def read(workdir: epath.Path) -> list[Start]:
    """The starts of a run as its workdir keeps them; none where there is no record of them."""
    try:
        content = files.parse_object((workdir / FILE).read_text())
        starts = [Start(**record) for record in content['starts']]
        goodput(starts), timed(starts)  # of numbers
        return starts
    except (OSError, ValueError, KeyError, TypeError):
        return []  # a damaged record must not stop a run
