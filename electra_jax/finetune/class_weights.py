"""What a row, or a word, of each class counts in the loss: `config.task.class_weights`."""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

from electra_jax.core.errors import ConfigError
from electra_jax.finetune.kinds.kind import Task
from electra_jax.finetune.kinds.table import KINDS

_SETTING = 'config.task.class_weights'


def weighted(task: Task, examples: Sequence[Any], asked: str) -> Task:
    """The task with the weights that are asked for, by its training examples.

    Raises:
        ConfigError: the kind of task has no classes, or there is no such choice.
    """
    if asked == 'none':
        return task
    count = KINDS[task.kind].class_counts
    if count is None:
        raise ConfigError(
            f'{_SETTING} is {asked!r}, which is for classes of texts or words, but {task.name} is '
            f'of the kind {task.kind}: leave it out'
        )
    return dataclasses.replace(task, class_weights=of_counts(asked, task.labels, count(examples)))


def of_counts(asked: str, labels: Sequence[str], counts: Mapping[str, int]) -> tuple[float, ...]:
    """The weight of each label, such that the mean over all rows (or words) is 1.

    >>> of_counts('balanced', ['a', 'b'], {'a': 30, 'b': 10})
    (0.6666666666666666, 2.0)
    >>> of_counts('1,3', ['a', 'b'], {'a': 10, 'b': 10})
    (0.5, 1.5)
    """
    total = sum(counts.get(label, 0) for label in labels)
    if asked == 'balanced':
        present = sum(counts.get(label, 0) > 0 for label in labels)
        return tuple(
            total / (present * counts[label]) if counts.get(label) else 1.0 for label in labels
        )
    weights = _numbers(asked, labels)
    mean = sum(w * counts.get(label, 0) for w, label in zip(weights, labels, strict=True)) / total
    if not mean:
        raise ConfigError(f'{_SETTING} is {asked!r}: no row has a class that counts')
    return tuple(weight / mean for weight in weights)


def _numbers(asked: str, labels: Sequence[str]) -> list[float]:
    try:
        weights = [float(number) for number in asked.split(',')]
    except ValueError:
        weights = []
    if len(weights) != len(labels) or not all(0 <= weight < 1e6 for weight in weights):
        raise ConfigError(
            f'{_SETTING} is {asked!r}, allowed: none, balanced, or a number from 0 for each of '
            f'the {len(labels)} classes, in this order: {", ".join(labels)}'
        )
    return weights
