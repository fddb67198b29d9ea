"""Signals that ask a run to end."""

import contextlib
import signal
from collections.abc import Callable, Iterator
from typing import Any

import jax

from electra_jax.runtime import distributed, interrupt


class Stop:
    """Whether a signal has asked the run to end."""

    name: str | None = None  # of the signal

    def requested(self, step: int) -> bool:
        """Whether the run ends after this step; every process asks after every step."""
        if self.name is None and distributed.told_to_stop(step):
            self.name = 'SIGTERM'
        return self.name is not None


@contextlib.contextmanager
def stop_signals(may_end: Callable[[], bool]) -> Iterator[Stop]:
    """SIGTERM and the first Ctrl-C ask for an orderly end; a second Ctrl-C ends at once.

    Several processes must end after the same step. So there SIGTERM is left to JAX, which informs
    all of them (`distributed.told_to_stop`), and Ctrl-C ends at once. While `may_end`, there
    is nothing to save, and Ctrl-C does not wait for long, as for the compiler.
    """
    stop = Stop()
    if jax.process_count() > 1:
        yield stop
        return

    def ask(number: int, frame: Any) -> None:
        del frame
        if number == signal.SIGINT:
            interrupt.handled()
        if stop.name == signal.Signals(number).name == 'SIGINT':
            raise KeyboardInterrupt
        stop.name = signal.Signals(number).name

    before = {number: signal.signal(number, ask) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        with interrupt.ends_only_if(may_end):
            yield stop
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
