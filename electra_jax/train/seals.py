"""Which checkpoints are whole, and what happens to the other ones.

A checkpoint holds checksums of its own files, written just before Orbax gives it its name. One
whose bytes have changed since is renamed, never deleted. Nothing here trusts a checkpoint: links,
pipes and absurd sizes are refused before anything is read.
"""

import concurrent.futures
import contextlib
import hashlib
import io
import json
import math
import os
import pathlib
from collections.abc import Callable, Mapping

import jax
from etils import epath

from electra_jax.core import untrusted
from electra_jax.core.errors import CheckpointError
from electra_jax.core.files import parse_object
from electra_jax.core.trees import Tree

Report = Callable[[str], None]  # called with a line for people

FOLDER = 'checkpoints'  # in the workdir
SEAL = 'checksums.json'  # in a checkpoint's folder
# Orbax writes these at the top after the seal: its own record that the checkpoint is complete.
_AFTER_THE_SEAL = ('_CHECKPOINT_METADATA', 'commit_success.txt')
_UNFINISHED = '.orbax-checkpoint-tmp'  # in the name of a folder that Orbax writes
_ARRAYS = 'd'  # Orbax's name for folders that hold the bytes of arrays
_THREADS = 8

# Arrays of zeros compress well, weights do not: a checkpoint that declares more is damaged.
MAX_RATIO = 64  # declared bytes to bytes of the files
ALWAYS_ALLOWED_BYTES = 1 << 30


def steps(folder: epath.Path) -> list[int]:
    """The steps of the checkpoints in `folder`, oldest first, whole or not."""
    if not folder.exists():
        return []
    return sorted(int(child.name) for child in folder.iterdir() if child.name.isdigit())


def newest_whole(
    folder: epath.Path, report: Report, set_aside: bool, before: int | None = None
) -> int | None:
    """The newest step, before `before`, whose checkpoint is whole; None: there is no checkpoint.

    `report` is called with a line about each newer one that is damaged; with `set_aside` these are
    renamed, so that their steps can be saved again.

    Raises:
        CheckpointError: there are checkpoints, and none of them is whole.
    """
    damaged: dict[epath.Path, str] = {}
    considered = [step for step in steps(folder) if before is None or step < before]
    for step in reversed(considered):
        wrong = problem(folder / str(step))
        if wrong is not None:
            damaged[folder / str(step)] = wrong
            continue
        for path, why in damaged.items():
            renamed = f': set aside as {_set_aside(path).name}' if set_aside else ''
            report(f'{path} is damaged ({why}){renamed}; the checkpoint before it is used')
        return step
    if damaged:
        listed = '\n'.join(f'  {path}: {wrong}' for path, wrong in damaged.items())
        raise CheckpointError(
            f'no checkpoint is whole:\n{listed}\nCopy one of them again from where it is whole, '
            'or move the workdir away to start from the beginning.'
        )
    return None


def problem(folder: epath.Path) -> str | None:
    """What is wrong with the checkpoint of one step, in words; None: it is whole."""
    if (unsafe := _unsafe(folder)) is not None:
        return unsafe
    if not _is_finalized(folder):
        return 'it was never finished'
    if not (folder / SEAL).exists():
        return f'{SEAL} is missing'
    try:
        expected = parse_object((folder / SEAL).read_text())['sha256']
        files = _files(folder)
        missing = sorted(expected.keys() - files.keys())
        if missing:
            return f'{missing[0]} is missing{_more(missing)}'
        actual = _hashes({name: files[name] for name in expected})
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        return f'{SEAL} or a file named in it cannot be read ({error})'
    changed = sorted(name for name in expected if actual[name] != expected[name])
    return f'the bytes of {changed[0]} have changed{_more(changed)}' if changed else None


def _is_finalized(folder: epath.Path) -> bool:
    import orbax.checkpoint as ocp  # half a second, and not each start reads a checkpoint of ours

    return bool(ocp.utils.is_checkpoint_finalized(folder))


def seal(folder: epath.Path) -> None:
    """Gets every file of a checkpoint to the disk, then writes their checksums next to them."""
    hashes = _hashes(_files(folder), sync=True)
    text = json.dumps({'sha256': hashes}, indent=1, sort_keys=True) + '\n'
    (folder / SEAL).write_text(text)


