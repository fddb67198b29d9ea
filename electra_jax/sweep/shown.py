"""A run as tables show it, read from its workdir."""

import dataclasses
import functools
import json
import pathlib
from collections.abc import Mapping
from typing import Any

from electra_jax.train import metric_lines


@dataclasses.dataclass(frozen=True)
class Shown:
    """A run as the table shows it."""

    name: str
    folder: pathlib.Path
    # The settings in which it differs from the others.
    varied: Mapping[str, str] = dataclasses.field(default_factory=dict)
    outcome: str | None = None  # from `processes.run_all`; None: not known

    @functools.cached_property
    def metrics(self) -> list[dict[str, Any]]:
        """The lines of metrics.jsonl."""
        return metric_lines.read(self.folder)

    @functools.cached_property
    def headline(self) -> dict[str, Any]:
        """What the trials of a fine-tuning run reached; empty for others."""
        path = self.folder / 'results.json'
        return json.loads(path.read_text())['headline'] if path.exists() else {}

    def series(self, name: str) -> list[tuple[int, float]]:
        """(step, value) of a metric, where it is a number."""
        return metric_lines.series(self.metrics, name)

    def last(self, name: str) -> float | None:
        """The newest value of a metric; None: it has none."""
        return metric_lines.last(self.metrics, name)
