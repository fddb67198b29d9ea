"""Files that are whole or absent, and JSON files that may be damaged."""

import contextlib
import difflib
import itertools
import json
import os
import pathlib
import shutil
import socket
from collections.abc import Iterator
from typing import Any, TypeVar

from etils import epath

from electra_jax.core.errors import CheckpointError, ConfigError, DataError

Path = TypeVar('Path', epath.Path, pathlib.Path)


def process_mark() -> str:
    """The name of this process among those of all hosts that may write to one folder."""
    return f'{socket.gethostname()}.{os.getpid()}'


@contextlib.contextmanager
def placed(path: Path, mark: object = '') -> Iterator[Path]:
    """Yields a temporary path to write to; it replaces `path` in one move if nothing fails.

    `mark` becomes part of its name: `process_mark()` where several processes may write at once.
    """
    fresh = path.parent / f'{path.name}{mark and f".{mark}"}.tmp'
    yield fresh
    fresh.replace(path)


def check_new(target: pathlib.Path) -> None:
    """Refuses a folder to write, which --target names, unless it is new or empty."""
    if target.exists() and not target.is_dir():
        raise CheckpointError(f'--target is {target}, a file, allowed: a folder, new or empty')
    if target.is_dir() and any(target.iterdir()):
        raise CheckpointError(f'{target} is not empty: name another --target, or delete it')


def unused(path: pathlib.Path) -> pathlib.Path:
    """A path with a number after it at which nothing is: `runs/mine-2` for `runs/mine`."""
    numbered = (path.with_name(f'{path.name}-{number}') for number in itertools.count(2))
    return next(one for one in numbered if not one.exists())


@contextlib.contextmanager
def whole_folder(path: pathlib.Path) -> Iterator[pathlib.Path]:
    """Yields the name of a folder to make next to `path`, which it becomes if nothing fails."""
    path.parent.mkdir(parents=True, exist_ok=True)
    fresh = path.with_name(f'.{path.name}.unfinished')
    shutil.rmtree(fresh, ignore_errors=True)
    try:
        yield fresh
        fresh.replace(path)
    finally:
        shutil.rmtree(fresh, ignore_errors=True)


@contextlib.contextmanager
def explained(
    task: str, path: object, errors: tuple[type[Exception], ...] = (OSError,)
) -> Iterator[None]:
    """Turns one of the `errors` into a DataError that names the task, the file and the reason.

    >>> with explained('read', 'absent.txt'):
    ...     open('absent.txt')
    Traceback (most recent call last):
    electra_jax.core.errors.DataError: cannot read absent.txt: No such file or directory
    """
    try:
        yield
    except errors as error:
        reason = getattr(error, 'strerror', None) or error
        raise DataError(f'cannot {task} {path}: {reason}') from error


def nearest(path: str | epath.Path) -> epath.Path | None:
    """The path, each part of which that is not there gives way to the most similar one that is.

    None: there is no such path.
    """
    wanted = epath.Path(path).expanduser()
    if wanted.exists() or wanted == wanted.parent:
        return wanted
    folder = nearest(wanted.parent)
    if folder is None or not folder.is_dir():
        return None
    names = [one.name for one in folder.iterdir()]
    close = difflib.get_close_matches(wanted.name, names, n=1, cutoff=0.5)
    return folder / close[0] if close else None


def absolute(path: str | epath.Path | pathlib.Path) -> epath.Path:
    """The path with all folders above it; one of another file system (gs://...) has them already.

    Raises:
        ConfigError: a package that reaches this file system is not installed.
    """
    found = epath.Path(path)
    if '://' not in str(path):
        return found.expanduser().resolve()
    try:
        found.exists()
    except ImportError as error:
        raise ConfigError(
            f"{path} needs a package that is not installed: type pip install -e '.[gcs]' ({error})"
        ) from error
    return found


def write_whole(path: epath.Path | pathlib.Path, text: str, mark: object = '') -> None:
    """Replaces the content of `path` by `text` (UTF-8) in one move."""
    with placed(path, mark) as fresh:
        fresh.write_text(text, encoding='utf-8')


def unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """The object of names and values, for `json.loads`; a ValueError if a name is there twice.

    >>> unique([('text', 'a'), ('text', 'b')])
    Traceback (most recent call last):
    ValueError: the field 'text' is there twice
    """
    found = dict(pairs)
    if len(found) < len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        raise ValueError(f'the field {twice!r} is there twice')
    return found


def json_problem(error: Exception) -> str:
    """Why text is no JSON, with the character, and the line if there are several.

    >>> json_problem(json.JSONDecodeError('Expecting value', '{"text": no}', 9))
    'Expecting value at character 10'
    """
    if isinstance(error, UnicodeDecodeError):
        return f'it is not {error.encoding.upper()}'
    if not isinstance(error, json.JSONDecodeError):
        return str(error)
    line = f'line {error.lineno}, ' if '\n' in error.doc.strip() else ''
    return f'{error.msg} at {line}character {error.colno}'


def parse_object(data: bytes | str) -> dict[str, Any]:
    """Parses a JSON object; anything else, however damaged, is a ValueError with the reason.

    >>> parse_object('[1]')
    Traceback (most recent call last):
    ValueError: a JSON object is needed, found a list
    """
    try:
        content = json.loads(data)
    except RecursionError as error:
        raise ValueError('nested too deeply') from error
    except ValueError as error:
        raise ValueError(f'not a JSON object ({json_problem(error)})') from error
    if not isinstance(content, dict):
        raise ValueError(f'a JSON object is needed, found a {type(content).__name__}')
    return content
