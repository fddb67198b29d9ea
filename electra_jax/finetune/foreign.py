"""Tasks of fine-tuned models that are converted from or to another project's format."""

import dataclasses
from typing import Any

from electra_jax.core.errors import CheckpointError
from electra_jax.finetune import task as tasks
from electra_jax.finetune.kinds.kind import Task
from electra_jax.finetune.kinds.table import KINDS
from electra_jax.finetune.predict import best_folder
from electra_jax.interop.checkpoint import Checkpoint
from electra_jax.interop.convert import Head, Tasks


def read_head(recorded: Any, where: str) -> Head:
    """The head of the task that a checkpoint of ours, called `where`, records.

    Raises:
        CheckpointError: the task is damaged.
    """
    task = tasks.from_json(recorded, where)
    notes = KINDS[task.kind].foreign_notes(task)
    return Head(task.kind, list(task.labels) or None, notes, tasks.to_json(task))


def describe_task(found: Checkpoint) -> tuple[dict[str, Any], list[str]]:
    """The task of another project's head, whose outputs may have no names, and notes for people.

    What our own checkpoint recorded about it is kept, if it is still about this head.
    """
    assert found.task is not None
    kind, C = KINDS[found.task], len(found.params['task_head']['output']['bias'])
    labels = tuple(found.labels or (f'LABEL_{i}' for i in range(C)))
    task, notes = None, []
    if found.record is not None:
        try:
            task = tasks.from_json(found.record, 'electra_jax in config.json')
        except CheckpointError as error:
            notes.append(f'{error}: left out')
    if task is not None and (task.kind != found.task or kind.head(task).num_classes != C):
        notes.append('electra_jax in config.json is about another head: left out')
        task = None
    if task is None:
        task = _of_elsewhere(found)
        task = dataclasses.replace(task, **kind.foreign_fields(labels))
        notes += kind.unrecorded
    elif task.labels and labels != task.labels:
        task = dataclasses.replace(task, **kind.foreign_fields(labels))
        notes.append(f'its outputs have the names of id2label: {", ".join(labels)}')
    length = min(task.row_length, found.model.max_positions)
    return tasks.to_json(dataclasses.replace(task, row_length=length)), notes


def _of_elsewhere(found: Checkpoint) -> Task:
    """The task for files of any data set, with the rows that the model was made for."""
    assert found.task is not None
    longest = min(found.model.max_positions, found.row_limit or found.model.max_positions)
    if found.task == 'spans':  # texts are cut into windows: those of our own models
        longest = min(longest, KINDS[found.task].own_spec.row_length)
    settings = {'head': found.head_style, 'head_dropout': found.head_dropout}
    given = {name: value for name, value in settings.items() if value is not None}
    return dataclasses.replace(tasks.of_kind(found.task, longest, **given), any_pairs=True)


TASKS = Tasks(best_folder, read_head, describe_task)
