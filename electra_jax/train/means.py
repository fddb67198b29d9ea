"""Means of the metrics of the steps between two lines of metrics.jsonl."""

from collections.abc import Mapping
from typing import Any

from electra_jax.train.health import SKIPPED


class Means:
    """Adds up the metrics of steps, which the host has fetched anyway, until a line is written.

    A step that was skipped counts in the mean of 'skipped' alone: its values may not be finite. A
    checkpoint keeps the sums, so that the first line of a continued run has the mean over its whole
    interval. A checkpoint of an older version has none: that one line is the mean over the steps
    after it.
    """

    def __init__(self, after: Mapping[str, int] | None = None) -> None:
        """`after` is `Objective.metrics_after`: such a metric is left out of earlier steps."""
        self.after = after or {}
        self._begin()

    def _begin(self) -> None:
        self._counts: dict[str, int] = {}
        self._sums: dict[str, float] = {}

    def add(self, step: int, values: Mapping[str, float]) -> None:
        """Adds step number `step`, from 1."""
        is_good = not values.get(SKIPPED)
        for name, value in values.items():
            if step <= self.after.get(name, 0):
                continue
            counts = is_good or name == SKIPPED
            self._counts[name] = self._counts.get(name, 0) + counts
            self._sums[name] = self._sums.get(name, 0.0) + (value if counts else 0.0)

    def take(self) -> dict[str, float]:
        """The means since the last call; NaN where every step was skipped.

        >>> means = Means()
        >>> means.add(1, {'loss': 1.0}), means.add(2, {'loss': 2.0}), means.take(), means.take()
        (None, None, {'loss': 1.5}, {})
        """
        means = {
            name: total / self._counts[name] if self._counts[name] else float('nan')
            for name, total in self._sums.items()
        }
        self._begin()
        return means

    def seen(self) -> dict[str, Any]:
        """The state that a checkpoint keeps, as JSON."""
        return {'counts': dict(self._counts), 'sums': dict(self._sums)}

    def restore(self, seen: Mapping[str, Any]) -> None:
        """Continues from what `seen` returned."""
        self._counts, self._sums = dict(seen['counts']), dict(seen['sums'])
