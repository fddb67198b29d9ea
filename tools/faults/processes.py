"""Starts runs, follows their marks, and waits for them with a deadline."""

import contextlib
import multiprocessing
import os
import pathlib
import subprocess
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

from tools.faults import child, setting

DEADLINE = 900.0  # seconds that any one start may take before it counts as hanging
_POLL = 0.002
_LOCK = threading.Lock()  # rounds run in threads, and multiprocessing is not thread-safe


class Missed(Exception):  # noqa: N818
    """The run ended before the moment of the fault: this try does not count."""


class Hang(Exception):  # noqa: N818
    """A process passed its deadline."""


class Mark(NamedTuple):
    """One line of a process's file of marks."""

    at: float  # monotonic seconds
    name: str
    values: list[str]


def preload() -> None:
    """Makes each forked process start with everything imported."""
    multiprocessing.get_context('forkserver').set_forkserver_preload(['tools.faults.child'])


class Process:
    """One start of the command, in a session of its own as from a terminal or scheduler."""

    def __init__(
        self,
        folder: pathlib.Path,
        words: Sequence[str],
        environment: Mapping[str, str] | None = None,
        new_program: bool = False,
        before: Sequence[str] = (),
    ):
        """Starts it.

        Args:
            folder: for its log and marks.
            words: arguments of electra_jax.main.
            environment: variables to add to those of this process.
            new_program: start a new Python, as a shell would, instead of forking one that has
                imported everything.
            before: words to put before the command of a new Python.
        """
        number = len(list(folder.glob('*.log')))
        self.log = folder / f'{number:02d}.log'
        self.log.touch()
        self._marks = folder / f'{number:02d}.marks'
        self._marks.touch()
        self._offset, self._torn = 0, ''
        self.seen: list[Mark] = []
        self.began = time.monotonic()
        if new_program:
            with self.log.open('a') as log:
                self._popen = subprocess.Popen(
                    [*before, setting.PYTHON, '-m', 'tools.faults.child', str(self._marks), *words],
                    stdout=log,
                    stderr=subprocess.STDOUT,
                    cwd=setting.ROOT,
                    env={**os.environ, **(environment or {})},
                    start_new_session=True,
                )
            self.pid, self._forked = self._popen.pid, None
        else:
            self._forked = multiprocessing.get_context('forkserver').Process(
                target=child.run,
                args=(str(self._marks), str(self.log), dict(environment or {}), list(words)),
            )
            with _LOCK:
                self._forked.start()
            self.pid = self._forked.pid

    def status(self) -> int | None:
        """Exit status, minus the signal that ended it, or None while it runs."""
        with _LOCK:
            return self._forked.exitcode if self._forked else self._popen.poll()

    def send(self, number: int) -> None:
        """Sends a signal, if the process still runs."""
        if self.status() is None:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.pid, number)

    def output(self) -> str:
        """Everything it has written so far."""
        return self.log.read_text(errors='replace')

    def marks(self) -> list[Mark]:
        """The marks that are new."""
        with self._marks.open() as file:
            file.seek(self._offset)
            text = file.read()
            self._offset = file.tell()
        fresh = []
        for line in text.splitlines():
            at, name, *values = line.split()
            fresh.append(Mark(float(at), name, values))
        self.seen += fresh
        return fresh

    def wait_for(self, wanted: Callable[[Mark], bool]) -> Mark:
        """The first mark from now on that is wanted.

        Raises:
            Missed: the process ended before.
            Hang: it ran past its deadline.
        """
        while True:
            ended = self.status() is not None
            for mark in self.marks():
                if wanted(mark):
                    return mark
            if ended:
                raise Missed(f'ended with status {self.status()} before the moment')
            self._check_deadline()
            time.sleep(_POLL)

    def sleep(self, seconds: float) -> None:
        """Lets the process run for some seconds.

        Raises:
            Missed: it ended before.
        """
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            time.sleep(min(0.01, max(0.0, end - time.monotonic())))
        if self.status() is not None:
            raise Missed(f'ended with status {self.status()} before the moment')

    def wait(self, seconds: float | None = None) -> int:
        """Its exit status.

        Args:
            seconds: from now; None: what is left of the deadline.

        Raises:
            Hang: it did not end.
        """
        end = time.monotonic() + seconds if seconds else self.began + DEADLINE
        while self.status() is None:
            if time.monotonic() > end:
                raise Hang(f'still running: {self.log}')
            time.sleep(0.01)
        self.marks()
        return self.status()

    def kill(self) -> None:
        """Kills the process and waits for its end."""
        self.send(9)
        while self.status() is None:
            time.sleep(0.01)

    def _check_deadline(self) -> None:
        if time.monotonic() > self.began + DEADLINE:
            raise Hang(f'still running: {self.log}')
