"""Signals that ask a run to end."""

import contextlib
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from typing import Any, NoReturn, TypeVar

import jax

from electra_jax.core import errors
from electra_jax.runtime import cli, distributed, interrupt, terminal

T = TypeVar('T')
Save = Callable[[], int]  # saves the run, and returns the number of steps that it has done


class Stop:
    """Whether a signal has asked the run to end."""

    name: str | None = None  # of the signal
    _leaves = False  # whether a signal ends what is under way
    _save: Save | None = None  # before that
    _is_ending = False  # whether another thread saves, and ends the process

    def __init__(self) -> None:
        self._lock = threading.RLock()  # a handler may come while this thread has it

    def unless_asked(self, work: Callable[[], T], save: Save | None = None) -> T | None:
        """Returns what `work` returns; None where a signal interrupted it, or came before it began.

        `work` must be such that nothing is lost then. Compiled code cannot be interrupted: where
        `work` is in it, another thread calls `save`, if it is given, and ends the process.
        """
        self._leaves, self._save = True, save  # from here on a signal interrupts
        try:
            return None if self.has_come() else work()
        except KeyboardInterrupt:
            if self.name is None:
                raise
            interrupt.work_was_left()
            return None
        finally:
            self._leaves, self._save = False, None

    def has_come(self) -> bool:
        """Whether a signal has asked this process to end."""
        return self.name is not None

    def asked(self, name: str) -> None:
        """A signal has come."""
        with self._lock:
            is_second = self.name == name == 'SIGINT'
            self.name = name
            is_ending = self._is_ending
        if is_ending:
            if is_second:
                interrupt.end_now()
            threading.Event().wait()  # for the end, which the other thread makes
        if is_second or self._leaves:
            raise KeyboardInterrupt

    def requested(self, step: int) -> bool:
        """Whether the run ends after this step; every process asks after every step."""
        if self.name is None and distributed.told_to_stop(step):
            self.name = 'SIGTERM'
        return self.name is not None

    def end(self) -> interrupt.End | None:
        """How another thread ends the process now; None: not without a loss."""
        return None if self._save is None else self._save_and_end

    def _save_and_end(self, name: str) -> None:
        with self._lock:
            save = self._save
            if save is None or self.name is not None:
                return  # the handler was faster
            self._is_ending = True
        try:
            step = save()
        except Exception as error:
            errors.end_now(errors.first_line(error))
        _exit(ended(name, step), name)


def ended(name: str, step: int) -> str:
    """The last lines of a run that a signal has ended after a step."""
    return f'stopped by {name} at step {step}, saved\nto continue: {cli.same_command()}'


def _end_unsaved(name: str, kept: str) -> NoReturn:
    # With the status that it has after a save: nothing is lost.
    _exit(f'stopped by {name}, with {kept}\nto continue: {cli.same_command()}', name)


def _exit(text: str, name: str) -> NoReturn:
    terminal.OUT.print(text)
    sys.stdout.flush()
    os._exit(interrupt.status_after(name))  # what compiles cannot be ended in another way


@contextlib.contextmanager
def stop_signals(
    compiles: Callable[[], bool],
    may_end: Callable[[], bool] = lambda: False,
    kept: str = 'nothing new to save',
) -> Iterator[Stop]:
    """SIGTERM and the first Ctrl-C ask for an orderly end; a second Ctrl-C ends at once.

    Several processes must end after the same step. So there SIGTERM is left to JAX, which informs
    all of them (`distributed.told_to_stop`), and Ctrl-C ends at once.

    Args:
        compiles: whether a first step is traced and compiled: there is nothing to save, and either
            ends at once.
        may_end: whether there is nothing to save otherwise, either: neither waits for long for
            compiled code.
        kept: what the last line says of the work where there is nothing to save.
    """
    stop = Stop()
    if jax.process_count() > 1:
        yield stop
        return

    def ask(number: int, frame: Any) -> None:
        del frame
        interrupt.handled()
        name = signal.Signals(number).name
        if compiles():  # Python traces what will then be compiled for minutes
            _end_unsaved(name, kept)
        stop.asked(name)

    def end() -> interrupt.End | None:
        if compiles() or may_end():
            return lambda name: _end_unsaved(name, kept)
        return stop.end()

    before = {number: signal.signal(number, ask) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        with interrupt.ends_by(end):
            yield stop
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
        if stop.name is not None:
            interrupt.ended_by(stop.name)
