"""Programs measured in turns, each in a process of its own (`bench/worker.py` is their side)."""

import contextlib
import json
import os
import signal
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from typing import IO, Any, NamedTuple

from electra_jax.core.errors import UserError

Said = dict[str, Any]


class Entry(NamedTuple):
    """A program to be measured.

    Attributes:
      name: in tables.
      module: run with `python -m`.
      settings: its only argument, as JSON.
      environment: variables of its process beside those of this one.
    """

    name: str
    module: str
    settings: Mapping[str, Any]
    environment: Mapping[str, str] = {}


class Measured(NamedTuple):
    """What a program said."""

    name: str
    ready: Said  # after its warm-up
    turns: list[Said]
    report: Said  # at its end

    def all(self, key: str) -> list[float]:
        """The numbers of every turn under `key`, in order; none where it does not measure that."""
        return [value for turn in self.turns for value in turn.get(key, ())]

    @property
    def peak_memory_bytes(self) -> int:
        """On an accelerator the allocator's peak, else the process's since its warm-up."""
        return self.report.get('peak_device_bytes') or self.report['peak_host_bytes']


class Contestant:
    """A program that has warmed up and waits for its turns."""

    def __init__(self, entry: Entry, process: subprocess.Popen, errors: IO[bytes]):
        """Waits for the warm-up.

        Raises:
            UserError: the program failed.
        """
        self.name, self._process, self._errors = entry.name, process, errors
        self._turns: list[Said] = []
        self.ready = self._hear()

    def turn(self, amount: int) -> Said:
        """Lets it do so much, and says what it measured."""
        self._tell(f'{amount}\n')
        self._turns.append(self._hear())
        return self._turns[-1]

    def end(self) -> Measured:
        """Ends it."""
        self._process.stdin.close()
        report = self._hear()
        self._process.wait()
        return Measured(self.name, self.ready, self._turns, report)

    def _tell(self, line: str) -> None:
        with contextlib.suppress(BrokenPipeError):  # `_hear` says what went wrong
            self._process.stdin.write(line)
            self._process.stdin.flush()

    def _hear(self) -> Said:
        line = self._process.stdout.readline()
        if line:
            return json.loads(line)
        status = self._process.wait()
        self._errors.seek(0)
        said = self._errors.read().decode('utf-8', 'replace').strip().splitlines()
        raise UserError(
            f'{self.name} could not be measured (exit status {status}):\n' + '\n'.join(said[-15:])
        )


class Arena(contextlib.ExitStack):
    """Starts programs, and ends all of them when it is left, by SIGTERM too."""

    def __enter__(self) -> 'Arena':
        before = signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(128 + number))
        self.callback(signal.signal, signal.SIGTERM, before)
        return super().__enter__()

    def enter(self, entry: Entry) -> Contestant:
        """Starts a program and waits until it has warmed up; start one after another.

        Raises:
            UserError: it failed.
        """
        errors = self.enter_context(tempfile.TemporaryFile())  # noqa: SIM115
        process = subprocess.Popen(
            [sys.executable, '-m', entry.module, json.dumps(entry.settings)],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=errors, text=True,
            env={**os.environ, **entry.environment},
        )  # fmt: skip
        self.callback(_stop, process)
        return Contestant(entry, process, errors)

    def enter_any(self, entries: Sequence[Entry], say: Callable[[str], None]) -> list[Contestant]:
        """Starts those of some programs that can be run here.

        Raises:
            UserError: none of them can.
        """
        found, failed = [], []
        for entry in entries:
            say(f'{entry.name}: warming up')
            try:
                found.append(self.enter(entry))
            except UserError as error:
                failed.append(error)
                say(f'left out: {error}')
        if not found:
            raise failed[0]
        return found


def _stop(process: subprocess.Popen) -> None:
    if process.poll() is None:
        process.kill()
    process.wait()
    for pipe in (process.stdin, process.stdout):
        with contextlib.suppress(BrokenPipeError):
            pipe.close()


def compete(
    contestants: Sequence[Contestant], turns: int, amount: int, after: Callable[[int], None]
) -> list[Measured]:
    """Lets each do `amount` in each turn, one after another, then ends all.

    Args:
        contestants: in order.
        turns: of each.
        amount: of work in a turn, in the programs' own measure.
        after: called with the number of turns that are done.
    """
    for number in range(turns):
        for contestant in contestants:
            contestant.turn(amount)
        after(number + 1)
    return [contestant.end() for contestant in contestants]


def ratio(ours: Measured, theirs: Measured, key: str) -> float:
    """How many times as long theirs takes: the median over turns, whose two halves share the
    machine's mood.

    >>> half, whole = ({'seconds': [x, x]} for x in (0.5, 1.0))
    >>> ratio(Measured('a', {}, [half], {}), Measured('b', {}, [whole], {}), 'seconds')
    2.0
    """
    pairs = zip(ours.turns, theirs.turns, strict=True)
    return statistics.median(
        statistics.median(b[key]) / statistics.median(a[key]) for a, b in pairs
    )
