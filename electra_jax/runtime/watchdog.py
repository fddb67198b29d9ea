"""The processes of a run watch each other: where one fails or vanishes, all end and say why.

Without it a process waits in a collective for one that will never come. Each says every few
seconds that it lives, through the store of JAX's coordination service (which the first process
keeps), and looks when the others last said something new, by its own monotonic clock.
"""

import contextlib
import socket
import threading
import time
from collections.abc import Iterator, Mapping

import jax
from jax._src import distributed as coordination  # the store has no public name

from electra_jax.core.errors import first_line
from electra_jax.runtime import distributed

BEAT_SECONDS = 5.0
LOST_SECONDS = 30.0  # of silence
_FOLDER = 'electra_jax/alive'
_DONE, _FAILED = 'done', 'failed'


class Watch:
    """What the others have said, and when."""

    def __init__(self, me: int):
        self._me = me
        self._heard: dict[int, tuple[str, float]] = {}  # process -> its words, and when they came

    def judge(self, said: Mapping[int, str], now: float) -> str | None:
        """Why the run cannot go on; None: it can.

        Args:
            said: each process's newest words; one that has not spoken yet is not judged, JAX waits
                for it by itself.
            now: seconds, monotonic.
        """
        for process, words in said.items():
            if process == self._me:
                continue
            before = self._heard.get(process)
            if before is None or before[0] != words:
                self._heard[process] = words, now
            state, _, rest = words.partition(' ')
            if state == _FAILED:
                return f'process {process} has stopped: {rest}'
            host = rest.partition(' ')[0]
            silent = now - self._heard[process][1]
            if state != _DONE and silent > LOST_SECONDS:
                return f'process {process} on {host} has not been heard of for {silent:.0f} s'
        return None


class Peers:
    """This process's thread of watching and being watched."""

    def __init__(self):
        self._client = coordination.global_state.client
        self._me = jax.process_index()
        self._watch = Watch(self._me)
        self._beats, self._reached = 0, time.monotonic()
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name='peers', daemon=True)
        self._thread.start()

    def leave(self, failure: str | None = None) -> None:
        """Tells the others that this process ends, and whether they must, too."""
        self._stop.set()
        self._thread.join()
        with contextlib.suppress(jax.errors.JaxRuntimeError):
            self._tell(_DONE if failure is None else f'{_FAILED} {failure}')
        if failure is not None and self._me == 0:
            time.sleep(2 * BEAT_SECONDS)  # the store goes with this process: let them read it

    def _run(self) -> None:
        while True:
            try:
                self._beats += 1
                self._tell(f'alive {socket.gethostname()} {self._beats}')
                told = self._client.key_value_dir_get(_FOLDER)
                self._reached = time.monotonic()
            except jax.errors.JaxRuntimeError as error:
                wrong = None
                if time.monotonic() - self._reached > LOST_SECONDS:
                    wrong = f'process 0 cannot be reached ({first_line(error)})'
            else:
                said = {int(key.rpartition('/')[2]): words for key, words in told}
                wrong = self._watch.judge(said, self._reached)
            if wrong is not None and not self._stop.is_set():
                distributed.end_now(
                    f'{wrong}. This process ends, too. The newest checkpoint is safe: type the '
                    'same command again, on every host, to go on from it.'
                )
            if self._stop.wait(BEAT_SECONDS):
                return

    def _tell(self, words: str) -> None:
        self._client.key_value_set(f'{_FOLDER}/{self._me}', words, allow_overwrite=True)


@contextlib.contextmanager
def together() -> Iterator[None]:
    """Joins the other processes of the run, if there are any, and watches them while inside."""
    distributed.initialize()
    if jax.process_count() == 1:
        yield
        return
    peers = Peers()
    try:
        yield
    except jax.errors.JaxRuntimeError as error:
        # Most likely a collective whose other end has gone: the thread will know which one.
        time.sleep(LOST_SECONDS + 2 * BEAT_SECONDS)
        peers.leave(first_line(error))
        raise
    except BaseException as error:
        peers.leave(first_line(error))
        raise
    peers.leave()
