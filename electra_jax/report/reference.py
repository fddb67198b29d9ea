"""Curves of measured runs to compare with: what is normal for a recipe.

A reference is a JSON file that this package writes from finished runs of one recipe, never by hand:
for each curve the steps, and the lowest and highest value of the runs there.
"""

import json
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from etils import epath

from electra_jax.core import files
from electra_jax.core.errors import DataError
from electra_jax.report.runs import Run

FORMAT = 'electra_jax reference curves'
_CURVES = (
    'train/mlm_loss', 'train/disc_loss', 'train/fake_rate', 'train/restored_loss',
    'train/selection_loss', 'train/grad_norm', 'eval/mlm_loss', 'eval/disc_loss', 'eval/disc_auc',
    'eval/fake_rate', 'eval/restored_loss', 'eval/restored_accuracy', 'eval/mlm_accuracy',
)  # fmt: skip
_POINTS = 100  # of a curve, at most


class Band(NamedTuple):
    """A curve of a reference; of one run alone low and high are the same."""

    x: list[float]  # steps
    low: list[float]
    high: list[float]


def read(path: str | epath.Path) -> dict[str, Band]:
    """The curves in a file, by metric.

    Raises:
        DataError: there is no such file, or it holds something else.
    """
    place = files.absolute(path)
    with files.explained('read', place, (OSError, ValueError)):
        content = files.parse_object(place.read_text())
    try:
        if content['format'] != FORMAT:
            raise ValueError(content['format'])
        return {name: _band(one) for name, one in content['curves'].items()}
    except (KeyError, TypeError, ValueError, AttributeError, OverflowError) as error:
        raise DataError(
            f'{place} holds no reference curves ({error!r:.100}); electra_jax.report writes them '
            'from finished runs'
        ) from error


def _band(stored: dict[str, Any]) -> Band:
    band = Band(*([float(value) for value in stored[name]] for name in Band._fields))
    if not 0 < len(band.x) == len(band.low) == len(band.high):
        raise ValueError('lists of different lengths')
    if not np.isfinite(band).all():
        raise ValueError('a number that is not finite')
    return band


def write(path: str | epath.Path, runs: Sequence[Run]) -> None:
    """Writes the file from runs of one recipe."""
    curves = {name: band._asdict() for name in _CURVES if (band := _measured(name, runs))}
    about = [{'name': run.name, 'command': run.about.get('command'),
              'devices': run.about.get('devices')} for run in runs]  # fmt: skip
    content = {'format': FORMAT, 'runs': about, 'curves': curves}
    place = files.absolute(path)
    place.parent.mkdir(parents=True, exist_ok=True)
    files.write_whole(place, json.dumps(content) + '\n')


def _measured(name: str, runs: Sequence[Run]) -> Band | None:
    series = [points for run in runs if len(points := run.series(name)) > 1]
    if not series:
        return None
    start, end = max(one[0][0] for one in series), min(one[-1][0] for one in series)
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
