"""The lines of metrics.jsonl, as those who read a run need them; what writes them is `metrics`."""

import contextlib
import pathlib
import re
from collections.abc import Mapping, Sequence
from typing import Any

from etils import epath

from electra_jax.core import files

FILE = 'metrics.jsonl'  # in the workdir


def read(folder: pathlib.Path | epath.Path) -> list[dict[str, Any]]:
    """The lines of a workdir, without those that are unfinished or were torn by a crash."""
    return [line for _, line in of_steps(folder / FILE)]


def last_step(folder: pathlib.Path) -> int:
    """The step in the newest line, from the end of the file alone; 0 before the first."""
    path = folder / FILE
    if not path.exists():
        return 0
    with path.open('rb') as file:
        file.seek(max(path.stat().st_size - 8192, 0))
        steps = re.findall(rb'^{"step": (\d+)', file.read(), re.MULTILINE)
    return int(steps[-1]) if steps else 0


def of_steps(path: pathlib.Path | epath.Path) -> list[tuple[str, dict[str, Any]]]:
    """Each line of a file that is a JSON object with a 'step', as text and parsed.

    What a crash leaves need not be text; and a character in a line may be another end of lines.
    """
    found = []
    for raw in path.read_bytes().split(b'\n') if path.exists() else []:
        with contextlib.suppress(ValueError):
            line = files.parse_object(raw)
            if isinstance(line.get('step'), int):
                found.append((raw.decode(), line))
    return found


def is_untaught(
    loss: float | None, level: float | None, generator: str | None, is_frozen: bool | None
) -> bool:
    """Whether what should have learned to predict tokens knows only how frequent they are.

    `loss` is its mlm_loss, `level` the unigram_loss; the others are model.generator and
    objective.freeze_generator of its run.
    """
    if loss is None or level is None or is_frozen or generator in ('uniform', 'unigram'):
        return False
    return loss >= level


def series(lines: Sequence[Mapping[str, Any]], name: str) -> list[tuple[int, float]]:
    """(step, value) of a metric, where it is a number."""
    return [(line['step'], line[name]) for line in lines if line.get(name) is not None]


def last(lines: Sequence[Mapping[str, Any]], name: str) -> float | None:
    """The newest value of a metric; None: it has none."""
    return next((line[name] for line in reversed(lines) if line.get(name) is not None), None)
