"""Checkpoints: everything that a run needs to continue, saved while training goes on.

`checkpoints/STEP/` in the workdir appears under that name only when it is complete. It holds

    params/  the parameters
    rest/    the number of steps done, the optimizer state, and what the objective remembers
    average/ the running mean of the parameters, where the run keeps one
    data/    JSON: the data iterator's state, what `health` has seen, sums of the next metrics line
    about/   JSON: the config, the tokenizer, and the corpora with their fingerprints and weights,
             to check that it is the same run; and of the checkpoint that the run started from
             'tokens_before', how many it had read, and 'started_from', what it recorded;
             and 'kept_at_words' where it is never deleted (`checkpoint.keep_at_words`)
    checksums.json  of all these files (`seals`)

The first three hold the fields of `TrainState`. `loop._save` adds data/; about/ is made at a start
(`about` in `pretrain/text.py`, and `pretrain/job.py`; a run of `minutes` may correct its config)
and stored in every checkpoint.

Nothing about randomness is saved: each key follows from the seed and the step (`core.rng`).
A checkpoint to start other runs from has params/ and about/ only.

What may go wrong, and what happens then:

- A save is cut off: the folder lacks its name (on a bucket: its mark), and is deleted later.
- Bytes change or vanish later: the newest checkpoint whose checksums match is used. Damaged ones
  are renamed, never deleted.
- The disk is full: the newest whole checkpoint stays, and `checkpoint.on_error` decides.
- Old checkpoints are deleted only after a newer one is whole.
- A checkpoint that is to be kept for good cannot be saved: the next one is kept in its place.

Orbax writes and reads the files. Its CheckpointManager is not used: on a full disk it forgets old
checkpoints, counts damaged ones as the latest, and fails where an old one cannot be deleted.
"""

import contextlib
import time
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

import jax
import orbax.checkpoint as ocp
from etils import epath

from electra_jax.config.settings import CheckpointConfig
from electra_jax.core.errors import CheckpointError, first_line
from electra_jax.core.trees import Tree
from electra_jax.runtime import distributed
from electra_jax.train import parameters, seals
from electra_jax.train.state import TrainState

_LAST_ATTEMPTS = 3  # to save the end of a run


class Then(NamedTuple):
    """What happens after a save has failed."""

    ends: bool  # the run, with a CheckpointError
    line: str = ''  # where it goes on: a sentence about how, to be printed


ENDS_RUN = Then(ends=True)
_CONTINUE = Then(False, 'Training continues; the next checkpoint is tried when it is due.')
_SAVE_THE_END = Then(False, 'The end of the run is saved now.')


