"""One process at a time writes a workdir: a file that says which, and goes on saying it.

A file that is refreshed, not an operating system's lock, because a workdir may be a bucket. Who
finds one decides whether its owner lives: on the same machine by its process number and when that
process began; of another machine by whether the file still changes, watched with the finder's own
monotonic clock, so that clocks need not agree.
"""

import contextlib
import json
import os
import secrets
import socket
import time
from collections.abc import Iterator
from typing import Any

from etils import epath

from electra_jax.core import files
from electra_jax.core.errors import CheckpointError
from electra_jax.runtime import distributed

FILE = 'lock.json'  # of a workdir
STALE_SECONDS = 35.0  # without a change: more than three heartbeats
_POLL_SECONDS = 1.0
_SETTLE_SECONDS = 0.2  # after taking it: another may have taken it in the same moment


class Lock:
    """A workdir that is ours."""

    def __init__(self, workdir: epath.Path):
        """Takes it.

        Raises:
            CheckpointError: another process has it.
        """
        self._path = workdir / FILE
        self._token = secrets.token_hex(8)
        self._beat = 0
        workdir.mkdir(parents=True, exist_ok=True)
        owner = _read(self._path)
        if owner and _alive(owner, self._path):
            raise _taken(workdir, owner)
        self._write()
        time.sleep(_SETTLE_SECONDS)
        owner = _read(self._path)
        if owner is None or owner.get('token') != self._token:
            raise _taken(workdir, owner or {})

    def refresh(self) -> None:
        """Says that the owner lives; ends the process where another has taken the workdir."""
        owner = _read(self._path)
        if owner is not None and owner.get('token') != self._token:
            distributed.end_now(str(_taken(self._path.parent, owner)))
        self._beat += 1
        self._write()

    def release(self) -> None:
        """Gives the workdir back."""
        owner = _read(self._path)
        if owner is not None and owner.get('token') == self._token:
            self._path.unlink(missing_ok=True)

    def _write(self) -> None:
        content = {'token': self._token, 'beat': self._beat, **_identity()}
        files.write_whole(self._path, json.dumps(content) + '\n', self._token)


@contextlib.contextmanager
def held(workdir: epath.Path) -> Iterator[Lock | None]:
    """The workdir is ours inside; of several processes of a run the first one holds it.

    Raises:
        CheckpointError: another run has it.
    """
    if not distributed.is_first():
        yield None
        return
    lock = Lock(workdir)
    try:
        yield lock
    finally:
        lock.release()


def _identity() -> dict[str, Any]:
    return {'host': socket.gethostname(), 'machine': _machine(), 'pid': os.getpid(),
            'began': _began(os.getpid())}  # fmt: skip


def _machine() -> str | None:
    """Names this boot of this machine, and the container whose process numbers we see."""
    try:
        with open('/proc/sys/kernel/random/boot_id') as file:
            return f'{file.read().strip()} {os.readlink("/proc/self/ns/pid")}'
    except OSError:
        return None


def _began(pid: int) -> str | None:
    """When a process of this machine was started, in ticks since the boot; None: there is none."""
    try:
        with open(f'/proc/{pid}/stat') as file:
            state, *rest = file.read().rpartition(')')[2].split()
    except (OSError, ValueError):
        return None
    return None if state in 'ZX' else rest[18]


def _alive(owner: dict[str, Any], path: epath.Path) -> bool:
    machine = _machine()
    if machine is not None and owner.get('machine') == machine:
        return owner.get('began') == _began(int(owner['pid'])) is not None
    if owner.get('host') == socket.gethostname() and machine is not None and owner.get('machine'):
        same_boot = owner['machine'].split()[0] == machine.split()[0]
        if not same_boot:
            return False  # this machine has been started again since
    # Another machine: a living owner changes the file.
    first = owner
    until = time.monotonic() + STALE_SECONDS
    while time.monotonic() < until:
        time.sleep(_POLL_SECONDS)
        now = _read(path)
        if now is None:
            return False
        if now != first:
            return True
    return False


def _read(path: epath.Path) -> dict[str, Any] | None:
    try:
        return files.parse_object(path.read_text())
    except (OSError, ValueError):
        return None  # there is none, or it is torn: its owner would write it again


def _taken(workdir: epath.Path, owner: dict[str, Any]) -> CheckpointError:
    who = f'process {owner.get("pid", "?")} on {owner.get("host", "another machine")}'
    return CheckpointError(
        f'{workdir} is being written by {who}: two runs in one workdir would spoil each other. '
        'Wait for it, stop it, or name another --workdir.'
    )
