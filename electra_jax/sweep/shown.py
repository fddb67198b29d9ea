"""A run as the tables of a sweep show it, and its values as people read them."""

import dataclasses
import functools
import pathlib
from collections.abc import Mapping
from typing import Any

from etils import epath

from electra_jax.core import metric_table
from electra_jax.train import runs

# Columns in the unit of a run's headline.
OF_HEADLINE = ('median', 'mean', 'standard deviation', 'standard error', 'trivial')


@dataclasses.dataclass(frozen=True)
class Shown:
    """A run as the table shows it."""

    name: str
    folder: pathlib.Path
    # The settings in which it differs from the others.
    varied: Mapping[str, str] = dataclasses.field(default_factory=dict)
    outcome: str | None = None  # from `processes.run_all`; None: not known
    setting: str = ''  # what runs of several seeds share; '': not known

    @functools.cached_property
    def read(self) -> runs.Run:
        """What its workdir holds."""
        return runs.read(epath.Path(self.folder), self.name)

    @property
    def headline(self) -> dict[str, Any]:
        """What the trials of a fine-tuning run reached; empty for others."""
        return self.read.results.get('headline', {})

    @property
    def of_rows(self) -> dict[str, Any]:
        """What the scored rows of a fine-tuning run alone decide, where it is known."""
        results, name = self.read.results, str(self.headline.get('metric'))
        found = {
            'task': results.get('task'),
            'rows': (results.get('rows') or {}).get(name.rpartition('/')[0]),
            'standard error': self.headline.get('standard_error'),
            'trivial': (runs.within(results, 'trivial.metrics') or {}).get(name),
        }
        return {key: value for key, value in found.items() if value is not None}


def scored_name(row: Mapping[str, Any], column: str) -> str:
    """The whole name of the metric in a column of a row, which columns of the headline share."""
    return f'finetune/{row.get("metric")}' if column in OF_HEADLINE else column


def cell(value: Any) -> str:
    """A value as people read it.

    >>> cell(0.73251), cell(1234567.0), cell(200), cell(None)
    ('0.7325', '1,234,567', '200', '')
    """
    if isinstance(value, float):
        return f'{value:,.0f}' if abs(value) >= 1000 else f'{value:.4g}'
    return '' if value is None else str(value)


def cell_of(row: Mapping[str, Any], column: str) -> str:
    """The value in a column of a row as people read it."""
    name, value = scored_name(row, column), row.get(column)
    is_score = name.startswith('finetune/') and isinstance(value, int | float)
    return metric_table.score(name, value) if is_score else cell(value)
