"""What the process is doing, and how long it has been doing what."""

import collections
import contextlib
import os
import time
from collections.abc import Iterator

STARTING, COMPILING, TRAINING = 'starting', 'compiling', 'training'
EVALUATING, SAVING, ENDING = 'evaluating', 'saving', 'ending'


class Phases:
    """The current phase and step, and the seconds spent in each phase.

    Written by the thread that trains, read by others. Clocks that can be set play no part.
    """

    def __init__(self):
        self.name = STARTING
        self.step: int | None = None  # the newest one that was begun
        self._spent: dict[str, float] = collections.defaultdict(float)
        self._since = time.monotonic()
        self._spent[STARTING] = process_age()
        self.slowest_step = 0.0  # seconds, of those that were training from end to end
        self._step_since: float | None = None

    def enter(self, name: str) -> None:
        """Ends the current phase."""
        now = time.monotonic()
        self._spent[self.name] += now - self._since
        self.name, self._since, self._step_since = name, now, None

    def begin_step(self, step: int) -> None:
        """The step before it is over."""
        now = time.monotonic()
        if self._step_since is not None and self.name == TRAINING:
            self.slowest_step = max(self.slowest_step, now - self._step_since)
        self.step, self._step_since = step, now

    def step_seen(self) -> None:
        """A step's results are here: compiling, if that was going on, is over."""
        if self.name == COMPILING:
            self.enter(TRAINING)

    @contextlib.contextmanager
    def during(self, name: str) -> Iterator[None]:
        """Another phase for a while."""
        before = self.name
        self.enter(name)
        try:
            yield
        finally:
            self.enter(before)

    def seconds(self, name: str) -> float:
        """Spent in one phase so far."""
        return self._spent[name] + (time.monotonic() - self._since if name == self.name else 0.0)

    @property
    def total(self) -> float:
        """Seconds since the process began."""
        return sum(self._spent.values()) + time.monotonic() - self._since

    @property
    def goodput(self) -> float:
        """Share of them spent training."""
        return self.seconds(TRAINING) / self.total


def process_age() -> float:
    """Seconds since this process was started, imports included; 0 where nobody knows."""
    try:
        with open('/proc/self/stat') as file:
            ticks = int(file.read().rpartition(')')[2].split()[19])
        return time.clock_gettime(time.CLOCK_BOOTTIME) - ticks / os.sysconf('SC_CLK_TCK')
    except (OSError, ValueError, IndexError, AttributeError):
        return 0.0
