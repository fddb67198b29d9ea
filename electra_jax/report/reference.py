"""Curves of measured runs to compare with: what is normal for a recipe.

A reference is a JSON file that this package writes from finished runs of one recipe, never by hand:
for each curve the steps, and the lowest and highest value of the runs there; and how long they
were, in steps and in tokens. Those of the project are in configs/references/.
"""

import itertools
import json
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

import numpy as np
from etils import epath

from electra_jax.config import fields, length, recipe
from electra_jax.config.settings import Config
from electra_jax.core import files
from electra_jax.core.errors import DataError
from electra_jax.interop import card
from electra_jax.train import workdir
from electra_jax.train.runs import Run

FORMAT = 'electra_jax reference curves'
_CURVES = (
    'train/mlm_loss', 'train/disc_loss', 'train/fake_rate', 'train/restored_loss',
    'train/selection_loss', 'train/grad_norm', 'eval/mlm_loss', 'eval/disc_loss', 'eval/disc_auc',
    'eval/fake_rate', 'eval/restored_loss', 'eval/restored_accuracy', 'eval/mlm_accuracy',
    'eval/sampled_accuracy',
)  # fmt: skip
_POINTS = 100  # of a curve, at most


class Band(NamedTuple):
    """A curve of a reference; of one run alone low and high are the same."""

    x: list[float]  # steps
    low: list[float]
    high: list[float]


class Reference(NamedTuple):
    """What is normal for runs of one recipe."""

    bands: dict[str, Band]  # by metric
    total_steps: int | None = None  # of each run; None: of several lengths
    tokens_per_step: int | None = None

    def as_long_as(self, total_steps: int | None) -> dict[str, Band]:
        """The curves as those of a run of so many steps: of another length, they are stretched."""
        if not total_steps or not self.total_steps or total_steps == self.total_steps:
            return self.bands
        by = total_steps / self.total_steps
        return {
            name: band._replace(x=[round(x * by, 1) for x in band.x])
            for name, band in self.bands.items()
        }


NOTHING = Reference({})


def read(path: str | epath.Path) -> Reference:
    """The curves in a file, by metric.

    A file in configs/ is found from any folder, as recipes are.

    Raises:
        DataError: there is no such file, or it holds something else.
    """
    here = recipe.located(path) if isinstance(path, str) else None
    place = files.absolute(here or path)
    with files.explained('read', place, (OSError, ValueError)):
        content = files.parse_object(place.read_text())
    try:
        if content['format'] != FORMAT:
            raise ValueError(content['format'])
        bands = {name: _band(one) for name, one in content['curves'].items()}
        if not bands:
            raise ValueError('no curves')
        return Reference(bands, *(_count(content, name) for name in Reference._fields[1:]))
    except (KeyError, TypeError, ValueError, AttributeError, OverflowError) as error:
        raise DataError(
            f'{place} holds no reference curves ({error!r:.100}); electra_jax.report writes them '
            'from finished runs'
        ) from error


def _count(content: dict[str, Any], name: str) -> int | None:
    value = content.get(name)
    if value is not None and not (isinstance(value, int) and value > 0):
        raise ValueError(f'{name} {value!r}')
    return value


def _band(stored: dict[str, Any]) -> Band:
    band = Band(*([float(value) for value in stored[name]] for name in Band._fields))
    if not 0 < len(band.x) == len(band.low) == len(band.high):
        raise ValueError('lists of different lengths')
    if not np.isfinite(band).all():
        raise ValueError('a number that is not finite')
    if any(after <= before for before, after in itertools.pairwise(band.x)):
        raise ValueError('steps that do not rise')
    return band


