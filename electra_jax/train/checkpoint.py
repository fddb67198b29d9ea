"""Checkpoints by Orbax: everything needed to go on, saved while training continues."""

import functools
from typing import Any

import jax
import orbax.checkpoint as ocp
from etils import epath

from electra_jax.config.schema import CheckpointConfig
from electra_jax.core.errors import CheckpointError
from electra_jax.train.state import TrainState

_ITEMS = ('state', 'data', 'about')


class Checkpoints:
    """The `checkpoints/` folder of a workdir.

    Each checkpoint is a folder named by its step, which appears under that name only when it is
    complete. It holds 'state' (parameters and optimizer), 'data' (the iterator's place) and
    'about' (the config, the tokenizer and the corpus, as JSON).
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
            state=ocp.args.StandardSave(state),
            data=ocp.args.JsonSave(place),
            about=ocp.args.JsonSave(about),
        )
        self._manager.save(step, args=items)

    def about(self, step: int) -> dict[str, Any]:
        """What a checkpoint says of itself; reads no arrays."""
        items = ocp.args.Composite(about=ocp.args.JsonRestore())
        return self._guarded(functools.partial(self._manager.restore, step, args=items)).about

    def restore(self, step: int, abstract: TrainState) -> tuple[TrainState, dict]:
        """The state laid out as `abstract` says, and the data iterator's place.

        Raises:
            CheckpointError: the checkpoint is damaged or has other shapes.
        """
        items = ocp.args.Composite(
            state=ocp.args.StandardRestore(abstract), data=ocp.args.JsonRestore()
        )
        restored = self._guarded(functools.partial(self._manager.restore, step, args=items))
        return restored.state, restored.data

    def finish(self) -> None:
        """Waits until everything started is on disk."""
        self._manager.wait_until_finished()

    def close(self) -> None:
        """Finishes and lets go of threads and files."""
        self._manager.close()

    def _guarded(self, restore: Any) -> Any:
        try:
            return restore()
        except (ValueError, KeyError, TypeError, OSError) as error:
            first_line = (str(error).strip() or type(error).__name__).splitlines()[0][:300]
            raise CheckpointError(
                f'the checkpoint in {self._folder} cannot be read: {first_line}\n'
                'If it was damaged, delete the folder of that step and start again: training goes '
                'on from the checkpoint before it.'
            ) from error


def initial_state(make: Any, abstract: TrainState) -> TrainState:
    """A fresh state, made in place on the mesh."""
    shardings = jax.tree.map(lambda leaf: leaf.sharding, abstract)
    return jax.jit(make, out_shardings=shardings)()
