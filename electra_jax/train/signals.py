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
    _leaves = False  # whether a signal ends what is under way

    @contextlib.contextmanager
    def leaving(self) -> Iterator[None]:
        """Work that is left unfinished when a signal comes: nothing is lost by that."""
        self._leaves = True
        try:
            yield
        except KeyboardInterrupt:
            if self.name is None:
                raise
        finally:
            self._leaves = False

    def has_come(self) -> bool:
        """Whether a signal has asked this process to end."""
        return self.name is not None

    def asked(self, name: str) -> None:
        """A signal has come."""
        is_second = self.name == name == 'SIGINT'
        self.name = name
        if is_second or self._leaves:
            raise KeyboardInterrupt

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
        stop.asked(signal.Signals(number).name)

    before = {number: signal.signal(number, ask) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        with interrupt.ends_only_if(may_end):
            yield stop
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