class Checkpoints:
    """The `checkpoints/` folder of a workdir."""

    def __init__(
        self,
        folder: epath.Path,
        checkpoint_config: CheckpointConfig,
        report: seals.Report,
        read_only: bool = False,
        before: int | None = None,
        marks: Mapping[int, float] | None = None,
        retry_seconds: float = 10.0,
    ):
        """Finds the newest whole checkpoint, and reads all of its bytes.

        Args:
            report: called with a line about what was set aside and what could not be saved.
            read_only: change nothing in the folder, because another process may be writing there.
            before: consider only checkpoints of steps before this one.
            marks: steps after which the state is kept for good, and the words that they reach.
            retry_seconds: pause before the end of a run is saved again.

        Raises:
            CheckpointError: there are checkpoints, and none of them is whole.
        """
        self._folder, self._config, self._report = folder, checkpoint_config, report
        self.marks = marks or {}
        self._kept: dict[int, float | None] = {}  # those of checkpoints that are there, as found
        # After any save but the last.
        self.then = _CONTINUE if checkpoint_config.on_error == 'retry' else ENDS_RUN
        self._retry_seconds = retry_seconds
        newest = None
        if distributed.is_first():
            for path in [] if read_only else seals.unfinished(folder):
                step = path.name.partition('.')[0]  # Orbax adds a suffix to an unfinished name
                report(f'the save of step {step} was cut off; its unfinished files are deleted')
                path.rmtree()
            newest = seals.newest_whole(folder, report, not read_only, before)
        self._newest = distributed.agree(newest)
        self._saving: int | None = None  # the step whose save is under way
        self._checkpointer = parameters.checkpointer(lambda: seals.unfinished(folder, self._saving))

    def latest(self) -> int | None:
        """The step of the newest whole checkpoint."""
        return self._newest

    # ---- Save

    def save(
        self,
        step: int,
        state: TrainState,
        data_state: dict[str, Any],
        about: dict[str, Any],
        last: bool = False,
    ) -> None:
        """Starts to save; waits for an earlier save, and until the state is copied to the host.

        Args:
            step: number of steps done, after which the state is `state`.
            data_state: where the data iterator and the run's health continue, as JSON.
            about: what the checkpoint belongs to, as JSON.
            last: wait until it is on disk, and try again where that fails.

        Raises:
            CheckpointError: it cannot be saved (or the one before could not), and
                `checkpoint.on_error` is 'stop', or this is the last one, or there are several
                processes, which could not continue together.
        """
        # If an earlier save has failed, the last one is saved all the same: it replaces that one.
        self._wait(_SAVE_THE_END if last else self.then)
        if step == self._newest:
            return
        # Those that no checkpoint has: of this step, or of one before it that could not be saved.
        before = self._newest or 0
        reached = [words for mark, words in self.marks.items() if before < mark <= step]
        self._kept[step] = max(reached, default=None)
        if reached:
            about = {**about, parameters.KEPT: max(reached)}
        average = {}
        if state.average is not None:
            average = {parameters.AVERAGE: ocp.args.StandardSave(state.average)}
        items = ocp.args.Composite(
            **average,
            params=ocp.args.StandardSave(state.params),
            rest=ocp.args.StandardSave(_rest(state)),
            data=ocp.args.JsonSave(data_state),
            about=ocp.args.JsonSave(about),
        )
        if not last:
            self._start(step, items, self.then)
            return
        again = Then(False, f'It is tried again in {self._retry_seconds:g} s.')
        for attempt in range(1, _LAST_ATTEMPTS + 1):
            then = again if attempt < _LAST_ATTEMPTS else ENDS_RUN
            self._start(step, items, then)
            self._wait(then)
            if step == self._newest:
                return
            time.sleep(self._retry_seconds)

    def refuse(self, text: str, then: Then, cause: Exception | None = None) -> None:
        """Reports that a save failed, and how the run goes on; a CheckpointError where it ends.

        Several processes cannot continue: one alone knows, and the others would wait for it.
        """
        if then.ends or jax.process_count() > 1:
            raise CheckpointError(
                f'{text} Fix that (is the disk full?) and type the same command again: training '
                'continues from the newest checkpoint, or from the beginning where there is none.'
            ) from cause
        self._report(f'{text} {then.line}')

    def _start(self, step: int, items: ocp.args.Composite, then: Then) -> None:
        self._saving = step
        self._remove_failed(step)
        with self._reporting(then):
            self._checkpointer.save(self._folder / str(step), args=items)

    def check(self) -> None:
        """Notices that the save under way has failed; raises as `save` does."""
        if self._saving is not None:
            with self._reporting(self.then):
                self._checkpointer.check_for_errors()

    def finish(self) -> None:
        """Waits until the save under way is on disk; raises CheckpointError where it is not."""
        self._wait(ENDS_RUN)

    def close(self) -> None:
        """Finishes, and releases threads and files."""
        self.finish()
        self._checkpointer.close()

    def _wait(self, then: Then) -> None:
        """Waits for the save under way, if any; then deletes what is one too many."""
        step = self._saving
        if step is None:
            return
        with self._reporting(then):
            self._checkpointer.wait_until_finished()
            self._newest, self._saving = step, None
        if step == self._newest and distributed.is_first():
            self._delete_old()

    @contextlib.contextmanager
    def _reporting(self, then: Then) -> Iterator[None]:
        """Turns an error of the save under way into a call of `refuse`."""
        try:
            yield
        except Exception as error:  # each storage raises its own
            step, self._saving = self._saving, None
            self._remove_failed(step)
            none = self._newest is None
            newest = 'no whole one yet' if none else f'that of step {self._newest}'
            self.refuse(
                f'the checkpoint of step {step} could not be saved: {first_line(error)}. '
                f'{self._folder} has {newest}.',
                then,
                error,
            )

    def _remove_failed(self, step: int | None) -> None:
        """Deletes what a failed save of this step has left, to make room."""
        if jax.process_count() == 1:
            for folder in seals.unfinished(self._folder, step):
                with contextlib.suppress(OSError):  # a thread of that save may still write there
                    folder.rmtree()

    def _delete_old(self) -> None:
        for step in seals.steps(self._folder)[: -self._config.keep]:
            try:
                if self._words_kept(step) is None:
                    seals.delete(self._folder / str(step))
            except Exception as error:  # another process reads it, for example
                self._report(
                    f'the old checkpoint of step {step} in {self._folder} could not be deleted: '
                    f'{first_line(error)}. It is tried again after the next save.'
                )

    def kept(self) -> dict[int, float]:
        """The checkpoints that are kept for good, and the words that they reached."""
        found = {}
        for step in seals.steps(self._folder):
            with contextlib.suppress(OSError, ValueError):  # it is damaged
                if (words := self._words_kept(step)) is not None:
                    found[step] = words
        return found

    def _words_kept(self, step: int) -> float | None:
        """The words for which a checkpoint is kept for good; None: it is not.

        The checkpoint itself records it, so that it stays when the setting is not typed again.
        """
        if step not in self._kept:
            folder = self._folder / str(step)
            about = parameters.read_about(folder) if (folder / 'about').exists() else {}
            self._kept[step] = about.get(parameters.KEPT)
        return self._kept[step]

    # ---- Restore: each of these raises CheckpointError where the checkpoint is damaged, or has
    # ---- other shapes.

    def about(self, step: int) -> dict[str, Any]:
        """What a checkpoint belongs to, as given to `save`; no arrays are read."""
        return self._restore(step, about=ocp.args.JsonRestore()).about

    def check_state(self, step: int) -> None:
        """Refuses a checkpoint without the state of a run, such as a converted one."""
        if not (self._folder / str(step) / 'rest').exists():
            raise CheckpointError(
                f'{self._folder / str(step)} holds parameters only, and a run cannot continue from '
                'them: start from it in another --workdir, with --config.init_from='
                f'{self._folder.parent}'
            )

    def restore(self, step: int, abstract: TrainState) -> tuple[TrainState, dict[str, Any]]:
        """The state, with `abstract`'s shapes, dtypes and shardings; and `data_state` as saved."""
        average_item = {}
        if abstract.average is not None:
            average_item = {parameters.AVERAGE: ocp.args.StandardRestore(abstract.average)}
        restored = self._restore(
            step,
            **average_item,
            params=ocp.args.StandardRestore(abstract.params),
            rest=ocp.args.StandardRestore(_rest(abstract)),
            data=ocp.args.JsonRestore(),
        )
        average = restored[parameters.AVERAGE] if average_item else None
        state = TrainState(params=restored.params, average=average, **restored.rest)
        return state, restored.data

    def restore_params(self, step: int, abstract: Tree, average: bool = False) -> Tree:
        """The parameters only, or their running mean, with `abstract`'s shapes and shardings."""
        item = parameters.AVERAGE if average else 'params'
        if average:
            parameters.check_average(self._folder / str(step))
        return self._restore(step, **{item: ocp.args.StandardRestore(abstract)})[item]

    def _restore(self, step: int, **items: Any) -> Any:
        folder = self._folder / str(step)
        with parameters.reading(folder):
            return self._checkpointer.restore(folder, args=ocp.args.Composite(**items))


def _rest(state: TrainState) -> dict[str, Any]:
    rest = {'step': state.step, 'opt_state': state.opt_state}
    return rest if state.memory is None else {**rest, 'memory': state.memory}
