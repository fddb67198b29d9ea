"""The state that a run begins or goes on with."""

from collections.abc import Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from etils import epath

from electra_jax import init_from
from electra_jax.config.settings import Config
from electra_jax.core import files
from electra_jax.core.errors import CheckpointError
from electra_jax.data.pipeline import DeviceBatches
from electra_jax.pretrain import length, words
from electra_jax.pretrain import text as texts
from electra_jax.pretrain.program import Program
from electra_jax.pretrain.text import Text
from electra_jax.runtime import terminal
from electra_jax.train import loop, parameters
from electra_jax.train.checkpoint import Checkpoints
from electra_jax.train.health import Health
from electra_jax.train.means import Means
from electra_jax.train.state import TrainState


class Run(NamedTuple):
    """A program with its text and its workdir."""

    program: Program
    text: Text
    folder: epath.Path
    reading: words.Reading
    plan: length.Plan | None = None  # corrects the length; None: it stays

    @property
    def config(self) -> Config:
        return self.program.config


def open_checkpoints(
    run: Run,
    read_only: bool = False,
    before: int | None = None,
    marks: Mapping[int, float] | None = None,
) -> Checkpoints:
    """The checkpoints of the workdir, up to a step where `before` is given; `marks` as there."""
    folder, checkpoint_config = run.folder / parameters.FOLDER, run.config.checkpoint
    return Checkpoints(
        folder,
        checkpoint_config,
        terminal.OUT.print,
        read_only=read_only,
        before=before,
        marks=marks,
    )


def load_state(
    run: Run,
    checkpoints: Checkpoints,
    batches: DeviceBatches,
    health: Health | None = None,
    means: Means | None = None,
) -> tuple[TrainState, Mapping[str, Any]]:
    """The state of the newest checkpoint, where all that is given goes on too; or at step 0.

    And what is recorded of the checkpoint that the run started from (`init_from.started_from`).
    """
    newest, program = checkpoints.latest(), run.program
    if newest is not None:
        checkpoints.check_state(newest)
        about = checkpoints.about(newest)
        texts.check_checkpoint(about, run.config, run.text, run.folder, same_text=True)
        state, data_state = checkpoints.restore(newest, program.abstract_state)
        loop.restore_data_state(data_state, batches, health, means)
        kept = {name: about[name] for name in init_from.SCRATCH if name in about}
        # Earlier versions did not record it.
        return state, {init_from.BEFORE: None if run.config.init_from else 0.0, **kept}
    if run.config.branch_from is not None:
        return load_branch(run, batches, health, means)
    with terminal.alive('compiling the initial state'):
        state = program.fresh_state()
    if run.config.init_from is None:
        return state, init_from.SCRATCH
    params, account, before = init_from.all_params(
        run.config, run.text.tokenizer, program.init_params, program.abstract_state.params
    )
    terminal.OUT.print(account.line(run.config, 'optimizer'))
    average = None if state.average is None else jax.tree.map(jnp.copy, params)
    return state._replace(params=params, average=average), before


def branch_folder(where: str) -> epath.Path:
    """The folder of the checkpoint that `config.branch_from` names; CheckpointError if none."""
    return parameters.step_folder(files.absolute(where.removeprefix(f'{init_from.OURS}:')))


def load_branch(
    run: Run, batches: DeviceBatches, health: Health | None, means: Means | None
) -> tuple[TrainState, Mapping[str, Any]]:
    """`load_state` from the checkpoint of another run, `config.branch_from`."""
    assert run.config.branch_from is not None
    found = branch_folder(run.config.branch_from)
    trunk, step = found.parent.parent, int(found.name)
    terminal.OUT.print(f'a branch of {trunk} from step {step}')
    from_trunk = run._replace(folder=trunk)
    checkpoints = open_checkpoints(from_trunk, read_only=True, before=step + 1)
    if checkpoints.latest() != step:
        raise CheckpointError(f'the checkpoint {found} is damaged: name another step of {trunk}')
    loaded = load_state(from_trunk, checkpoints, batches, health, means)
    checkpoints.close()
    return loaded
