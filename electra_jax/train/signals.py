"""Signals that ask a run to end."""

import contextlib
import signal
from collections.abc import Iterator
from typing import Any

import jax


class Stop:
    """Set by a signal."""

    name: str | None = None


@contextlib.contextmanager
def stop_signals() -> Iterator[Stop]:
    """SIGTERM and the first Ctrl-C ask for an orderly end; a second Ctrl-C means now.

    Several processes must end after the same step, so there SIGTERM is left to JAX, which tells
    the others (`distributed.told_to_stop`), and Ctrl-C means now.
    """
    stop = Stop()
    if jax.process_count() > 1:
        yield stop
        return

    def ask(number: int, frame: Any) -> None:
        del frame
        if stop.name == signal.Signals(number).name == 'SIGINT':
            raise KeyboardInterrupt
        stop.name = signal.Signals(number).name

    before = {number: signal.signal(number, ask) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        yield stop
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
