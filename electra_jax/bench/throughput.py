"""How fast a train step runs: wall time of each step after it has been compiled."""

import time
from collections.abc import Callable, Iterator, Mapping
from typing import Any, NamedTuple

import jax

from electra_jax.train.state import TrainState


class Turn(NamedTuple):
    """Steps done one after another.

    Attributes:
      step_seconds: of each, from the end of the step before to its own end.
      input_seconds: of each, how long the host waited for its batch.
      loss: after the last.
    """

    step_seconds: list[float]
    input_seconds: list[float]
    loss: float


class Stepper:
    """A train step under the clock, with one step in flight, as in training.

    Attributes:
      compile_seconds: what XLA took.
    """

    def __init__(
        self, step: Callable, state: TrainState, batches: Iterator[Mapping[str, jax.Array]]
    ):
        """Compiles.

        Args:
            step: jitted and donating, as `train.step.compile_train_step` gives it.
            state: its start; donated.
            batches: endless, on the mesh.
        """
        self._batches, self._state = batches, state
        began = time.perf_counter()
        self._step = step.lower(state, next(batches)).compile()
        self.compile_seconds = time.perf_counter() - began

    def run(self, steps: int) -> Turn:
        """Does `steps` steps, to the end of the last."""
        seconds, waits = [], []
        running: Any = None
        began = time.perf_counter()

        def wait() -> None:
            nonlocal began
            if running is not None:
                jax.block_until_ready(running)
                now = time.perf_counter()
                seconds.append(now - began)
                began = now

        for _ in range(steps):
            asked = time.perf_counter()
            batch = next(self._batches)
            waits.append(time.perf_counter() - asked)
            self._state, metrics = self._step(self._state, batch)
            wait()  # for the step before, while this one is computed
            running = metrics
        wait()
        return Turn(seconds, waits, float(metrics['loss']))


def peak_device_bytes() -> int | None:
    """The most that the allocator of the fullest device has given out; None on a CPU."""
    stats = [device.memory_stats() or {} for device in jax.local_devices()]
    peaks = [one['peak_bytes_in_use'] for one in stats if 'peak_bytes_in_use' in one]
    return max(peaks) if peaks else None
