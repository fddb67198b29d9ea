"""The processes of a run watch each other: where one fails, vanishes or is cut off, all report why.

Without it a process would wait in a collective operation forever. Each process writes every few
seconds that it lives, to the key-value store of JAX's coordination service (which the first process
runs), and reads what the others have written. A second thread judges, because a call to the store
itself waits for minutes where the network is down.
"""

import contextlib
import socket
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from types import MappingProxyType
from typing import NamedTuple

import jax

# The store has no public name. JAX's range in pyproject.toml keeps to versions where this private
# one was tried (tests/end_to_end/test_several_processes.py).
from jax._src import distributed as coordination

from electra_jax.core import errors
from electra_jax.core.errors import first_line
from electra_jax.runtime import connections, distributed

BEAT_SECONDS = 5.0
LOST_SECONDS = 30.0  # of silence
_GAP_SECONDS = 2 * BEAT_SECONDS  # between two answers of a store that works
_TICK_SECONDS = 1.0
_FOLDER = 'electra_jax/alive'
_DONE, _FAILED = 'done', 'failed'


class Heard(NamedTuple):
    """What the store has answered at one moment."""

    reached: float = 0.0  # that moment, in seconds
    messages: Mapping[int, str] = MappingProxyType({})  # the newest of each other process
    silent: Mapping[int, float] = MappingProxyType({})  # for how long it has been the newest


class Watch:
    """What the other processes have written last, and when.

    One thread hears while another judges, so what was heard is replaced as a whole.
    """

    def __init__(self, me: int, store: str):
        """Process `me` begins; process 0 keeps what all have written, at the address `store`."""
        self._me, self._store = me, store
        self._heard = Heard()

    def heard(self, messages: Mapping[int, str], now: float) -> None:
        """Notes the newest message of each process, which the store has answered."""
        before = self._heard
        others = {process: word for process, word in messages.items() if process != self._me}
        # While the store does not answer, nobody can write to it either.
        passed = min(now - before.reached, _GAP_SECONDS)
        silent = {
            process: before.silent[process] + passed if before.messages.get(process) == word else 0
            for process, word in others.items()
        }
        self._heard = Heard(now, others, silent)

    def judge(
        self, now: float, unanswered: Mapping[str, float] = MappingProxyType({})
    ) -> str | None:
        """Why the run cannot continue; None: it can.

        A process that has not written yet is not judged: JAX itself waits for it. `unanswered` has
        for how many seconds an address has confirmed nothing that this process has sent to it.
        """
        heard = self._heard
        for process, message in heard.messages.items():
            if message.startswith(_FAILED):
                return f'process {process} has stopped: {message.partition(" ")[2]}'
        away = now - heard.reached
        if away > LOST_SECONDS:
            return (
                f'process 0{_host(heard, 0)} has not answered for {away:.0f} s at '
                f'{self._store}: it has ended, and its output shows why, or the network between '
                f'it and {socket.gethostname()} does not work (look at both hosts)'
            )
        for process, message in heard.messages.items():
            deaf = unanswered.get(_address(message), 0.0)
            if deaf > LOST_SECONDS:
                return (
                    f'process {process}{_host(heard, process)} ({_address(message)}) has confirmed '
                    f'nothing that {socket.gethostname()} has sent to it for {deaf:.0f} s, though '
                    'both live: the network between these two does not work'
                )
            silent = heard.silent[process]
            if message != _DONE and silent > LOST_SECONDS:
                return (
                    f'process {process}{_host(heard, process)} has been silent for {silent:.0f} s: '
                    'it was killed, it hangs, or its network does not work (look at that host)'
                )
        return None

    def addresses(self) -> list[str]:
        """Those of the other processes."""
        return [_address(message) for message in self._heard.messages.values()]

    def all_done(self, count: int) -> bool:
        """Whether all other ones of `count` processes have announced their end."""
        return list(self._heard.messages.values()).count(_DONE) == count - 1


def _host(heard: Heard, process: int) -> str:
    words = heard.messages.get(process, '').split()
    return f' on {words[1]}' if len(words) > 1 else ''


def _address(message: str) -> str:
    words = message.split()
    return words[2] if len(words) == 4 else ''


