"""Checkpoints by Orbax: everything needed to go on, saved while training continues.

What may go wrong with them, and what is done then:

- A save is cut off: Orbax gives a checkpoint its name (on a bucket: its mark) last of all.
- Bytes change or vanish later: each checkpoint holds checksums of its files (`checkpoint_files`),
  and the newest one whose bytes agree is used. Damaged ones are set aside, never deleted.
- The disk is full: the newest whole checkpoint stays, and `checkpoint.on_error` decides.
- Old ones go only after a newer one is whole.
"""

import contextlib
import functools
import time
from typing import Any

import jax
import numpy as np
import orbax.checkpoint as ocp
from etils import epath

from electra_jax.config.settings import CheckpointConfig
from electra_jax.core import errors
from electra_jax.core.errors import CheckpointError
from electra_jax.core.trees import Tree
from electra_jax.runtime import distributed
from electra_jax.train import checkpoint_files as files
from electra_jax.train import checkpoint_limits
from electra_jax.train.state import TrainState

FOLDER = 'checkpoints'  # of a workdir
_ITEMS = ('params', 'rest', 'data', 'about')
# Orbax times its waits by the clock on the wall, which may jump: so as few and as long ones as can
# be; a save that a jump ends all the same is one that failed. What hangs is noticed elsewhere:
# `runtime.watchdog`, `heartbeat`.
_WAITING = {'timeout_secs': 10**8, 'create_directories_asynchronously': False}
_LAST_ATTEMPTS, _PAUSE_SECONDS = 3, 10.0  # of the save that ends a run