def unfinished(folder: epath.Path, step: int | None = None) -> list[epath.Path]:
    """Folders of saves that are under way or were cut off: of this step, or of any."""
    if not folder.exists():
        return []
    found = []
    for child in folder.iterdir():
        number = child.name.partition('.')[0]
        if not number.isdigit() or step not in (None, int(number)):
            continue
        # A bucket cannot rename folders: there an unfinished one already has its final name.
        unmarked = child.name == number and not _is_finalized(child)
        if unmarked or _UNFINISHED in child.name:
            found.append(child)
    return found


def delete(folder: epath.Path) -> None:
    """Deletes a checkpoint; without its seal, a half deleted one never counts as whole."""
    (folder / SEAL).unlink(missing_ok=True)
    folder.rmtree()


def check_sizes(folder: epath.Path, shapes: Tree) -> None:
    """Refuses declared `shapes` that are absurdly larger than the files in `folder`.

    Files on a bucket are not looked at.

    Raises:
        ValueError: naming both sizes.
    """
    if not os.path.isdir(folder):
        return
    declared = sum(math.prod(leaf.shape) * leaf.dtype.itemsize for leaf in jax.tree.leaves(shapes))
    held = sum(p.stat().st_size for p in pathlib.Path(folder).rglob('*') if p.is_file())
    if declared > ALWAYS_ALLOWED_BYTES + MAX_RATIO * held:
        raise ValueError(f'it declares {declared:,} bytes of arrays, but its files have {held:,}')


def _unsafe(folder: epath.Path) -> str | None:
    """Why nothing in a checkpoint may be opened; None: it may, or it is on a bucket."""
    if not os.path.isdir(folder):
        return None
    local = pathlib.Path(folder)
    try:
        problems = (_unsafe_file(path, local) for path in sorted(local.rglob('*')))
        return next(filter(None, problems), None)
    except OSError as error:  # for example, the run that owns it is deleting it
        return f'its files cannot be listed ({error})'


def _unsafe_file(path: pathlib.Path, folder: pathlib.Path) -> str | None:
    if path.is_symlink():
        if (wrong := untrusted.link_problem(path, folder)) is not None:
            return wrong
        if path.is_dir():  # links to folders may form a circle
            return f'{path} is a link to a folder: copy the folder there'
        if not path.exists():
            return f'{path} is a link that leads nowhere'
    if path.is_dir():
        return None
    if not path.is_file():  # a pipe or a device
        return f'{path} is neither a file nor a folder'
    size, most = path.stat().st_size, untrusted.MOST_JSON_BYTES
    # All files but those of arrays are small, and are read whole.
    if path.parent.name != _ARRAYS and size > most:
        return f'{path} has {size:,} bytes, and at most {most:,} are read'
    return None


def _set_aside(folder: epath.Path) -> epath.Path:
    number = 1
    while (new := folder.parent / f'{folder.name}.damaged-{number}').exists():
        number += 1
    return folder.rename(new)


def _files(folder: epath.Path, inside: str = '') -> dict[str, epath.Path]:
    """The files that checksums cover, by their paths inside the checkpoint."""
    found: dict[str, epath.Path] = {}
    for child in folder.iterdir():
        name = inside + child.name
        if child.is_dir():
            found |= _files(child, f'{name}/')
        elif name not in (SEAL, *_AFTER_THE_SEAL):
            found[name] = child
    return found


def _hashes(files: Mapping[str, epath.Path], sync: bool = False) -> dict[str, str]:
    def sha256(path: epath.Path) -> str:
        with path.open('rb') as file:
            if sync:  # a file on a bucket has no descriptor, and is safe when it is written
                with contextlib.suppress(AttributeError, io.UnsupportedOperation):
                    os.fsync(file.fileno())
            return hashlib.file_digest(file, 'sha256').hexdigest()

    with concurrent.futures.ThreadPoolExecutor(_THREADS) as threads:
        return dict(zip(files, threads.map(sha256, files.values()), strict=True))


def _more(names: list[str]) -> str:
    return f', and {len(names) - 1} more' if len(names) > 1 else ''