class Watchdog:
    """Threads that show that this process lives, and watch the other ones."""

    def __init__(
        self, end: Callable[[str], None] = errors.end_now, beat_seconds: float = BEAT_SECONDS
    ):
        """Starts the threads; `end` ends this process with a message."""
        state = coordination.global_state
        assert state.client is not None, 'distributed.initialize() comes first'
        self._client, self._me = state.client, state.process_id
        self._count = state.num_processes
        store = state.coordinator_address or 'its address'
        self._watch, self._unanswered = Watch(self._me, store), connections.Unanswered()
        self._who = f'{socket.gethostname()} {connections.own_address(store)}'
        self._end, self._beat_seconds = end, beat_seconds
        self._read_seconds = 1.5 * beat_seconds  # until all others have read what is written
        self._seconds = 0.0  # in which this process ran: it may itself be stopped for a while
        self._last_word: str | None = None  # once this process ends
        self._leaves, self._stop = threading.Event(), threading.Event()
        self._threads = [
            threading.Thread(target=run, name=f'watchdog {run.__name__}', daemon=True)
            for run in (self._beat, self._judge)
        ]
        for thread in self._threads:
            thread.start()

    def leave(self, failure: str | None = None) -> None:
        """Announces that this process ends, and with `failure` that the other ones must, too.

        Without one it waits for the others to end: JAX lets none go before, and would wait in
        silence for one that vanishes.
        """
        self._last_word = _DONE if failure is None else f'{_FAILED} {failure}'
        self._leaves.set()
        beat, judge = self._threads
        # A failure is what the user must see: it does not wait for a store that cannot be reached.
        beat.join(None if failure is None else self._read_seconds)
        self._stop.set()
        judge.join()
        if failure is not None and self._me == 0:
            time.sleep(self._read_seconds)  # the store ends with this process: let them read it

    def _beat(self) -> None:
        beats, written = 0, ''
        while True:
            beats += 1
            word = self._last_word or f'alive {self._who} {beats}'
            with contextlib.suppress(jax.errors.JaxRuntimeError):  # the judge counts the seconds
                if word != written:
                    self._write(word)
                    written = word
                entries = self._client.key_value_dir_get(_FOLDER)
                messages = {int(key.rpartition('/')[2]): message for key, message in entries}
                self._watch.heard(messages, self._seconds)
                if written.startswith(_FAILED):
                    return
                if written == _DONE and self._watch.all_done(self._count):
                    return
            if self._leaves.is_set():
                self._stop.wait(min(self._beat_seconds, _TICK_SECONDS))
            else:
                self._leaves.wait(self._beat_seconds)
            if self._stop.is_set():
                return

    def _judge(self) -> None:
        before = time.monotonic()
        while not self._stop.wait(_TICK_SECONDS):
            now = time.monotonic()
            self._seconds += min(now - before, 2 * _TICK_SECONDS)
            before = now
            waiting = connections.waiting(self._watch.addresses())
            unanswered = self._unanswered.seconds(waiting, self._seconds)
            wrong = self._watch.judge(self._seconds, unanswered)
            if wrong is None or self._stop.is_set():
                continue
            self._give_up(wrong)
            return

    def _give_up(self, wrong: str) -> None:
        # The others learn why, where the store answers. It ends with process 0, and JAX aborts
        # those that miss it: so they get the time to read it.
        self._last_word = f'{_FAILED} {wrong}'
        self._leaves.set()
        self._threads[0].join(self._read_seconds)
        if self._me == 0:
            self._stop.wait(self._read_seconds)
        self._end(
            f'{wrong}. This process ends, too. The newest checkpoint is safe: type the '
            'same command again, on every host, to continue from it.'
        )

    def _write(self, message: str) -> None:
        self._client.key_value_set(f'{_FOLDER}/{self._me}', message, allow_overwrite=True)


@contextlib.contextmanager
def together() -> Iterator[None]:
    """Joins the other processes of the run, if there are any, and watches them while inside."""
    distributed.initialize()
    if jax.process_count() == 1:
        yield
        return
    watchdog = Watchdog()
    try:
        yield
    except jax.errors.JaxRuntimeError as error:
        # Most likely a collective operation whose other end is gone. The thread will find out
        # which process, and end this one with that message.
        time.sleep(LOST_SECONDS + 2 * BEAT_SECONDS)
        watchdog.leave(first_line(error))
        raise
    except BaseException as error:
        watchdog.leave(first_line(error))
        raise
    watchdog.leave()
