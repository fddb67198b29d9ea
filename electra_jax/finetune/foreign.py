"""Tasks of fine-tuned models that are converted from or to another project's format."""

import dataclasses
from typing import Any

from electra_jax.config.recipe import recipe
from electra_jax.config.resolve import resolve
from electra_jax.config.settings import ModelConfig
from electra_jax.finetune import known
from electra_jax.finetune import task as tasks
from electra_jax.finetune.files import tag_schemes
from electra_jax.finetune.kinds.table import KINDS
from electra_jax.finetune.predict import best_folder
from electra_jax.interop.convert import Head, Tasks


def read_head(recorded: Any, where: str) -> Head:
    """The head that a checkpoint of ours records.

    Args:
        recorded: the task, as the checkpoint records it.
        where: name of the checkpoint, for messages.

    Raises:
        CheckpointError: the task is damaged.
    """
    task = tasks.from_json(recorded, where)
    notes = []
    if task.style == 'reference' and task.kind == 'tagging':
        notes.append('trained with token type 1 throughout: pass token_type_ids of ones')
    if task.score_range not in (None, (0.0, 1.0)):
        low, high = task.score_range
        notes.append(f'its output is the score scaled from {low:g}..{high:g} to 0..1')
    return Head(task.kind, list(task.labels) or None, notes)


def describe_task(kind: str, labels: tuple[str, ...], C: int, model: ModelConfig) -> dict[str, Any]:
    """The task of another project's head, as `predict` needs it.

    Args:
        kind: a key of `KINDS`.
        labels: names of the outputs; (): they are numbered.
        C: number of outputs.
        model: of the parameters.
    """
    if kind not in ('classification', 'tagging'):
        labels = ()
    elif not labels:
        labels = tuple(f'LABEL_{i}' for i in range(C))
    scheme = tag_schemes.of_classes(labels) if kind == 'tagging' else None
    score_range = (0.0, 1.0) if kind == 'regression' else None
    name = KINDS[kind].own_task
    length = min(known.get(name).row_length, model.max_positions)
    asked = {'name': name, 'head': 'huggingface'}
    settings = recipe({'job': 'finetune', 'data': {'row_length': length}, 'task': asked})
    task = tasks.from_config(resolve(settings, 'cpu'))
    task = dataclasses.replace(task, labels=labels, scheme=scheme, score_range=score_range)
    return tasks.to_json(task)


TASKS = Tasks(best_folder, read_head, describe_task)