def write(path: str | epath.Path, runs: Sequence[Run]) -> list[str]:
    """Writes the file from runs of one recipe; returns the curves that only some runs have.

    Raises:
        DataError: the runs differ in more than their seeds, or have no curve in common.
    """
    _check_alike(runs)
    curves = {name: band._asdict() for name in _CURVES if (band := _measured(name, runs))}
    if not curves:
        ranges = ', '.join(f'{run.name} {_steps_of(run)}' for run in runs)
        raise DataError(
            f'no curve has two or more points in all runs, at steps that all share ({ranges}): '
            'let the runs end first, or train them longer or with smaller '
            'config.log.every_steps and config.eval.every_steps'
        )
    about = [
        {
            'name': run.name,
            'command': card.command_line(run.about.get('command')),
            'devices': run.about.get('devices'),
        }
        for run in runs
    ]
    lengths = (run.setting('total_steps') for run in runs)
    length = {
        'total_steps': _of_all(lengths),
        'tokens_per_step': _of_all(map(_tokens_per_step, runs)),
    }
    content = {'format': FORMAT, 'runs': about, **length, 'curves': curves}
    place = files.absolute(path)
    place.parent.mkdir(parents=True, exist_ok=True)
    files.write_whole(place, json.dumps(content) + '\n')
    return [n for n in _CURVES if n not in curves and any(run.last(n) is not None for run in runs)]


def _check_alike(runs: Sequence[Run]) -> None:
    """Refuses runs that are of several recipes, texts or lengths, naming what differs."""
    recorded = [{**_settings(run), 'the hash of the text': _text(run)} for run in runs]
    first, others = recorded[0], list(zip(runs[1:], recorded[1:], strict=True))
    lines = [
        f'  {name}: {first[name]!r:.100} in {runs[0].name}, {found[name]!r:.100} in {run.name}'
        for run, found in others
        for name in first
        if found[name] != first[name]
    ]
    if lines:
        raise DataError(
            'a reference is made of runs that differ in their seeds alone, but these differ in\n'
            + '\n'.join(lines)
            + '\nName runs of one recipe, text and length (config.total_steps, not config.minutes, '
            'makes runs equally long)'
        )


def _settings(run: Run) -> dict[str, Any]:
    """The settings that curves depend on; without the seed, in which runs of a reference differ."""
    names = [name for name in fields.leaves(Config) if not workdir.is_free(name)]
    names = [name for name in names if name not in ('seed', *length.MEASURED)]
    return {f'config.{name}': run.setting(name) for name in [*names, 'eval.rows', 'eval.average']}


def _text(run: Run) -> str:
    """What stands for the text that a run reads, as tokens of its tokenizer."""
    return ', '.join(f'{one.get("fingerprint")} x {one.get("weight", 1)}' for one in run.corpora)


def _steps_of(run: Run) -> str:
    steps = [line['step'] for line in run.metrics]
    return f'{min(steps)} to {max(steps)}' if steps else 'none'


def _tokens_per_step(run: Run) -> int | None:
    rows, length = run.setting('batch_size'), run.setting('data.row_length')
    return rows * length if rows and length else None


def _of_all(values: Iterable[int | None]) -> int | None:
    """What all of them are; None where they differ."""
    found = set(values)
    return found.pop() if len(found) == 1 else None


def _measured(name: str, runs: Sequence[Run]) -> Band | None:
    """The lowest and the highest value over the steps that all runs have; None: there are none."""
    series = [run.series(name) for run in runs]
    if any(len(points) < 2 for points in series):
        return None
    start, end = max(one[0][0] for one in series), min(one[-1][0] for one in series)
    if start >= end:
        return None
    steps = np.linspace(start, end, min(_POINTS, max(map(len, series))))
    smooth = [np.array(thinned(one, _POINTS)) for one in series]
    values = np.stack([np.interp(steps, points[:, 0], points[:, 1]) for points in smooth])
    sides = (steps, values.min(axis=0), values.max(axis=0))
    return Band(*([float(f'{x:.5g}') for x in side] for side in sides))


def thinned(points: Sequence[tuple[float, float]], most: int) -> list[tuple[float, float]]:
    """Means of neighbouring points, so that at most so many are left.

    >>> thinned([(1, 2.0), (2, 4.0)], most=2), thinned([(1, 2.0), (2, 4.0)], most=1)
    ([(1.0, 2.0), (2.0, 4.0)], [(1.5, 3.0)])
    """
    size = -(-len(points) // most) or 1
    groups = (points[at : at + size] for at in range(0, len(points), size))
    return [(float(x), float(y)) for x, y in (np.mean(group, axis=0) for group in groups)]
