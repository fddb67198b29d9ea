"""A run as tables and reports read it from its workdir; what is missing or damaged is left out."""

import contextlib
import dataclasses
import hashlib
import math
import pathlib
from collections.abc import Mapping, Sequence
from typing import Any, TypeVar

from etils import epath

from electra_jax.config.recipe import parse_setting
from electra_jax.config.resolve import stored_first_stage
from electra_jax.core import files
from electra_jax.core.errors import DataError, UserError
from electra_jax.train import clock, example_lines, metric_lines
from electra_jax.train.clock import Start
from electra_jax.train.example_lines import Example

T = TypeVar('T')


@dataclasses.dataclass(frozen=True)
class Run:
    """What a workdir holds."""

    name: str
    folder: epath.Path
    metrics: list[dict[str, Any]]  # the lines of metrics.jsonl
    about: dict[str, Any]  # config.json
    results: dict[str, Any]  # of fine-tuning, results.json
    examples: list[tuple[int, list[Example]]]  # after each evaluation
    starts: list[Start]  # goodput.json

    @property
    def last_step(self) -> int:
        """The newest step, which a run that was stopped may have no metrics of yet."""
        logged = max((line['step'] for line in self.metrics), default=0)
        return max(logged, self.starts[-1].last if self.starts else 0)

    def setting(self, name: str) -> Any:
        """The value of a dotted name; None: off, or not known."""
        return within(self.about.get('config'), name)

    @property
    def first_stage(self) -> int:
        """Steps of the first of two stages; 0: there is one, or it is not known."""
        with contextlib.suppress(AttributeError, LookupError, TypeError, ValueError):
            return stored_first_stage(self.about['config'])
        return 0

    @property
    def corpora(self) -> list[dict[str, Any]]:
        """What is recorded of each corpus of pre-training."""
        found = self.about.get('corpora')
        return [one for one in found if isinstance(one, dict)] if isinstance(found, list) else []

    def series(self, name: str) -> list[tuple[int, float]]:
        """(step, value) of a metric, where it is a number."""
        return metric_lines.series(self.metrics, name)

    def last(self, name: str) -> float | None:
        """The newest value of a metric; None: it has none."""
        return metric_lines.last(self.metrics, name)


OTHER_TEXTS = (
    'the runs are scored on different texts, or with different tokenizers: their losses and scores '
    'on held-out text do not compare; those of a task that all are fine-tuned on do'
)


def held_out(found: Sequence[Run]) -> list[str]:
    """What stands for the tokens that each run is scored on, 8 hex digits; '': not recorded."""
    name = 'held_out_fingerprint'
    if not all(name in corpus for run in found for corpus in run.corpora):
        name = 'fingerprint'  # of the training rows: all that runs of 0.1.0 have
    texts = [[str(corpus.get(name)) for corpus in run.corpora] for run in found]
    whole = (
        f'{" ".join(text)}, {run.setting("eval.rows")} rows' if text else ''
        for run, text in zip(found, texts, strict=True)
    )
    return [text and hashlib.sha256(text.encode()).hexdigest()[:8] for text in whole]


def within(tree: Any, name: str) -> Any:
    """A value in nested mappings by its dotted name; None: there is none."""
    for key in name.split('.'):
        tree = tree.get(key) if isinstance(tree, dict) else None
    return tree


def find(paths: Sequence[str | pathlib.Path | epath.Path]) -> list[Run]:
    """The runs in workdirs, and in folders of workdirs such as those of sweeps.

    Raises:
        DataError: a folder holds neither.
    """
    folders: list[epath.Path] = []
    for path in map(files.absolute, paths):
        inside = path.iterdir() if path.is_dir() else ()
        found = [path] if _is_run(path) else sorted(filter(_is_run, inside))
        if not found:
            raise DataError(
                f'{path} is not the workdir of a run: neither it nor a folder in it has '
                f'{metric_lines.FILE}'
            )
        folders += [one for one in found if one not in folders]
    names = [folder.name for folder in folders]
    return [
        read(folder, folder.name if names.count(folder.name) == 1 else str(folder))
        for folder in folders
    ]


def _is_run(path: epath.Path) -> bool:
    return (path / metric_lines.FILE).exists()


def read(folder: epath.Path, name: str | None = None) -> Run:
    """The run in a workdir; its `name` is that of the folder unless one is given."""
    lines = [line for line in metric_lines.read(folder) if _is_whole(line)]
    return Run(
        name=name or folder.name,
        folder=folder,
        metrics=lines,
        about=about(folder),
        results=_object(folder / 'results.json'),
        examples=_readable(lambda: example_lines.read(folder), []),
        starts=clock.read(folder),
    )


def about(folder: pathlib.Path | epath.Path) -> dict[str, Any]:
    """The content of a run's config.json; empty where the run has not begun."""
    return _object(folder / 'config.json')


def beat(folder: pathlib.Path | epath.Path) -> dict[str, Any]:
    """The newest heartbeat of the run in a workdir; empty where there is none."""
    return _object(folder / 'heartbeat.json')


def typed(about: Mapping[str, Any]) -> dict[str, str]:
    """The settings that the command line of a run names, by its config.json."""
    found = {}
    words = about.get('command')
    for word in words if isinstance(words, list) else []:
        if str(word).startswith('--config.'):
            try:
                name, value = parse_setting(str(word))
            except UserError:  # of another version
                continue
            found[name] = value
    return found


def _is_whole(line: dict[str, Any]) -> bool:
    """Whether a line of metrics has finite numbers or nulls alone."""
    given = [value for value in line.values() if value is not None]
    with contextlib.suppress(OverflowError):  # an integer beyond all floats
        return all(isinstance(value, int | float) and math.isfinite(value) for value in given)
    return False


def _object(path: pathlib.Path | epath.Path) -> dict[str, Any]:
    return _readable(lambda: files.parse_object(path.read_text()), {})


def _readable(read_file: Any, otherwise: T) -> T:
    with contextlib.suppress(OSError, ValueError):
        found: T = read_file()
        return found
    return otherwise
