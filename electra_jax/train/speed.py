"""How fast a run trains, and what it waits for."""

import contextlib
import time
from collections.abc import Iterator

from electra_jax.train.phases import TRAINING, Phases

# What the training loop waits for. Where INPUT is large, or DEVICE near 0, the host keeps the
# devices waiting.
INPUT, DEVICE = 'input', 'device'


class Meter:
    """Speed between two readings, over the time spent training alone."""

    def __init__(
        self, phases: Phases, tokens: int, flops_per_token: float, peak_flops: float | None
    ):
        """Begins to measure.

        Args:
            phases: of the process.
            tokens: of a batch.
            flops_per_token: of training.
            peak_flops: of all devices together, where known.
        """
        self._phases = phases
        self._tokens, self._flops, self._peak = tokens, flops_per_token, peak_flops
        self._steps, self._until = 0, 0.0
        self._waited = dict.fromkeys((INPUT, DEVICE), 0.0)

    def count(self) -> None:
        """One more step is done."""
        self._steps += self._phases.name == TRAINING

    @contextlib.contextmanager
    def waiting(self, what: str) -> Iterator[None]:
        """Times the wait for INPUT (the next batch, on its way to the devices) or for DEVICE (the
        results of a step).
        """
        began, training = time.monotonic(), self._phases.name == TRAINING
        try:
            yield
        finally:
            if training:
                self._waited[what] += time.monotonic() - began

    def read(self) -> dict[str, float]:
        """Metrics since the last reading; none before a step was timed."""
        if not self._steps:
            return {}
        now = self._phases.seconds(TRAINING)
        seconds = max(now - self._until, 1e-9)
        rate = self._steps / seconds
        speed = {
            'speed/steps_per_second': rate,
            'speed/tokens_per_second': rate * self._tokens,
            **{f'speed/{what}_share': waited / seconds for what, waited in self._waited.items()},
        }
        self._steps, self._until = 0, now
        self._waited = dict.fromkeys(self._waited, 0.0)
        if self._peak:
            speed['speed/mfu'] = rate * self._tokens * self._flops / self._peak
        return speed
