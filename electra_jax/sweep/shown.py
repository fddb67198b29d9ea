"""A run as the tables of a sweep show it."""

import dataclasses
import functools
import pathlib
from collections.abc import Mapping
from typing import Any

from etils import epath

from electra_jax.train import runs


@dataclasses.dataclass(frozen=True)
class Shown:
    """A run as the table shows it."""

    name: str
    folder: pathlib.Path
    # The settings in which it differs from the others.
    varied: Mapping[str, str] = dataclasses.field(default_factory=dict)
    outcome: str | None = None  # from `processes.run_all`; None: not known

    @functools.cached_property
    def read(self) -> runs.Run:
        """What its workdir holds."""
        return runs.read(epath.Path(self.folder), self.name)

    @property
    def headline(self) -> dict[str, Any]:
        """What the trials of a fine-tuning run reached; empty for others."""
        return self.read.results.get('headline', {})
