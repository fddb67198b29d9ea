"""Ctrl-C that ends a command within seconds, also while compiled code keeps Python waiting.

Python runs a signal's handler between two of its own instructions, so not while XLA compiles or a
vocabulary is learned. A thread that the signal wakes at once then ends the process.
"""

import contextlib
import os
import select
import signal
import socket
import sys
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any, NoReturn

from electra_jax.core import errors

SECONDS = 2.0  # from a signal to the end of a process whose Python does not run
STOPPED = 'stopped; type the same command again to continue'
# Exit status of what Ctrl-C has ended, as of every interrupted program: `a && b` leaves b out then.
STATUS = 128 + signal.SIGINT

_MOST = 4096  # bytes that are read of a socket at once
# Where the numbers of signals arrive, and stay until a handler has run; None: before `watch`.
_arrived: socket.socket | None = None
_left = threading.Event()  # a signal has interrupted work
_status = 0  # of a command whose work a signal has ended in good order
# Each tells how the process can be ended now: by a function of the signal's name, which does not
# return; None: not without a loss. The last one counts; none: at once.
End = Callable[[str], object]
_ends: list[Callable[[], End | None]] = []


def while_importing() -> None:
    """Lets Ctrl-C end the process in one line; `watch` follows."""
    if signal.getsignal(signal.SIGINT) == signal.default_int_handler:
        signal.signal(signal.SIGINT, lambda number, frame: end_now())


def end_now() -> NoReturn:
    """Ends the process, which Ctrl-C has asked for."""
    errors.end_now(STOPPED, STATUS)


def watch() -> None:
    """Makes Ctrl-C a KeyboardInterrupt, and the end of the process where Python does not run.

    Where it is ignored, as in a script's background job, it stays ignored.
    """
    if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:
        return
    signal.signal(signal.SIGINT, _raise)
    global _arrived
    _arrived, writing = socket.socketpair()
    _arrived.setblocking(False)
    writing.setblocking(False)
    signal.set_wakeup_fd(writing.detach(), warn_on_full_buffer=False)
    threading.Thread(target=_wait, args=(_arrived,), daemon=True, name='interrupt').start()


def handled() -> None:
    """Every handler of Ctrl-C calls this first, and of SIGTERM within `ends_by`."""
    if _arrived is not None:
        with contextlib.suppress(BlockingIOError):
            _arrived.recv(_MOST)


@contextlib.contextmanager
def ends_by(end: Callable[[], End | None]) -> Iterator[None]:
    """Within it SIGTERM and a first Ctrl-C end a process whose Python does not run by `end()`.

    Where that is None they wait for Python; a second Ctrl-C never does.
    """
    _ends.append(end)
    try:
        yield
    finally:
        _ends.remove(end)


def work_was_left() -> None:
    """A signal has interrupted work that goes on in other threads, such as the compiler's."""
    _left.set()


def status_after(name: str) -> int:
    """The exit status after a signal has ended work in good order: 0 after SIGTERM.

    Whoever sends that has got what it asked for (`launch/stoppable.sh` is for schedulers).
    """
    return STATUS if name == 'SIGINT' else 0


def ended_by(name: str) -> None:
    """A signal has ended the work of this command in good order."""
    global _status
    _status = status_after(name)


def status() -> int:
    """The exit status of a command that is over."""
    return _status


def end_if_left() -> None:
    """Ends a command that is over without waiting for work that was left; JAX would."""
    if _left.is_set():
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(_status)


def _raise(number: int, frame: Any) -> None:
    handled()
    raise KeyboardInterrupt


def _wait(reading: socket.socket) -> None:
    while True:
        select.select([reading], [], [])
        patience, is_ending = SECONDS, False
        while _unhandled(reading):
            time.sleep(patience)
            names = _unhandled(reading)
            if not names:
                continue
            if names.count('SIGINT') > 1 or not _ends:
                end_now()
            if not is_ending and (end := _ends[-1]()) is not None:
                is_ending = True
                # In a thread of its own: it may save, and a second Ctrl-C does not wait for that.
                threading.Thread(target=end, args=(names[0],), daemon=True).start()
            patience = 0.2


def _unhandled(reading: socket.socket) -> list[str]:
    """Names of the signals that have come, and whose handlers have not called `handled`."""
    try:
        numbers = reading.recv(_MOST, socket.MSG_PEEK)
        # Only within `ends_by` it is sure that a handler of SIGTERM calls `handled`.
        asked = {signal.SIGINT, signal.SIGTERM} if _ends else {signal.SIGINT}
        if not asked.intersection(numbers):
            reading.recv(len(numbers))  # other signals
    except BlockingIOError:
        return []
    return [signal.Signals(number).name for number in numbers if number in asked]
