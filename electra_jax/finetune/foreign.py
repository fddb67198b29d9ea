"""Tasks of fine-tuned models that are converted from or to another project's format."""

import dataclasses
from typing import Any

from electra_jax.config.settings import ModelConfig
from electra_jax.finetune import task as tasks
from electra_jax.finetune.kinds.table import KINDS
from electra_jax.finetune.predict import best_folder
from electra_jax.interop.convert import Head, Tasks


def read_head(recorded: Any, where: str) -> Head:
    """The head of the task that a checkpoint of ours, called `where`, records.

    Raises:
        CheckpointError: the task is damaged.
    """
    task = tasks.from_json(recorded, where)
    return Head(task.kind, list(task.labels) or None, KINDS[task.kind].foreign_notes(task))


def describe_task(kind: str, labels: tuple[str, ...], C: int, model: ModelConfig) -> dict[str, Any]:
    """The task of another project's head with C outputs, whose names may be unknown: ()."""
    chosen = KINDS[kind]
    length = min(chosen.own_spec.row_length, model.max_positions)
    task = tasks.of_kind(kind, length, head='huggingface')
    fields = chosen.foreign_fields(labels or tuple(f'LABEL_{i}' for i in range(C)))
    return tasks.to_json(dataclasses.replace(task, **fields))


TASKS = Tasks(best_folder, read_head, describe_task)
