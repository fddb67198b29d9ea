"""How fast a train step runs: wall time of each step after it has been compiled."""

import resource
import statistics
import time
from collections.abc import Callable, Mapping
from typing import NamedTuple

import jax

from electra_jax.train.state import TrainState


class Timing(NamedTuple):
    """Steps of one program, timed."""

    compile_seconds: float
    step_seconds: list[float]
    loss: float
    peak_memory_bytes: int  # of the fullest device, or of the process on a CPU

    @property
    def median(self) -> float:
        """Seconds of the median step."""
        return statistics.median(self.step_seconds)


def time_steps(
    step: Callable, state: TrainState, batch: Mapping[str, jax.Array], warmup: int, steps: int
) -> Timing:
    """Runs warmup + steps steps on one batch and times the latter, each to its end.

    Args:
        step: jitted and donating, as `train.step.compile_train_step` gives it.
        state: its start; donated.
        batch: on the mesh.
        warmup: steps that are not counted; the first compiles.
        steps: steps that are.
    """
    began = time.perf_counter()
    compiled = step.lower(state, batch).compile()
    compile_seconds = time.perf_counter() - began
    seconds = []
    for number in range(warmup + steps):
        began = time.perf_counter()
        state, metrics = compiled(state, batch)
        jax.block_until_ready((state, metrics))
        if number >= warmup:
            seconds.append(time.perf_counter() - began)
    return Timing(compile_seconds, seconds, float(metrics['loss']), peak_memory())


def peak_memory() -> int:
    """Bytes; a CPU has no counter of its own, so there it is the process's peak."""
    stats = jax.local_devices()[0].memory_stats()
    if stats and 'peak_bytes_in_use' in stats:
        return max(d.memory_stats()['peak_bytes_in_use'] for d in jax.local_devices())
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
