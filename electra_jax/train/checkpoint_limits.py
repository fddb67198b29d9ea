"""What a checkpoint may ask for before anything of it is read."""

import math
import os
import pathlib

import jax
from etils import epath

from electra_jax.core import foreign
from electra_jax.core.errors import CheckpointError
from electra_jax.core.trees import Tree

# Arrays of zeros pack well, weights do not: so much more than the files hold is no real checkpoint.
_MOST_RATIO = 64
_ALWAYS_ALLOWED = 1 << 30  # bytes


def check(folder: epath.Path, shapes: Tree) -> None:
    """Refuses arrays that are absurdly larger than their files, and links out of the folder.

    A folder on a bucket has no links, and its sizes are not looked up.

    Args:
        folder: of the arrays.
        shapes: what the checkpoint says of them: leaves with `shape` and `dtype`.

    Raises:
        CheckpointError: naming both sizes, or the link.
    """
    if not os.path.isdir(folder):
        return
    problem = foreign.tree_problem(pathlib.Path(folder))
    if problem:
        raise CheckpointError(problem)
    declared = sum(math.prod(leaf.shape) * leaf.dtype.itemsize for leaf in jax.tree.leaves(shapes))
    held = sum(p.stat().st_size for p in pathlib.Path(folder).rglob('*') if p.is_file())
    if declared > _ALWAYS_ALLOWED + _MOST_RATIO * held:
        raise CheckpointError(
            f'{folder} says that it holds {declared:,} bytes of arrays, but its files have '
            f'{held:,}: it is damaged, and is not read'
        )
