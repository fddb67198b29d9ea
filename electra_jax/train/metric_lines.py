"""The lines of metrics.jsonl, as those who read a run need them; what writes them is `metrics`."""

import contextlib
import json
import pathlib
from collections.abc import Mapping, Sequence
from typing import Any

from etils import epath

FILE = 'metrics.jsonl'  # in the workdir


def read(folder: pathlib.Path | epath.Path) -> list[dict[str, Any]]:
    """The lines of a workdir, without those that are unfinished or were torn by a crash."""
    path = folder / FILE
    lines = []
    for text in path.read_text().splitlines() if path.exists() else []:
        with contextlib.suppress(ValueError):
            lines.append(json.loads(text))
    return lines


def series(lines: Sequence[Mapping[str, Any]], name: str) -> list[tuple[int, float]]:
    """(step, value) of a metric, where it is a number."""
    return [(line['step'], line[name]) for line in lines if line.get(name) is not None]


def last(lines: Sequence[Mapping[str, Any]], name: str) -> float | None:
    """The newest value of a metric; None: it has none."""
    return next((line[name] for line in reversed(lines) if line.get(name) is not None), None)
