"""What the folder of a sweep holds of an earlier one, which the same command continues."""

import dataclasses
import itertools
import pathlib
import shlex
from collections.abc import Mapping, Sequence
from typing import Any

from etils import epath

from electra_jax.config import fields, length, recipe
from electra_jax.config.settings import Config
from electra_jax.core import files
from electra_jax.core.complaints import counted
from electra_jax.core.errors import ConfigError, UserError
from electra_jax.sweep.plan import Planned
from electra_jax.train import runs, workdir
from electra_jax.train.workdir import Other


def check(runs: Sequence[Planned], folder: pathlib.Path) -> None:
    """Refuses a sweep whose runs would not continue those in its folder, before one is started.

    Raises:
        ConfigError: naming the settings that differ, with both values.
    """
    found = {run.name: one for run in runs if (one := _other(run)) is not None}
    if not found:
        return
    name, other = next(iter(found.items()))
    free = shlex.quote(str(files.unused(folder)))
    raise ConfigError(
        f'{folder} holds {counted(len(found), "runs")} of another sweep, with other settings than '
        f'those typed now; of {name}:\n{other.lines}\n'
        f'Nothing was started. Type --folder={free} for a new sweep, or the settings '
        'of before to continue the one that is there.'
    )


def _other(run: Planned) -> Other | None:
    """How the run in the folder of `run` is another one; None: it is not, or nothing is known.

    What was typed is compared. A run itself compares everything, and so the recipe, too.
    """
    about = runs.about(run.folder)
    if not about.get('command'):
        return None
    known, typed, now = fields.leaves(Config), runs.typed(about), run.settings
    changed = [name for name in typed | now if name in known and typed.get(name) != now.get(name)]
    if not changed:
        return None
    folder = epath.Path(run.folder)
    try:
        before = workdir.begun(folder)
        return None if before is None else workdir.other_run(folder, _changed(before, changed, run))
    except (UserError, ValueError, KeyError):
        return None  # the run reports what is wrong with its settings or its folder


def _changed(before: Mapping[str, Any], names: Sequence[str], run: Planned) -> Config:
    """The configuration of the run that is there, with the settings `names` as they are now."""
    leaves = fields.leaves(Config)
    asked = recipe.load(run.recipe)
    for name, text in run.settings.items():
        fields.put(asked, name, leaves[name].parse(text))
    recipe.give_way(asked, run.settings)
    settings = fields.typed(Config)()
    for name in leaves:
        if name in before:
            fields.put(settings, name, before[name])
    lengths = {*itertools.chain.from_iterable(recipe.IN_PLACE_OF.values())}
    for name in {*names, *lengths}:
        value = fields.get(asked, name)
        # What is unset is not compared, except a length, which is then another one.
        if value is not None or name in lengths:
            fields.put(settings, name, value)
    length.set_shares(settings)
    return fields.build(Config, dataclasses.asdict(settings))