class Checkpoints:
    """The `checkpoints/` folder of a workdir.

    Each checkpoint is a folder named by its step, which appears under that name only when it is
    complete. It holds 'params', 'rest' (step and optimizer), 'data' (the iterator's place, and
    what was seen of the run's health) and 'about' (the config, the tokenizer and the corpus, as
    JSON). One to start from, and not to go on with, has 'params' and 'about' only.
    """

    def __init__(
        self,
        folder: epath.Path,
        settings: CheckpointConfig,
        say: files.Say,
        read_only: bool = False,
        before: int | None = None,
    ):
        """Looks for the newest whole checkpoint; reads all of its bytes once.

        Args:
            folder: need not exist.
            settings: of the run.
            say: told what was set aside and what could not be saved.
            read_only: leave the folder as it is, because another process may be writing there.
            before: look at those of earlier steps alone.

        Raises:
            CheckpointError: there are checkpoints, and none of them is whole.
        """
        self._folder, self._settings, self._say = folder, settings, say
        newest = None
        if distributed.is_first():
            if not read_only:
                files.remove_unfinished(folder, say)
            newest = files.newest_whole(folder, say, not read_only, before)
        self._newest = distributed.agree(newest)
        self._saving: int | None = None
        self._checkpointer = ocp.AsyncCheckpointer(
            ocp.CompositeCheckpointHandler(*_ITEMS),
            async_options=ocp.options.AsyncOptions(
                post_finalization_callback=self._seal, **_WAITING
            ),
        )

    def latest(self) -> int | None:
        """Step of the newest whole checkpoint."""
        return self._newest

    def save(
        self,
        step: int,
        state: TrainState,
        place: dict,
        about: dict[str, Any],
        last: bool = False,
    ) -> None:
        """Starts saving; waits for an earlier save, and for the copy of the state off the devices.

        Args:
            step: the checkpoint's name.
            state: after that step.
            place: of the data iterator, and what else goes on from there, as JSON.
            about: see `Checkpoints`.
            last: wait until it is on disk, and try again where that fails.

        Raises:
            CheckpointError: it cannot be saved (or the one before could not), and
                `checkpoint.on_error` is 'stop', or this is the last one, or there are several
                processes, which could not go on together.
        """
        self._settle(self._settings.on_error == 'stop' and not last)
        attempts = _LAST_ATTEMPTS if last else 1
        for attempt in range(1, attempts + 1):
            if step == self._newest:
                return
            fatal = attempt == attempts and (last or self._settings.on_error == 'stop')
            self._start(step, state, place, about, fatal)
            if not last:
                return
            self._settle(fatal)
            if self._newest != step:
                time.sleep(_PAUSE_SECONDS)

    def check(self) -> None:
        """Notices a save that has failed meanwhile.

        Raises:
            CheckpointError: as `save`.
        """
        if self._saving is not None:
            try:
                self._checkpointer.check_for_errors()
            except Exception as error:  # whatever the storage raises
                self._failed(error, self._settings.on_error == 'stop')

    def finish(self) -> None:
        """Waits until everything started is on disk.

        Raises:
            CheckpointError: something is not.
        """
        self._settle(fatal=True)

    def close(self) -> None:
        """Finishes and lets go of threads and files."""
        self.finish()
        self._checkpointer.close()

    def about(self, step: int) -> dict[str, Any]:
        """What a checkpoint says of itself; reads no arrays.

        Raises:
            CheckpointError: it is damaged.
        """
        return files.unmarked(self._restore(step, about=ocp.args.JsonRestore()).about)

    def restore(self, step: int, abstract: TrainState) -> tuple[TrainState, dict]:
        """The state laid out as `abstract` says, and the place that was saved with it.

        Raises:
            CheckpointError: the checkpoint is damaged or has other shapes.
        """
        if not (self._folder / str(step) / 'rest').exists():
            raise CheckpointError(
                f'{self._folder / str(step)} holds parameters alone, nothing to go on with: start '
                'from it in another --workdir, with --config.init_from='
                f'{self._folder.parent}'
            )
        restored = self._restore(
            step,
            params=ocp.args.StandardRestore(abstract.params),
            rest=ocp.args.StandardRestore(_rest(abstract)),
            data=ocp.args.JsonRestore(),
        )
        return TrainState(params=restored.params, **restored.rest), restored.data

    def restore_params(self, step: int, abstract: Tree) -> Tree:
        """The parameters alone, laid out as `abstract` says.

        Raises:
            CheckpointError: the checkpoint is damaged or has other shapes.
        """
        return self._restore(step, params=ocp.args.StandardRestore(abstract)).params

    def _restore(self, step: int, **items: Any) -> Any:
        restore = functools.partial(
            self._checkpointer.restore,
            self._folder / str(step),
            args=ocp.args.Composite(**items),
        )
        return _guarded(
            restore,
            self._folder,
            'If it was damaged, delete the folder of that step and start again: training goes on '
            'from the checkpoint before it.',
        )

    def _start(
        self, step: int, state: TrainState, place: dict, about: dict[str, Any], fatal: bool
    ) -> None:
        items = ocp.args.Composite(
            params=ocp.args.StandardSave(state.params),
            rest=ocp.args.StandardSave(_rest(state)),
            data=ocp.args.JsonSave(place),
            about=ocp.args.JsonSave(files.marked(about)),
        )
        self._saving = step
        self._discard(step)
        try:
            self._checkpointer.save(self._folder / str(step), args=items)
        except Exception as error:  # whatever the storage raises
            self._failed(error, fatal)

    def _seal(self) -> None:
        """Called by Orbax on the first process, when all is written and before it has its name."""
        files.seal_unfinished(self._folder, self._saving)

    def _settle(self, fatal: bool) -> None:
        """Waits for the save that is under way; deletes what is now one too many."""
        if self._saving is None:
            return
        try:
            self._checkpointer.wait_until_finished()
        except Exception as error:  # whatever the storage raises
            self._failed(error, fatal)
            return
        self._newest, self._saving = self._saving, None
        if distributed.is_first():
            self._delete_old()

    def _delete_old(self) -> None:
        """What cannot be deleted now, because another process reads it, is tried again later."""
        for step in sorted(files.steps(self._folder))[: -self._settings.keep]:
            try:
                files.delete(self._folder / str(step))
            except Exception as error:  # whatever the storage raises
                self._say(
                    f'the old checkpoint of step {step} in {self._folder} could not be deleted: '
                    f'{errors.first_line(error)}. It is tried again after the next save.'
                )

    def _discard(self, step: int) -> None:
        """Makes room: what a failed save of this step has left behind goes."""
        if jax.process_count() == 1:
            for folder in files.unfinished(self._folder, step):
                with contextlib.suppress(OSError):  # a thread of that save may still write there
                    folder.rmtree()

    def _failed(self, error: Exception, fatal: bool) -> None:
        lost, self._saving = self._saving, None
        several = jax.process_count() > 1
        self._discard(lost)
        kept = 'there is none yet' if self._newest is None else f'that of step {self._newest}'
        text = (
            f'the checkpoint of step {lost} could not be saved: {errors.first_line(error)}. '
            f'The newest whole one in {self._folder}: {kept}.'
        )
        if fatal or several:
            raise CheckpointError(
                f'{text} Make room there and type the same command again: training goes on from it.'
            ) from error
        self._say(f'{text} Training goes on; the next one is tried when it is due.')


