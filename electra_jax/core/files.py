"""Files that are whole or not there."""

import contextlib
import os
import pathlib
import socket
from collections.abc import Iterator
from typing import TypeVar

from etils import epath

Path = TypeVar('Path', epath.Path, pathlib.Path)


def process_mark() -> str:
    """Names this process among those of all hosts that may write to one folder."""
    return f'{socket.gethostname()}.{os.getpid()}'


@contextlib.contextmanager
def placed(path: Path, mark: object = '') -> Iterator[Path]:
    """A file to write, which takes the place of `path` in one move when all has gone well.

    Args:
        path: of the file, whose folder must exist.
        mark: part of the written file's name, where several processes may write at once
            (`process_mark`).

    Raises:
        OSError: the disk is full, for example; `path` is then as it was.
    """
    fresh = path.parent / f'{path.name}{mark and f".{mark}"}.tmp'
    yield fresh
    fresh.replace(path)


def write_whole(path: epath.Path | pathlib.Path, text: str, mark: object = '') -> None:
    """Puts `text`, as UTF-8, in the place of what `path` holds; see `placed`."""
    with placed(path, mark) as fresh:
        fresh.write_text(text, encoding='utf-8')
