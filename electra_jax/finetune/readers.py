"""The files of a task as examples."""

from collections.abc import Sequence
from typing import Any, NamedTuple

from electra_jax.core.complaints import Complaints
from electra_jax.core.errors import DataError
from electra_jax.finetune.examples import TextExample
from electra_jax.finetune.kinds.kind import Task, open_source
from electra_jax.finetune.kinds.table import KINDS
from electra_jax.finetune.known import Place


class Loaded(NamedTuple):
    """The examples of a split.

    Attributes:
        examples: in the order of the file.
        task: with what the file has told of it.
        complaints: about rows that were left out or repaired.
        where: the file or dataset.
    """

    examples: list[Any]
    task: Task
    complaints: Complaints
    where: str


def read(task: Task, location: Place, split: str, on_bad_row: str) -> Loaded:
    """Reads the examples of a split of a task.

    Args:
        task: what is known of it; a training file tells labels, scheme and range of scores.
        location: of the split; see `known.find`.
        split: 'train', or one of the task's splits.
        on_bad_row: 'error', or 'skip': unusable rows are left out and counted.

    Raises:
        DataError: the file cannot be used; the message names it, the line and the value.
    """
    complaints = Complaints('data.on_bad_row', on_bad_row)
    labelled = split not in task.spec.test_splits
    source = open_source(task, location, split, complaints, labelled)
    examples, task = KINDS[task.kind].read(source)
    if not examples:
        first = next((first for _, first in complaints.counts.values()), None)
        raise DataError(
            f'{source.where}: no usable rows' + (f'; {first}' if first else ' after the header')
        )
    return Loaded(examples, task, complaints, source.where)


def with_pairs_swapped(examples: Sequence[TextExample]) -> list[TextExample]:
    """The examples, and after them each pair the other way round (reference: MRPC, STS-B)."""
    swapped = [
        example._replace(id=f'{example.id}-swapped', text_a=example.text_b, text_b=example.text_a)
        for example in examples
        if isinstance(example, TextExample) and example.text_b is not None
    ]
    return [*examples, *swapped]