def write_params(folder: epath.Path, params: Tree, about: dict[str, Any]) -> None:
    """Makes `folder` something to start from: a workdir whose one checkpoint is of parameters.

    Args:
        folder: new or empty.
        params: arrays on the host or on devices.
        about: as `Checkpoints` keeps it: at least 'config' and 'tokenizer'.
    """
    items = ocp.args.Composite(
        params=ocp.args.StandardSave(params), about=ocp.args.JsonSave(files.marked(about))
    )
    options = ocp.options.AsyncOptions(
        post_finalization_callback=lambda: files.seal_unfinished(folder / FOLDER, 0)
    )
    handler = ocp.CompositeCheckpointHandler(*_ITEMS)
    with ocp.AsyncCheckpointer(handler, async_options=options) as checkpointer:
        checkpointer.save(folder / FOLDER / '0', args=items)


def read_params(path: epath.Path) -> tuple[Tree, dict[str, Any]]:
    """The parameters of a checkpoint as NumPy arrays, and what it says of itself.

    Args:
        path: a workdir (its newest checkpoint), its checkpoints/ folder, or one step's folder.

    Raises:
        CheckpointError: there is none, or it is damaged.
    """
    folder, step = _find_step(path.resolve())  # Orbax takes whole paths alone
    wrong = files.problem(folder / str(step))
    if wrong is not None:
        raise CheckpointError(
            f'{folder / str(step)} is damaged ({wrong}): name another checkpoint, or the folder of '
            'an earlier step'
        )
    read = functools.partial(_read_params, folder / str(step))
    return _guarded(read, folder, 'Name another checkpoint, or the folder of an earlier step.')


def _find_step(path: epath.Path) -> tuple[epath.Path, int]:
    if path.name.isdigit() and (path / 'params').exists():
        return path.parent, int(path.name)
    for folder in (path / FOLDER, path):
        if folder.is_dir():
            steps = files.steps(folder)
            if steps:
                return folder, max(steps)
    there = '' if path.exists() else ', and no such folder'
    raise CheckpointError(
        f'no checkpoint in {path}{there}: a workdir, its {FOLDER}/ folder or the folder of one '
        'step is expected'
    )


def _read_params(folder: epath.Path) -> tuple[Tree, dict[str, Any]]:
    # The handler alone: a Checkpointer around it warns that an item is no whole checkpoint.
    with contextlib.closing(ocp.PyTreeCheckpointHandler()) as reader:
        shapes = reader.metadata(folder / 'params').tree
        checkpoint_limits.check(folder / 'params', shapes)
        as_numpy = jax.tree.map(lambda _: ocp.RestoreArgs(restore_type=np.ndarray), shapes)
        params = reader.restore(
            folder / 'params', args=ocp.args.PyTreeRestore(restore_args=as_numpy)
        )
    with ocp.Checkpointer(ocp.JsonCheckpointHandler()) as reader:
        about = reader.restore(folder / 'about', args=ocp.args.JsonRestore())
    return params, files.unmarked(about)


def _rest(state: TrainState) -> dict[str, Any]:
    return {'step': state.step, 'opt_state': state.opt_state}


def _guarded(restore: Any, folder: epath.Path, advice: str) -> Any:
    try:
        return restore()
    except (ValueError, KeyError, TypeError, OSError, AttributeError, RecursionError) as error:
        raise CheckpointError(
            f'the checkpoint in {folder} cannot be read: {errors.first_line(error)}\n{advice}'
        ) from error


def initial_state(make: Any, abstract: TrainState) -> TrainState:
    """A fresh state, made in place on the mesh."""
    shardings = jax.tree.map(lambda leaf: leaf.sharding, abstract)
    return jax.jit(make, out_shardings=shardings)()
