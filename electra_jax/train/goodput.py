"""How much of a run's time went into steps that count, over all its starts."""

import json
from typing import NamedTuple

from etils import epath

from electra_jax.core import files
from electra_jax.train.phases import TRAINING, Phases

FILE = 'goodput.json'  # of a workdir


class Start(NamedTuple):
    """One process's share in a run."""

    first: int  # steps done when it began
    last: int  # the newest step that it began
    seconds: float  # it lived
    training: float  # seconds of them spent on steps


class Account:
    """The workdir's record of all starts, this one last."""

    def __init__(self, workdir: epath.Path, phases: Phases):
        self._path, self._phases = workdir / FILE, phases
        self._before = _read(self._path)
        self._first: int | None = None

    def begin(self, step: int) -> None:
        """The run goes on from this step."""
        self._first = step

    def starts(self) -> list[Start]:
        """All of them."""
        first, phases = self._first or 0, self._phases
        now = Start(first, phases.step or first, phases.total, phases.seconds(TRAINING))
        return [*self._before, now]

    def write(self) -> None:
        """Brings the record up to date.

        Raises:
            OSError: the disk is full, for example.
        """
        if self._first is None:
            return
        records = [start._asdict() for start in self.starts()]
        files.write_whole(self._path, json.dumps({'starts': records}) + '\n')

    def metrics(self) -> dict[str, float]:
        """Goodput of this process, and of the run over all its starts."""
        return {'speed/goodput': self._phases.goodput, 'speed/run_goodput': goodput(self.starts())}

    def line(self) -> str:
        """For the end of a run."""
        starts = self.starts()
        text = f'goodput {self._phases.goodput:.1%} of the time spent training'
        if len(starts) > 1:
            text += f', {goodput(starts):.1%} over {len(starts)} starts'
        return text


def goodput(starts: list[Start]) -> float:
    """Seconds spent on steps that were kept, by the seconds in which a process lived.

    A step is lost where a later start did it again.

    >>> goodput([Start(0, 100, 50.0, 40.0), Start(50, 100, 50.0, 40.0)])
    0.6
    """
    kept = 0.0
    for number, start in enumerate(starts):
        again = min((later.first for later in starts[number + 1 :]), default=start.last)
        steps = start.last - start.first
        if steps > 0:
            kept += start.training * max(min(again, start.last) - start.first, 0) / steps
    return kept / max(sum(start.seconds for start in starts), 1e-9)


def _read(path: epath.Path) -> list[Start]:
    try:
        return [Start(**record) for record in files.parse_object(path.read_text())['starts']]
    except (OSError, ValueError, KeyError, TypeError):
        return []  # a run's figures may be lost, never the run
