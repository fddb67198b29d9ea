"""Checkpoints by Orbax: everything needed to go on, saved while training continues."""

import functools
from typing import Any

import jax
import numpy as np
import orbax.checkpoint as ocp
from etils import epath

from electra_jax.config.schema import CheckpointConfig
from electra_jax.core.errors import CheckpointError
from electra_jax.core.trees import Tree
from electra_jax.train import checkpoint_limits
from electra_jax.train.state import TrainState

FOLDER = 'checkpoints'  # of a workdir
_ITEMS = ('params', 'rest', 'data', 'about')


class Checkpoints:
    """The `checkpoints/` folder of a workdir.

    Each checkpoint is a folder named by its step, which appears under that name only when it is
    complete. It holds 'params', 'rest' (step and optimizer), 'data' (the iterator's place) and
    'about' (the config, the tokenizer and the corpus, as JSON). One to start from, and not to go
    on with, has 'params' and 'about' only.
    """

    def __init__(self, folder: epath.Path, settings: CheckpointConfig):
        self._folder = folder
        options = ocp.CheckpointManagerOptions(
            max_to_keep=settings.keep, cleanup_tmp_directories=True
        )
        self._manager = ocp.CheckpointManager(folder, options=options, item_names=_ITEMS)

    def latest(self) -> int | None:
        """Step of the newest complete checkpoint."""
        return self._manager.latest_step()

    def save(self, step: int, state: TrainState, place: dict, about: dict[str, Any]) -> None:
        """Starts saving; waits only for the copy of the state off the devices."""
        if step in self._manager.all_steps():
            return
        items = ocp.args.Composite(
            params=ocp.args.StandardSave(state.params),
            rest=ocp.args.StandardSave(_rest(state)),
            data=ocp.args.JsonSave(place),
            about=ocp.args.JsonSave(about),
        )
        self._manager.save(step, args=items)

    def about(self, step: int) -> dict[str, Any]:
        """What a checkpoint says of itself; reads no arrays.

        Raises:
            CheckpointError: it is damaged.
        """
        items = ocp.args.Composite(about=ocp.args.JsonRestore())
        return self._guarded(functools.partial(self._manager.restore, step, args=items)).about

    def restore(self, step: int, abstract: TrainState) -> tuple[TrainState, dict]:
        """The state laid out as `abstract` says, and the data iterator's place.

        Raises:
            CheckpointError: the checkpoint is damaged or has other shapes.
        """
        if not (self._folder / str(step) / 'rest').exists():
            raise CheckpointError(
                f'{self._folder / str(step)} holds parameters alone, nothing to go on with: start '
                'from it in another --workdir, with --config.init_from='
                f'{self._folder.parent}'
            )
        items = ocp.args.Composite(
            params=ocp.args.StandardRestore(abstract.params),
            rest=ocp.args.StandardRestore(_rest(abstract)),
            data=ocp.args.JsonRestore(),
        )
        restored = self._guarded(functools.partial(self._manager.restore, step, args=items))
        return TrainState(params=restored.params, **restored.rest), restored.data

    def restore_params(self, step: int, abstract: Tree) -> Tree:
        """The parameters alone, laid out as `abstract` says.

        Raises:
            CheckpointError: the checkpoint is damaged or has other shapes.
        """
        items = ocp.args.Composite(params=ocp.args.StandardRestore(abstract))
        return self._guarded(functools.partial(self._manager.restore, step, args=items)).params

    def finish(self) -> None:
        """Waits until everything started is on disk."""
        self._manager.wait_until_finished()

    def close(self) -> None:
        """Finishes and lets go of threads and files."""
        self._manager.close()

    def _guarded(self, restore: Any) -> Any:
        return _guarded(
            restore,
            self._folder,
            'If it was damaged, delete the folder of that step and start again: training goes on '
            'from the checkpoint before it.',
        )


def write_params(folder: epath.Path, params: Tree, about: dict[str, Any]) -> None:
    """Makes `folder` something to start from: a workdir whose one checkpoint is of parameters.

    Args:
        folder: new or empty.
        params: arrays on the host or on devices.
        about: as `Checkpoints` keeps it: at least 'config' and 'tokenizer'.
    """
    items = ocp.args.Composite(params=ocp.args.StandardSave(params), about=ocp.args.JsonSave(about))
    with ocp.CheckpointManager(folder / FOLDER, item_names=_ITEMS) as manager:
        manager.save(0, args=items)


def read_params(path: epath.Path) -> tuple[Tree, dict[str, Any]]:
    """The parameters of a checkpoint as NumPy arrays, and what it says of itself.

    Args:
        path: a workdir (its newest checkpoint), its checkpoints/ folder, or one step's folder.

    Raises:
        CheckpointError: there is none, or it is damaged.
    """
    folder, step = _find_step(path)
    read = functools.partial(_read_params, folder / str(step))
    return _guarded(read, folder, 'Name another checkpoint, or the folder of an earlier step.')


def _find_step(path: epath.Path) -> tuple[epath.Path, int]:
    if path.name.isdigit() and (path / 'params').exists():
        return path.parent, int(path.name)
    for folder in (path / FOLDER, path):
        if folder.is_dir():
            steps = [int(child.name) for child in folder.iterdir() if child.name.isdigit()]
            if steps:
                return folder, max(steps)
    raise CheckpointError(
        f'no checkpoint in {path}: a workdir, its {FOLDER}/ folder or the folder of one step is '
        'expected'
    )


def _read_params(folder: epath.Path) -> tuple[Tree, dict[str, Any]]:
    with ocp.Checkpointer(ocp.PyTreeCheckpointHandler()) as reader:
        shapes = reader.metadata(folder / 'params').item_metadata.tree
        checkpoint_limits.check(folder / 'params', shapes)
        as_numpy = jax.tree.map(lambda _: ocp.RestoreArgs(restore_type=np.ndarray), shapes)
        params = reader.restore(
            folder / 'params', args=ocp.args.PyTreeRestore(restore_args=as_numpy)
        )
    with ocp.Checkpointer(ocp.JsonCheckpointHandler()) as reader:
        about = reader.restore(folder / 'about', args=ocp.args.JsonRestore())
    return params, about


def _rest(state: TrainState) -> dict[str, Any]:
    return {'step': state.step, 'opt_state': state.opt_state}


def _guarded(restore: Any, folder: epath.Path, advice: str) -> Any:
    try:
        return restore()
    except (ValueError, KeyError, TypeError, OSError, AttributeError, RecursionError) as error:
        first_line = (str(error).strip() or type(error).__name__).splitlines()[0][:300]
        raise CheckpointError(
            f'the checkpoint in {folder} cannot be read: {first_line}\n{advice}'
        ) from error


def initial_state(make: Any, abstract: TrainState) -> TrainState:
    """A fresh state, made in place on the mesh."""
    shardings = jax.tree.map(lambda leaf: leaf.sharding, abstract)
    return jax.jit(make, out_shardings=shardings)()
