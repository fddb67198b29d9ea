"""One process at a time writes a workdir: its owner is named in a file, which it keeps refreshing.

A file and not an operating system's lock, because a workdir may be on a bucket. A process that
finds the file decides whether the owner still lives: on the same machine by the owner's process
number and the time when that process began; on another machine by whether the file still changes,
watched with the own monotonic clock, so that the machines' clocks need not agree.
"""

import contextlib
import json
import os
import secrets
import socket
import time
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

from etils import epath

from electra_jax.core import errors, files
from electra_jax.core.errors import CheckpointError
from electra_jax.runtime import distributed
from electra_jax.train.clock import began

FILE = 'lock.json'  # in the workdir


class Waits(NamedTuple):
    """How long a process waits, in seconds."""

    stale: float = 35.0  # an owner elsewhere whose file stands still is dead; over three heartbeats
    poll: float = 1.0  # between two looks at that file
    settle: float = 0.2  # after writing it: another process may have written it, too
    sleep: Callable[[float], None] = time.sleep


_WAITS = Waits()


class Lock:
    """A workdir that this process owns."""

    def __init__(self, workdir: epath.Path, waits: Waits = _WAITS):
        """Makes this process the owner.

        Raises:
            CheckpointError: another process owns it.
        """
        self._path = workdir / FILE
        self._token = secrets.token_hex(8)
        self._beat = 0
        workdir.mkdir(parents=True, exist_ok=True)
        owner = _read(self._path)
        if owner and _is_alive(owner, self._path, waits):
            raise _taken(workdir, owner)
        self._write()
        waits.sleep(waits.settle)
        owner = _read(self._path)
        if owner.get('token') != self._token:
            raise _taken(workdir, owner)

    def refresh(self) -> None:
        """Shows that the owner lives; ends this process where another one owns the workdir now."""
        owner = _read(self._path)
        if owner and owner.get('token') != self._token:
            errors.end_now(str(_taken(self._path.parent, owner)))
        self._beat += 1
        self._write()

    def release(self) -> None:
        """Gives up the workdir."""
        if _read(self._path).get('token') == self._token:
            self._path.unlink(missing_ok=True)

    def _write(self) -> None:
        content = {'token': self._token, 'beat': self._beat, **_identity()}
        files.write_whole(self._path, json.dumps(content) + '\n', self._token)


@contextlib.contextmanager
def held(workdir: epath.Path, waits: Waits = _WAITS) -> Iterator[Lock | None]:
    """This run owns the workdir inside; of its processes the first one holds the lock.

    Raises:
        CheckpointError: another run owns it.
    """
    if not distributed.is_first():
        yield None
        return
    lock = Lock(workdir, waits)
    try:
        yield lock
    finally:
        lock.release()


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
            return bool(current)
    return False


def _read(path: epath.Path) -> dict[str, Any]:
    try:
        return files.parse_object(path.read_text())
    except (OSError, ValueError):
        return {}  # there is none, or it is torn: a living owner writes it again


def _taken(workdir: epath.Path, owner: dict[str, Any]) -> CheckpointError:
    who = f'process {owner.get("pid", "?")} on {owner.get("host", "another machine")}'
    return CheckpointError(
        f'{workdir} is being written by {who}: two runs in one workdir would damage each other. '
        'Wait for it, stop it, or name another --workdir.'
    )
