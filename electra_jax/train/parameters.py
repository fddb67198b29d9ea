"""Parameters in checkpoints: read without the run that they belong to, or written without one.

`checkpoint` has the layout of the files.
"""

import contextlib
from collections.abc import Callable, Iterator
from typing import Any

import jax
import numpy as np
import orbax.checkpoint as ocp
from etils import epath

from electra_jax.core import files, trees
from electra_jax.core.complaints import counted
from electra_jax.core.errors import CheckpointError, first_line
from electra_jax.core.trees import Tree
from electra_jax.train import seals

FOLDER = seals.FOLDER
_ITEMS = ('params', 'rest', 'average', 'data', 'about')
AVERAGE = 'average'  # next to 'params': the running mean of the parameters, where there is one
# In about/ of those that are never deleted, with the words of `checkpoint.keep_at_words`.
KEPT = 'kept_at_words'


def write_params(folder: epath.Path, params: Tree, about: dict[str, Any]) -> None:
    """Makes `folder` a workdir to start from: its one checkpoint, of step 0, is of parameters.

    `about` has at least 'config' and 'tokenizer'.
    """
    items = ocp.args.Composite(params=ocp.args.StandardSave(params), about=ocp.args.JsonSave(about))
    with checkpointer(lambda: seals.unfinished(folder / FOLDER, 0)) as writer:
        writer.save(folder / FOLDER / '0', args=items)


def check_average(folder: epath.Path) -> None:
    """Refuses the folder of a checkpoint without a running mean of the parameters."""
    if not (folder / AVERAGE).exists():
        raise CheckpointError(
            f'the checkpoint {folder} has no running mean of its parameters: it was trained '
            'without config.optimizer.average_decay'
        )


def read_params(
    path: epath.Path, average: bool = False, values: bool = True
) -> tuple[Tree, dict[str, Any]]:
    """The parameters of a checkpoint as NumPy arrays, and what it belongs to, with its 'steps'.

    Args:
        path: a workdir (its newest checkpoint), its checkpoints/ folder, or one step's folder.
        average: their running mean instead.
        values: False: shapes and dtypes alone, for which no array is read.

    Raises:
        CheckpointError: there is none, or it is damaged.
    """
    folder = step_folder(files.absolute(path))  # Orbax accepts no others
    if average:
        check_average(folder)
    arrays = folder / (AVERAGE if average else 'params')
    if (wrong := seals.problem(folder)) is not None:
        raise _unreadable(folder, wrong)
    with reading(folder):
        # The handler alone: a Checkpointer around it warns that params/ is no whole checkpoint.
        with contextlib.closing(ocp.PyTreeCheckpointHandler()) as handler:
            shapes = handler.metadata(arrays).tree
            seals.check_sizes(arrays, shapes)
            if values:
                as_numpy = jax.tree.map(lambda _: ocp.RestoreArgs(restore_type=np.ndarray), shapes)
                params = handler.restore(arrays, args=ocp.args.PyTreeRestore(restore_args=as_numpy))
            else:
                params = jax.tree.map(lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype), shapes)
        about = read_about(folder)
    about.setdefault('steps', int(folder.name))  # a converted checkpoint records it itself
    return params, about


def read_about(folder: epath.Path) -> dict[str, Any]:
    """What the checkpoint in the folder of a step belongs to; as Orbax writes JSON."""
    return files.parse_object((folder / 'about' / 'metadata').read_text())


def read_mean(path: epath.Path, count: int) -> tuple[Tree, dict[str, Any]]:
    """The mean of the parameters of a run's newest checkpoints, as `read_params` has those of one.

    What they belong to is that of the newest, with the steps of all as 'averaged_steps'. One that
    is kept for good counts only where it is among the last `checkpoint.keep`: others are far from
    the end.

    Args:
        path: a workdir, or its checkpoints/ folder.
        count: how many checkpoints, at least 1.

    Raises:
        CheckpointError: there are fewer, or one of them is damaged.
    """
    path = files.absolute(path)
    newest = step_folder(path)
    folder = newest.parent
    found = seals.steps(folder) if newest != path else [int(newest.name)]
    usual = _without_kept(folder, found)
    steps = usual[-count:]
    if len(steps) < count:
        kept = ', without those that config.checkpoint.keep_at_words keeps for good'
        raise CheckpointError(
            f'{path} has {counted(len(steps), "checkpoints")}{kept * (usual != found)}, and the '
            f'mean of {count} is wanted: average fewer, or keep more (config.checkpoint.keep)'
        )
    mean, about = read_params(folder / str(steps[0]))
    for number, step in enumerate(steps[1:], start=2):
        params, about = read_params(folder / str(step))
        mean = trees.updated_mean(mean, params, number)
    return mean, {**about, 'averaged_steps': steps}


def _without_kept(folder: epath.Path, steps: list[int]) -> list[int]:
    """The steps without those whose checkpoints only `checkpoint.keep_at_words` has kept."""
    records = {}
    for step in steps:
        with reading(folder / str(step)):
            records[step] = read_about(folder / str(step))
    if not any(KEPT in record for record in records.values()):
        return steps
    keep = records[steps[-1]]['config']['checkpoint']['keep']
    return [step for step in steps if step in steps[-keep:] or KEPT not in records[step]]


def step_folder(path: epath.Path) -> epath.Path:
    """The folder of the newest checkpoint of a workdir, or of the one that is named.

    Args:
        path: a workdir, its checkpoints/ folder, or one step's folder; absolute.

    Raises:
        CheckpointError: there is none.
    """
    if path.name.isdigit() and (path / 'params').exists():
        return path
    for folder in (path / FOLDER, path):
        if folder.is_dir() and (steps := seals.steps(folder)):
            return folder / str(steps[-1])
    absent = '' if path.exists() else ', and no such folder'
    raise CheckpointError(
        f'no checkpoint in {path}{absent}: a workdir, its {FOLDER}/ folder or the folder of one '
        'step is expected'
    )


def checkpointer(unfinished: Callable[[], list[epath.Path]]) -> ocp.AsyncCheckpointer:
    """What writes checkpoints; `unfinished` finds folders whose files are written, to be sealed."""

    def seal() -> None:
        for folder in unfinished():
            seals.seal(folder)

    options = ocp.options.AsyncOptions(
        # On the first process, when all files are written and the folder is not named yet.
        post_finalization_callback=seal,
        # Orbax measures timeouts with the wall clock, which can jump: so it is very long; a save
        # that times out nevertheless counts as failed. The watchdog and the heartbeat detect hangs.
        timeout_secs=10**8,
        create_directories_asynchronously=False,
    )
    return ocp.AsyncCheckpointer(ocp.CompositeCheckpointHandler(*_ITEMS), async_options=options)


@contextlib.contextmanager
def reading(folder: epath.Path) -> Iterator[None]:
    """Turns what Orbax raises for damaged checkpoints into one error for people."""
    try:
        yield
    except (ValueError, KeyError, TypeError, OSError, AttributeError, RecursionError) as error:
        raise _unreadable(folder, first_line(error)) from error


def _unreadable(folder: epath.Path, why: str) -> CheckpointError:
    return CheckpointError(
        f'the checkpoint {folder} cannot be read: {why}\nIf it is damaged, name another one, or '
        'delete that folder and type the same command again: then the one before it is used.'
    )
