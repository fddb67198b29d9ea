"""How fast a run trains, and which share of its time it trains."""

from electra_jax.train.phases import TRAINING, Phases


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

    def count(self) -> None:
        """One more step is done."""
        self._steps += self._phases.name == TRAINING

    def read(self) -> dict[str, float]:
        """Metrics since the last reading; none before a step was timed."""
        if not self._steps:
            return {}
        seconds = self._phases.seconds(TRAINING)
        rate = self._steps / max(seconds - self._until, 1e-9)
        self._steps, self._until = 0, seconds
        speed = {
            'speed/steps_per_second': rate,
            'speed/tokens_per_second': rate * self._tokens,
        }
        if self._peak:
            speed['speed/mfu'] = rate * self._tokens * self._flops / self._peak
        return speed
