"""What a checkpoint may ask for before anything of it is read."""

import math
import os
import pathlib

import jax
from etils import epath

from electra_jax.core import untrusted
from electra_jax.core.errors import CheckpointError
from electra_jax.core.trees import Tree

# Arrays of zeros pack well, weights do not: so much more than the files hold is no real checkpoint.
_MOST_RATIO = 64
_ALWAYS_ALLOWED = 1 << 30  # bytes
_ARRAYS = 'd'  # Orbax's name for folders of their bytes


def problem(folder: epath.Path) -> str | None:
    """Why nothing of a checkpoint is opened, in words: links, pipes, sizes; None: it may be.

    A folder on a bucket has no links, and its sizes are not looked up.

    Args:
        folder: of one step.
    """
    if not os.path.isdir(folder):
        return None
    here = pathlib.Path(folder)
    try:
        return untrusted.tree_problem(here) or _too_large(here)
    except OSError as error:  # the run that owns it deletes it just now, for example
        return f'it cannot be looked through ({error})'


def _too_large(folder: pathlib.Path) -> str | None:
    most = untrusted.MOST_JSON_BYTES
    for path in sorted(folder.rglob('*')):
        # All but the arrays themselves is small, and read whole.
        if path.parent.name != _ARRAYS and path.is_file() and path.stat().st_size > most:
            return f'{path} has {path.stat().st_size:,} bytes, and at most {most:,} are read'
    return None


def check(folder: epath.Path, shapes: Tree) -> None:
    """Refuses arrays that are absurdly larger than their files.

    Not on a bucket.

    Args:
        folder: of the arrays.
        shapes: what the checkpoint says of them: leaves with `shape` and `dtype`.

    Raises:
        CheckpointError: naming both sizes.
    """
    if not os.path.isdir(folder):
        return
    declared = sum(math.prod(leaf.shape) * leaf.dtype.itemsize for leaf in jax.tree.leaves(shapes))
    held = sum(p.stat().st_size for p in pathlib.Path(folder).rglob('*') if p.is_file())
    if declared > _ALWAYS_ALLOWED + _MOST_RATIO * held:
        raise CheckpointError(
            f'{folder} says that it holds {declared:,} bytes of arrays, but its files have '
            f'{held:,}: it is damaged, and is not read'
        )
