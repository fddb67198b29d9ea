"""Tasks for tests, and splits read from a file, or from a folder as a run would find it."""

import dataclasses
import pathlib
from typing import Any, NamedTuple

from electra_jax.config.recipe import recipe
from electra_jax.config.resolve import resolve
from electra_jax.core.complaints import Complaints
from electra_jax.finetune import known as table
from electra_jax.finetune import split as splits
from electra_jax.finetune import task as tasks
from electra_jax.finetune.files import locate
from electra_jax.finetune.files.locate import Location
from electra_jax.finetune.kinds.kind import Task
from electra_jax.finetune.split import Loaded


class Known(NamedTuple):
    """What is known of a task from its training file."""

    labels: tuple[str, ...] = ()
    scheme: str | None = None
    score_range: tuple[float, float] | None = None


def known_of(task: Task) -> Known:
    return Known(task.labels, task.scheme, task.score_range)


def task_of(name: str, known: Known | Task | None = None, **settings: Any) -> Task:
    """The task of that name with what its training file would give, and settings of TaskConfig."""
    asked = recipe({'job': 'finetune', 'task': {'name': name, **settings}})
    config = resolve(asked, 'cpu', row_length=table.get(name).row_length)
    task = tasks.from_config(config)
    found = {key: getattr(known, key) for key in Known._fields} if known else {}
    given = {key: value for key, value in found.items() if value}
    return dataclasses.replace(task, **given)


def load(
    name: str,
    where: str,
    split: str,
    known: Known | Task | None = None,
    on_bad_row: str = 'error',
    labels: tuple[str, ...] = (),
    **changes: Any,
) -> Loaded:
    """A split of the task of that name; `labels` are config.task's, `changes` fields of `Task`."""
    task = task_of(name, known, labels=','.join(labels) or None)
    task = dataclasses.replace(task, **changes)
    path = pathlib.Path(where)
    location = Location(path) if path.is_file() else locate.find(task.spec.files, where, split)
    if location is None:
        raise locate.missing(task.spec.files, where, split)
    return splits.read(task, location, split, on_bad_row)


def counts(bad: Complaints) -> dict[str, int]:
    """Kind of bad row -> how many."""
    return {kind: number for kind, (number, _) in bad.counts.items()}
