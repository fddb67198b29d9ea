"""The processes of a run watch each other: where one fails or vanishes, all end and report why.

Without it a process would wait in a collective operation forever. Each process writes every few
seconds that it lives, to the key-value store of JAX's coordination service (which the first process
runs), and checks with its own monotonic clock when the other ones last wrote something new.
"""

import contextlib
import socket
import threading
import time
from collections.abc import Iterator, Mapping

import jax

# The store has no public name. JAX's range in pyproject.toml keeps to versions where this private
# one was tried (tests/end_to_end/test_several_processes.py).
from jax._src import distributed as coordination

from electra_jax.core import errors
from electra_jax.core.errors import first_line
from electra_jax.runtime import distributed

BEAT_SECONDS = 5.0
LOST_SECONDS = 30.0  # of silence
_FOLDER = 'electra_jax/alive'
_DONE, _FAILED = 'done', 'failed'


class Watch:
    """What the other processes have written last, and when."""

    def __init__(self, me: int):
        self._me = me
        self._last: dict[int, tuple[str, float]] = {}  # process -> its message, when it arrived

    def judge(self, messages: Mapping[int, str], now: float) -> str | None:
        """Why the run cannot continue, by the newest message of each process; None: it can.

        A process that has not written yet is not judged: JAX itself waits for it.
        """
        for process, message in messages.items():
            if process == self._me:
                continue
            if self._last.get(process, ('', now))[0] != message:
                self._last[process] = message, now
            state, _, rest = message.partition(' ')
            if state == _FAILED:
                return f'process {process} has stopped: {rest}'
            host = rest.partition(' ')[0]
            silent = now - self._last[process][1]
            if state != _DONE and silent > LOST_SECONDS:
                return f'process {process} on {host} has been silent for {silent:.0f} s'
        return None


class Watchdog:
    """A thread that shows that this process lives, and watches the other ones."""

    def __init__(self) -> None:
        client = coordination.global_state.client
        assert client is not None, 'distributed.initialize() comes first'
        self._client = client
        self._me = jax.process_index()
        self._watch = Watch(self._me)
        self._beats, self._reached = 0, time.monotonic()
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name='watchdog', daemon=True)
        self._thread.start()

    def leave(self, failure: str | None = None) -> None:
        """Announces that this process ends, and with `failure` that the other ones must, too."""
        self._stop.set()
        self._thread.join()
        with contextlib.suppress(jax.errors.JaxRuntimeError):
            self._write(_DONE if failure is None else f'{_FAILED} {failure}')
        if failure is not None and self._me == 0:
            time.sleep(2 * BEAT_SECONDS)  # the store ends with this process: let them read it

    def _run(self) -> None:
        while True:
            try:
                self._beats += 1
                self._write(f'alive {socket.gethostname()} {self._beats}')
                entries = self._client.key_value_dir_get(_FOLDER)
                self._reached = time.monotonic()
            except jax.errors.JaxRuntimeError as error:
                wrong = None
                if time.monotonic() - self._reached > LOST_SECONDS:
                    wrong = f'process 0 cannot be reached ({first_line(error)})'
            else:
                messages = {int(key.rpartition('/')[2]): message for key, message in entries}
                wrong = self._watch.judge(messages, self._reached)
            if wrong is not None and not self._stop.is_set():
                errors.end_now(
                    f'{wrong}. This process ends, too. The newest checkpoint is safe: type the '
                    'same command again, on every host, to continue from it.'
                )
            if self._stop.wait(BEAT_SECONDS):
                return

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
