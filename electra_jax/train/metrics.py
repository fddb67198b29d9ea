"""Where numbers go: metrics.jsonl, and the programs that `trackers` knows.

Neither a full disk nor a bucket that is away for a while may stop or slow training. So lines that
cannot be written wait.
"""

import json
import math
import os
import time
from collections.abc import Callable, Mapping

from etils import epath

from electra_jax.core import files
from electra_jax.core.complaints import counted
from electra_jax.runtime import distributed
from electra_jax.train import metric_lines
from electra_jax.train.trackers import Trackers


class Metrics:
    """Writes named floats by step; only the first process of a run does.

    Lines that a full disk refuses are written when there is room again. A bucket cannot append:
    there the whole file is rewritten, at most once a minute.
    """

    def __init__(
        self,
        workdir: epath.Path,
        start: int,
        trackers: str,
        report: Callable[[str], None],
        rewrite_seconds: float = 60.0,
    ):
        """Opens the files, and drops the lines of steps after `start`, which will be done again.

        `trackers` is the setting. `report` is called with a line where a file cannot be written.
        On a bucket at least `rewrite_seconds` lie between two writes of a whole file.
        """
        self.path, self._report = workdir / metric_lines.FILE, report
        self._on = distributed.is_first()
        self._rewrites, self._rewrite_seconds = '://' in str(workdir), rewrite_seconds
        self._written_at = time.monotonic()
        self._waiting: list[str] = []
        self._refused = False
        kept = _drop_after(self.path, start) if self._on else []
        self._all = kept if self._rewrites else []
        self._trackers = Trackers(trackers if self._on else '', workdir, start, report)

    def write(self, step: int, values: Mapping[str, float]) -> None:
        """Writes one line of JSON (NaN becomes null) and gives the trackers the same."""
        if not self._on:
            return
        safe = {k: float(v) if math.isfinite(v) else None for k, v in values.items()}
        self._waiting.append(json.dumps({'step': step, **safe}))
        if not self._rewrites or time.monotonic() - self._written_at > self._rewrite_seconds:
            self.flush()
        self._trackers.write(step, values)

    def flush(self) -> bool:
        """Writes the lines that wait; returns whether all are on disk."""
        if not self._waiting:
            return True
        text = ''.join(f'{line}\n' for line in self._all + self._waiting)
        try:
            if self._rewrites:
                self._written_at = time.monotonic()
                self.path.write_text(text)
                self._all += self._waiting
            else:
                _append(self.path, text)
        except Exception as error:  # a bucket's errors are no OSError
            if not self._refused:
                self._report(f'{self.path} cannot be written, its lines wait: {error}')
            self._refused = True
            return False
        self._waiting, self._refused = [], False
        return True

    def close(self) -> None:
        """Writes the lines that wait, and reports those that cannot be written."""
        if not self.flush():
            self._report(counted(len(self._waiting), f'lines of {self.path} are lost'))
        self._trackers.close()


def _drop_after(path: epath.Path, step: int) -> list[str]:
    """Keeps the lines of `path` up to `step`, and returns them; a torn last line is dropped."""
    if not path.exists():
        return []
    kept = [text for text, line in metric_lines.of_steps(path) if line['step'] <= step]
    files.write_whole(path, ''.join(f'{text}\n' for text in kept))
    return kept


def _append(path: epath.Path, text: str) -> None:
    """Appends all of `text`, or nothing."""
    size = None
    try:
        with path.open('ab') as file:
            size = file.tell()
            file.write(text.encode())
    except OSError:
        # The file must be closed first: closing writes what its buffer still holds.
        if size is not None:
            os.truncate(path, size)
        raise
