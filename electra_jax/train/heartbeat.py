"""A file in the workdir that shows that the process lives, what it does, and who owns the workdir.

One process at a time writes a workdir: its owner is named in the first process's file. A file and
not an operating system's lock, because a workdir may be on a bucket. A process that finds the file
decides whether the owner still lives: on the same machine by the owner's process number and the
time when that process began; on another machine by whether the file still changes, watched with
the own monotonic clock, so that the machines' clocks need not agree.
"""

import contextlib
import faulthandler
import json
import os
import secrets
import socket
import sys
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import jax
from etils import epath

from electra_jax.core import errors, files
from electra_jax.core.errors import CheckpointError
from electra_jax.runtime import distributed
from electra_jax.train.clock import TRAINING, Clock, began


class Waits(NamedTuple):
    """How long a process waits, in seconds."""

    beat: float = 10.0  # between two beats
    stale: float = 35.0  # an owner elsewhere whose file stands still is dead; over three beats
    poll: float = 1.0  # between two looks at that file
    settle: float = 0.2  # after writing it: another process may have written it, too
    sleep: Callable[[float], None] = time.sleep


_WAITS = Waits()


class Heartbeat:
    """Writes the file every few seconds, from a thread of its own; the first process owns it.

    For people and other machines the file holds `step`, `phase`, `time` (seconds since 1970),
    `host`, `pid` and `process`; for other starts in the same workdir `machine`, `began`, `beat`
    and `owner`, which is None once the workdir is free.
    """

    def __init__(
        self,
        workdir: epath.Path,
        clock: Clock,
        step_timeout: float | None = None,
        waits: Waits = _WAITS,
    ):
        """Makes this process the owner, writes the first beat and starts the thread.

        After `step_timeout` seconds without a new step while training (or ten times the slowest
        step so far, if that is more) the process ends itself and prints where each thread was.

        Raises:
            CheckpointError: another process owns the workdir.
        """
        process = jax.process_index()
        self._path = workdir / (f'heartbeat_{process}.json' if process else 'heartbeat.json')
        self._clock, self._step_timeout = clock, step_timeout
        self._actions = (self._refresh, clock.write, self._check_step)
        self._progress: tuple[object, float] = (None, clock.now())  # step and phase; since when
        self._reported: set[str] = set()
        self._beats, self._owner = 0, secrets.token_hex(8)
        workdir.mkdir(parents=True, exist_ok=True)
        if distributed.is_first():
            self._own(waits)
        self.beat()
        self._stop = threading.Event()
        self._thread = threading.Thread(
            target=self._run, args=(waits.beat,), name='heartbeat', daemon=True
        )
        self._thread.start()

    def beat(self) -> None:
        """Writes the file and the record of starts, and looks for a step that hangs.

        An error is printed once, and the heart goes on beating.
        """
        for action in self._actions:
            try:
                action()
            except Exception as error:
                # A full disk, or a file share or bucket (whose errors are no OSError) that is away
                # for a while. Training does not depend on it, and this thread must not end.
                if str(error) not in self._reported:
                    self._reported.add(str(error))
                    sys.stderr.write(f'the heartbeat cannot be written: {error}\n')

    def close(self) -> None:
        """Stops the thread, writes a last beat and gives up the workdir."""
        self._stop.set()
        self._thread.join()
        self.beat()
        with contextlib.suppress(Exception):  # `beat` has reported it
            if _read(self._path).get('owner') == self._owner:
                self._write(owner=None)

    def _run(self, seconds: float) -> None:
        while not self._stop.wait(seconds):
            self.beat()

    def _own(self, waits: Waits) -> None:
        found = _read(self._path)
        if found.get('owner') and _is_alive(found, self._path, waits):
            raise _taken(self._path, found)
        self._write(self._owner)
        waits.sleep(waits.settle)
        found = _read(self._path)
        if found.get('owner') != self._owner:
            raise _taken(self._path, found)

    def _refresh(self) -> None:
        """Updates the file; ends this process where another one owns the workdir now."""
        if distributed.is_first():
            found = _read(self._path)
            if found.get('owner', self._owner) != self._owner:
                errors.end_now(str(_taken(self._path, found)))
        self._write(self._owner)

    def _write(self, owner: str | None) -> None:
        self._beats += 1
        content = {
            'step': self._clock.step,
            'phase': self._clock.phase,
            'time': time.time(),
            'process': jax.process_index(),
            **_identity(),
            'beat': self._beats,
            'owner': owner,
        }
        files.write_whole(self._path, json.dumps(content) + '\n', self._owner)

    def _check_step(self) -> None:
        """Ends a process whose step does not finish: a device or a disk hangs."""
        now, clock = self._clock.now(), self._clock
        current = (clock.step, clock.phase)
        if current != self._progress[0] or clock.phase != TRAINING:
            self._progress = current, now
            return
        limit = max(self._step_timeout or float('inf'), 10 * clock.slowest_step)
        if now - self._progress[1] > limit:
            faulthandler.dump_traceback(all_threads=True)
            errors.end_now(
                f'step {clock.step} has not finished for {limit:.0f} s (health.step_timeout); '
                'above is where each thread was. The newest checkpoint is safe: type the same '
                'command again to continue from it.'
            )


@contextlib.contextmanager
def watched(workdir: epath.Path, step_timeout: float | None) -> Iterator[Clock]:
    """Owns the workdir, and keeps the files in it that show how the process does."""
    clock = Clock(workdir)
    with contextlib.closing(Heartbeat(workdir, clock, step_timeout)):
        yield clock


def _identity() -> dict[str, Any]:
    """This process, and the boot of the machine with the container that its number belongs to."""
    machine = None
    with contextlib.suppress(OSError), open('/proc/sys/kernel/random/boot_id') as file:
        machine = f'{file.read().strip()} {os.readlink("/proc/self/ns/pid")}'
    pid = os.getpid()
    return {'host': socket.gethostname(), 'machine': machine, 'pid': pid, 'began': began(pid)}


def _is_alive(owner: dict[str, Any], path: epath.Path, waits: Waits) -> bool:
    us, theirs = _identity(), owner.get('machine')
    if us['machine'] and theirs:
        if theirs == us['machine']:
            now = began(int(owner['pid']))  # its number may be that of a later process
            return now is not None and now == owner.get('began')
        rebooted = theirs.split()[0] != us['machine'].split()[0]
        if rebooted and owner.get('host') == us['host']:
            return False
    # Another machine: a living owner changes the file.
    until = time.monotonic() + waits.stale
    while time.monotonic() < until:
        waits.sleep(waits.poll)
        current = _read(path)
        if current != owner:
            return bool(current.get('owner'))
    return False


def _read(path: epath.Path) -> dict[str, Any]:
    try:
        return files.parse_object(path.read_text())
    except (OSError, ValueError):
        return {}  # there is none, or it is torn: a living owner writes it again


def _taken(path: epath.Path, owner: dict[str, Any]) -> CheckpointError:
    who = f'process {owner.get("pid", "?")} on {owner.get("host", "another machine")}'
    return CheckpointError(
        f'{path.parent} is being written by {who}: two runs in one workdir would damage each '
        'other. Wait for it, stop it, or name another --workdir.'
    )
