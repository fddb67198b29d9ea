"""A file of lines that grows, on disks that fill up and on buckets."""

import os
import time
from collections.abc import Callable, Sequence

from etils import epath


class Lines:
    """A file that grows by lines. What a full disk refuses is written when there is room again.

    A bucket cannot append: there the whole file is written anew, at most once a minute.
    """

    def __init__(self, path: epath.Path, lines: Sequence[str], say: Callable[[str], None]):
        """Goes on after the lines that are there.

        Args:
            path: of the file.
            lines: what it holds.
            say: told when it cannot be written.
        """
        self._say = say
        self._path, self._rewrites = path, '://' in str(path)
        self._all = list(lines) if self._rewrites else []
        self._waiting: list[str] = []
        self._refused = False
        self._since = time.monotonic()

    def add(self, line: str) -> None:
        """One more."""
        self._waiting.append(line)
        if not self._rewrites or time.monotonic() - self._since > _REWRITE_SECONDS:
            self.flush()

    def close(self) -> None:
        """Writes what waits, and says what cannot be written."""
        self.flush()
        if self._waiting:
            self._say(f'{len(self._waiting)} lines of {self._path} are lost')

    def flush(self) -> bool:
        """Writes what waits; whether nothing waits any more."""
        if not self._waiting:
            return True
        try:
            if self._rewrites:
                self._since = time.monotonic()
                self._path.write_text(''.join(f'{line}\n' for line in self._all + self._waiting))
                self._all += self._waiting
            else:
                _append(self._path, ''.join(f'{line}\n' for line in self._waiting))
        except Exception as error:  # of a bucket these are no OSError
            if not self._refused:
                self._say(f'{self._path} cannot be written, its lines wait: {error}')
            self._refused = True
            return False
        self._waiting, self._refused = [], False
        return True


_REWRITE_SECONDS = 60.0


def _append(path: epath.Path, text: str) -> None:
    """All of it, or nothing."""
    size = None
    try:
        with path.open('ab') as file:
            size = file.tell()
            file.write(text.encode())
    except OSError:
        # Not before it is closed: an open file tries first to write what it still holds.
        if size is not None:
            os.truncate(path, size)
        raise
