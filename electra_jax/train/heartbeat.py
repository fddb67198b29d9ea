"""A file in the workdir that shows that the process lives, and what it is doing."""

import contextlib
import faulthandler
import json
import os
import socket
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence

import jax
from etils import epath

from electra_jax.core import errors, files
from electra_jax.train import lock
from electra_jax.train.clock import TRAINING, Clock

BEAT_SECONDS = 10.0


def file_name(process: int) -> str:
    """The name of a process's heartbeat file in the workdir."""
    return 'heartbeat.json' if process == 0 else f'heartbeat_{process}.json'


class Heartbeat:
    """Writes the file every few seconds, from a thread of its own.

    The file holds `step`, `phase`, `time` (seconds since 1970, for people and other machines;
    no code here reads it), `host`, `pid` and `process`.
    """

    def __init__(
        self,
        workdir: epath.Path,
        clock: Clock,
        step_timeout: float | None = None,
        also: Sequence[Callable[[], None]] = (),
        beat_seconds: float = BEAT_SECONDS,
    ):
        """Writes the first beat and starts the thread.

        Args:
            workdir: holds the file.
            clock: of the process.
            step_timeout: seconds without a new step, while training, after which the process ends
                itself and prints where each thread was; None: never. The limit is ten times the
                slowest step so far, if that is more.
            also: called at every beat; an error is reported once, and the heart goes on beating.
            beat_seconds: between two beats; the caller may call `beat` in addition.
        """
        self._path = workdir / file_name(jax.process_index())
        self._clock, self._step_timeout = clock, step_timeout
        self._actions = (self.write, *also, self._check_step)
        self._progress: tuple[object, float] = (None, clock.now())  # step and phase; since when
        self._reported: set[str] = set()
        self._stop = threading.Event()
        workdir.mkdir(parents=True, exist_ok=True)
        self.beat()
        self._thread = threading.Thread(
            target=self._run, args=(beat_seconds,), name='heartbeat', daemon=True
        )
        self._thread.start()

    def write(self) -> None:
        content = {
            'step': self._clock.step,
            'phase': self._clock.phase,
            'time': time.time(),
            'host': socket.gethostname(),
            'pid': os.getpid(),
            'process': jax.process_index(),
        }
        files.write_whole(self._path, json.dumps(content) + '\n')

    def beat(self) -> None:
        """Does everything that is done at every beat."""
        for action in self._actions:
            try:
                action()
            except Exception as error:
                # A full disk, or a file share or bucket (whose errors are no OSError) that is away
                # for a while. Training does not depend on it, and this thread must not end.
                if str(error) not in self._reported:
                    self._reported.add(str(error))
                    sys.stderr.write(f'the heartbeat cannot be written: {error}\n')

    def close(self) -> None:
        """Stops the thread and writes a last beat."""
        self._stop.set()
        self._thread.join()
        self.beat()

    def _run(self, beat_seconds: float) -> None:
        while not self._stop.wait(beat_seconds):
            self.beat()

    def _check_step(self) -> None:
        """Ends a process whose step does not finish: a device or a disk hangs."""
        now, clock = self._clock.now(), self._clock
        current = (clock.step, clock.phase)
        if current != self._progress[0] or clock.phase != TRAINING:
            self._progress = current, now
            return
        limit = max(self._step_timeout or float('inf'), 10 * clock.slowest_step)
        if now - self._progress[1] > limit:
            faulthandler.dump_traceback(all_threads=True)
            errors.end_now(
                f'step {clock.step} has not finished for {limit:.0f} s (health.step_timeout); '
                'above is where each thread was. The newest checkpoint is safe: type the same '
                'command again to go on from it.'
            )


@contextlib.contextmanager
def watched(workdir: epath.Path, step_timeout: float | None) -> Iterator[Clock]:
    """Holds the workdir's lock, and keeps the files in it that show how the process does."""
    with lock.held(workdir) as held:
        clock = Clock(workdir)
        also = (held.refresh, clock.write) if held else ()
        with contextlib.closing(Heartbeat(workdir, clock, step_timeout, also)):
            yield clock
