"""The files of checkpoints: which checkpoints are whole, and what becomes of the others.

A checkpoint holds checksums of its own files, written before it gets its name. One whose bytes are
not those any more is set aside under another name, never deleted.
"""

import concurrent.futures
import contextlib
import hashlib
import io
import json
import os
from collections.abc import Callable
from typing import Any

import orbax.checkpoint as ocp
from etils import epath

from electra_jax.core.errors import CheckpointError
from electra_jax.core.files import parse_object
from electra_jax.train import checkpoint_limits

Say = Callable[[str], None]

SEAL = 'checksums.json'
# Orbax writes these at the top when the rest is done: its own record of the commit.
_AFTER_THE_SEAL = ('_CHECKPOINT_METADATA', 'commit_success.txt')
_THREADS = 8
_TEMPORARY = '.orbax-checkpoint-tmp'  # in the name of a folder that is being written
_MARK = 'sealed'  # in what a checkpoint says of itself: checksums were written


def seal(folder: epath.Path) -> None:
    """Gets every file of `folder` to the disk, then writes their sizes and hashes beside them.

    Raises:
        OSError: the disk is full, for example.
    """
    files = {str(path.relative_to(folder)): path for path in _files(folder)}
    with concurrent.futures.ThreadPoolExecutor(_THREADS) as threads:
        records = dict(zip(files, threads.map(_secured, files.values()), strict=True))
    text = json.dumps({'sha256': records}, indent=1, sort_keys=True) + '\n'
    (folder / SEAL).write_text(text)


def seal_unfinished(folder: epath.Path, step: int | None) -> None:
    """Seals what was written of a step's checkpoint in `folder`, before it has its name."""
    for one in unfinished(folder, step):
        seal(one)


def marked(about: dict[str, Any]) -> dict[str, Any]:
    """What a checkpoint with checksums says of itself."""
    return {**about, _MARK: True}


def unmarked(about: dict[str, Any]) -> dict[str, Any]:
    """`about` as it was handed to `marked`."""
    return {name: value for name, value in about.items() if name != _MARK}


def problem(folder: epath.Path) -> str | None:
    """What is wrong with a checkpoint, in words; None: it is whole.

    One of an earlier version, which wrote no checksums, is taken as it is.

    Args:
        folder: of one step.
    """
    if (wrong := checkpoint_limits.problem(folder)) is not None:
        return wrong
    if not ocp.utils.is_checkpoint_finalized(folder):
        return 'it was never finished'
    try:
        sealed = bool(parse_object((folder / 'about' / 'metadata').read_text()).get(_MARK))
    except (OSError, ValueError):
        return 'it does not say what it is of'
    path = folder / SEAL
    if not path.exists():
        return f'{SEAL} is missing' if sealed else None
    try:
        expected = parse_object(path.read_text())['sha256']
        files = {str(file.relative_to(folder)): file for file in _files(folder)}
        missing = sorted(expected.keys() - files.keys())
        if missing:
            return f'{missing[0]} is missing' + _more(missing)
        with concurrent.futures.ThreadPoolExecutor(_THREADS) as threads:
            found = zip(expected, threads.map(_sha256, (files[n] for n in expected)), strict=True)
            changed = sorted(name for name, hashed in found if hashed != expected[name])
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        return f'{SEAL} or a file named in it cannot be read ({error})'
    return f'the bytes of {changed[0]} have changed' + _more(changed) if changed else None


def newest_whole(
    folder: epath.Path, say: Say, aside: bool, before: int | None = None
) -> int | None:
    """The newest step whose checkpoint is whole; None where there is no checkpoint at all.

    Args:
        folder: of checkpoints.
        say: told which newer ones are damaged, and how.
        aside: rename those, so that their steps can be saved again.
        before: of earlier steps than this; None: of all.

    Raises:
        CheckpointError: none of them is whole.
    """
    damaged: list[tuple[int, str]] = []
    looked_at = [step for step in steps(folder) if before is None or step < before]
    for step in sorted(looked_at, reverse=True):
        wrong = problem(folder / str(step))
        if wrong is None:
            break
        damaged.append((step, wrong))
    else:
        if damaged:
            listed = '\n'.join(f'  {folder / str(step)}: {wrong}' for step, wrong in damaged)
            raise CheckpointError(
                f'no checkpoint is whole:\n{listed}\nCopy one of them again from where it is '
                'whole, or move the workdir away to start from the beginning.'
            )
        return None
    for number, wrong in damaged:
        text = f'{folder / str(number)} is damaged ({wrong})'
        if aside:
            text += f': set aside as {_set_aside(folder / str(number)).name}'
        say(f'{text}; the checkpoint before it is used')
    return step


def _set_aside(folder: epath.Path) -> epath.Path:
    number = 1
    while (place := folder.parent / f'{folder.name}.damaged-{number}').exists():
        number += 1
    return folder.rename(place)


def steps(folder: epath.Path) -> list[int]:
    """Of the checkpoints that are there, in no order."""
    if not folder.exists():
        return []
    return [int(child.name) for child in folder.iterdir() if child.name.isdigit()]


def unfinished(folder: epath.Path, step: int | None = None) -> list[epath.Path]:
    """What was written of checkpoints that are not finished: of this step, or of any."""
    if not folder.exists():
        return []
    return [
        child
        for child in folder.iterdir()
        if (number := child.name.split('.')[0]).isdigit()
        and step in (None, int(number))
        # A bucket has no folders to rename: there, what is not finished already has its name.
        and (
            _TEMPORARY in child.name
            or (child.name == number and not ocp.utils.is_checkpoint_finalized(child))
        )
    ]


def remove_unfinished(folder: epath.Path, say: Say) -> None:
    """Deletes what saves that were cut off have left behind; none of it can be used."""
    for child in unfinished(folder):
        say(f'the save of step {child.name.split(".")[0]} was cut off; it is of no use and goes')
        child.rmtree()


def delete(folder: epath.Path) -> None:
    """Deletes a checkpoint; one that is half deleted is not taken for a whole one."""
    (folder / SEAL).unlink(missing_ok=True)
    folder.rmtree()


def _more(names: list[str]) -> str:
    return f', and {len(names) - 1} more' if len(names) > 1 else ''


def _files(folder: epath.Path, top: bool = True) -> list[epath.Path]:
    found = []
    for child in folder.iterdir():
        if child.is_dir():
            found += _files(child, top=False)
        elif not (top and child.name in (SEAL, *_AFTER_THE_SEAL)):
            found.append(child)
    return found


def _sha256(path: epath.Path) -> str:
    with path.open('rb') as file:
        return hashlib.file_digest(file, 'sha256').hexdigest()


def _secured(path: epath.Path) -> str:
    """The hash of a file that a power cut can no longer undo."""
    # A file of a bucket has no descriptor, and is safe when it is written.
    with contextlib.suppress(AttributeError, io.UnsupportedOperation), path.open('rb') as file:
        os.fsync(file.fileno())
    return _sha256(path)
