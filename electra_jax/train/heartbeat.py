"""A file that says where the process is, kept fresh whatever the process is doing."""

import faulthandler
import json
import os
import socket
import sys
import threading
import time
from collections.abc import Callable, Sequence

import jax
from etils import epath

from electra_jax.core import files
from electra_jax.runtime import distributed
from electra_jax.train.phases import TRAINING, Phases

BEAT_SECONDS = 10.0


def file_name(process: int) -> str:
    """Of a process's heartbeat in the workdir."""
    return 'heartbeat.json' if process == 0 else f'heartbeat_{process}.json'


class Heartbeat:
    """Writes the file every few seconds, from a thread of its own.

    The file holds `step`, `phase`, `time` (seconds since 1970, for people and other machines;
    nothing here is decided by it), `host`, `pid` and `process`.
    """

    def __init__(
        self,
        workdir: epath.Path,
        phases: Phases,
        step_timeout: float | None = None,
        also: Sequence[Callable[[], None]] = (),
    ):
        """Begins to beat.

        Args:
            workdir: of the run.
            phases: of the process.
            step_timeout: seconds without a new step, while training, after which the process ends
                itself, saying where each thread was; None: never. It waits ten times as long as
                the slowest step that there was, if that is more.
            also: called at every beat; an error is said once and the beat goes on.
        """
        self._path = workdir / file_name(jax.process_index())
        self._phases, self._step_timeout = phases, step_timeout
        self._beats = (self.write, *also, self._check_step)
        self._seen: tuple[int | None, float] = (None, time.monotonic())
        self._failing: set[str] = set()
        self._stop = threading.Event()
        workdir.mkdir(parents=True, exist_ok=True)
        self._beat()
        self._thread = threading.Thread(target=self._run, name='heartbeat', daemon=True)
        self._thread.start()

    def write(self) -> None:
        """Brings the file up to date."""
        content = {
            'step': self._phases.step,
            'phase': self._phases.name,
            'time': time.time(),
            'host': socket.gethostname(),
            'pid': os.getpid(),
            'process': jax.process_index(),
        }
        files.write_whole(self._path, json.dumps(content) + '\n')

    def close(self) -> None:
        """A last beat, then none."""
        self._stop.set()
        self._thread.join()
        self._beat()

    def _run(self) -> None:
        while not self._stop.wait(BEAT_SECONDS):
            self._beat()

    def _beat(self) -> None:
        for beat in self._beats:
            try:
                beat()
            except Exception as error:
                # A full disk, a share or a bucket (whose errors are no OSError) that is away for a
                # while: training need not care, and this thread must not end.
                if str(error) not in self._failing:
                    self._failing.add(str(error))
                    sys.stderr.write(f'the heartbeat cannot be written: {error}\n')

    def _check_step(self) -> None:
        """Ends a process whose step does not finish: a device or a disk that hangs."""
        now, phases = time.monotonic(), self._phases
        place = (phases.step, phases.name)
        if place != self._seen[0] or phases.name != TRAINING:
            self._seen = place, now
            return
        limit = max(self._step_timeout or float('inf'), 10 * phases.slowest_step)
        if now - self._seen[1] > limit:
            faulthandler.dump_traceback(all_threads=True)
            distributed.end_now(
                f'step {phases.step} has not finished for {limit:.0f} s (health.step_timeout); '
                'above is where each thread was. The newest checkpoint is safe: type the same '
                'command again to go on from it.'
            )
