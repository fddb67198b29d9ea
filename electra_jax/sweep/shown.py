"""What a sweep reads of a run in its workdir, and a run as tables show it."""

import dataclasses
import functools
import json
import pathlib
import re
from collections.abc import Mapping
from typing import Any

from electra_jax.train import metric_lines


def last_step(folder: pathlib.Path) -> int:
    """The step in the newest line of metrics.jsonl, from its end alone; 0 before the first."""
    path = folder / metric_lines.FILE
    if not path.exists():
        return 0
    with path.open('rb') as file:
        file.seek(max(path.stat().st_size - 8192, 0))
        steps = re.findall(rb'^{"step": (\d+)', file.read(), re.MULTILINE)
    return int(steps[-1]) if steps else 0


def read_about(folder: pathlib.Path) -> dict[str, Any]:
    """The content of a run's config.json; empty where the run has not begun."""
    path = folder / 'config.json'
    return json.loads(path.read_text()) if path.exists() else {}


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
