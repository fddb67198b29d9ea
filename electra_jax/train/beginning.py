"""The checkpoint of another run that a run begins with, which stays the same at every start."""

from etils import epath

from electra_jax.core import files
from electra_jax.core.errors import CheckpointError
from electra_jax.runtime import distributed
from electra_jax.train import parameters, workdir

_KIND = f'{workdir.OURS}:'


def chosen(setting: str, where: str, folder: epath.Path) -> str:
    """The checkpoint that the run in `folder` begins with: `where` may name the newest of a run.

    It is chosen at the first start and stands in `config.json`, for the other run may go on, and
    this one be started again before it needs that checkpoint no more.

    Args:
        setting: the name of the one that has `where`.
        where: a workdir of ours, its checkpoints/ folder, or the folder of one step.
        folder: the workdir of the run that begins.

    Raises:
        CheckpointError: it was chosen, and is gone before the run has a checkpoint to continue
            from; or there is none.
    """
    named = where.removeprefix(_KIND)
    asked = files.absolute(named)
    before = (workdir.recorded(folder) or {}).get(setting)
    kept = files.absolute(before.removeprefix(_KIND)) if before else None
    # Earlier versions kept what was typed.
    if kept is None or not (kept.name.isdigit() and asked in (kept, *list(kept.parents)[:2])):
        if workdir.has_checkpoint(folder) or workdir.begun(folder):
            return where
        found = parameters.step_folder(asked)
        step = found.parent / str(distributed.agree(int(found.name)))
        # As it was typed: the folders above may move, with both runs.
        return str(epath.Path(named) / step.relative_to(asked)) if step != asked else named
    if not workdir.has_checkpoint(folder) and not kept.exists():
        raise CheckpointError(
            f'the run in {folder} began with {kept}, which is gone, and still needs it: name '
            f'another checkpoint by --config.{setting}, and another --workdir'
        )
    return str(before)
