"""Ctrl-C that ends a command within seconds, also while compiled code keeps Python waiting.

Python runs a signal's handler between two of its own instructions, so not while XLA compiles or a
vocabulary is learned. A thread that the signal wakes at once then ends the process.
"""

import contextlib
import os
import select
import signal
import threading
from collections.abc import Callable, Iterator
from typing import Any

from electra_jax.core import errors

SECONDS = 3.0  # from Ctrl-C to the end of a process whose Python does not run
STOPPED = 'stopped; type the same command again to continue'

_handled = threading.Event()  # the newest Ctrl-C has reached its handler
# Each says whether nothing is lost by an end now; the last one counts, none: nothing is.
_conditions: list[Callable[[], bool]] = []


def while_importing() -> None:
    """Lets Ctrl-C end the process in one line; `watch` follows."""
    if signal.getsignal(signal.SIGINT) == signal.default_int_handler:
        signal.signal(signal.SIGINT, lambda number, frame: errors.end_now(STOPPED))


def watch() -> None:
    """Makes Ctrl-C a KeyboardInterrupt, and the end of the process where Python does not run.

    Where it is ignored, as in a script's background job, it stays ignored.
    """
    if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:
        return
    signal.signal(signal.SIGINT, _raise)
    reading, writing = os.pipe()
    os.set_blocking(writing, False)
    signal.set_wakeup_fd(writing, warn_on_full_buffer=False)
    threading.Thread(target=_wait, args=(reading,), daemon=True, name='interrupt').start()


def handled() -> None:
    """Every handler of Ctrl-C calls this first."""
    _handled.set()


@contextlib.contextmanager
def ends_only_if(may_end: Callable[[], bool]) -> Iterator[None]:
    """Within it a first Ctrl-C waits for Python where `may_end` is false; a second does not."""
    _conditions.append(may_end)
    try:
        yield
    finally:
        _conditions.remove(may_end)


def _raise(number: int, frame: Any) -> None:
    handled()
    raise KeyboardInterrupt


def _wait(reading: int) -> None:
    typed = 0
    while True:
        count = _typed(reading, None)
        if not count:
            continue  # another signal
        typed, patience = typed + count, SECONDS
        while not _handled.wait(patience):
            typed += _typed(reading, 0.0)
            if typed > 1 or all(may_end() for may_end in _conditions[-1:]):
                errors.end_now(STOPPED)
            patience = 0.2
        _handled.clear()


def _typed(reading: int, seconds: float | None) -> int:
    """How often Ctrl-C was typed; waits for a signal so long at most (None: without end)."""
    ready, _, _ = select.select([reading], [], [], seconds)
    return os.read(reading, 64).count(signal.SIGINT) if ready else 0
