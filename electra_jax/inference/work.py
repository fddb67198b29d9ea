"""A thing that a model does with examples, ready to be done, and what is reported about it."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from electra_jax.finetune.kinds.kind import Task
from electra_jax.finetune.kinds.table import KINDS
from electra_jax.inference.ability import AT_ONCE, Notes, in_turns
from electra_jax.tokenizers.api import ACCEPTED
from electra_jax.tokenizers.unknown import unread_line

OWN_TASK = 'the task that it was fine-tuned on'


class Work(NamedTuple):
    """A thing to do with examples, ready to be done."""

    name: str  # a key of ABILITIES, or OWN_TASK
    task: Task  # by which files are read
    check: Callable[[Any], None]  # an example that cannot be answered raises UnusableError
    answer: Callable[[Sequence[Any], Notes], Iterator[Any]]  # a result for each example
    to_json: Callable[[Any, Any], dict[str, Any]]  # example, result -> a JSON object
    # Examples and results of a file -> what is reported about them.
    measure: Callable[[Sequence[Any], Sequence[Any]], dict[str, float]] | None = None
    at_once: int | None = AT_ONCE  # examples that are answered together; None: all of a file
    labelled: bool = False  # whether labels in the files are read, to be measured by
    fills: bool = False  # whether [MASK] in a text is the masked token
    # File -> examples with their labels, each with its result -> lines about them, for people.
    score: Callable[[Mapping[str, Sequence[tuple[Any, Any]]]], list[str]] | None = None

    def answers(self, examples: Sequence[Any], notes: Notes) -> Iterator[list[Any]]:
        """A result for each example, in their order, for some examples at a time."""
        for example in examples if not self.fills else ():
            content = KINDS[self.task.kind].content(example)
            parts = [content] if isinstance(content, str) else filter(None, content)
            if any(name in part for part in parts for name in ACCEPTED['mask']):
                notes.complaints.count('mask_as_text', example.where)
        return in_turns(self.answer, examples, notes, self.at_once)

    @property
    def inputs(self) -> tuple[str, ...]:
        """Fields of `Columns` that files are read from."""
        names = KINDS[self.task.kind].inputs
        if self.name != OWN_TASK and self.task.usual_columns.text_b is None:
            names = ('text_a',)
        has_column = self.score is not None and self.task.usual_columns.label is not None
        return (*names, *(['label'] if self.labelled or has_column else []), 'id')


def reports(notes: Notes, where: str) -> list[str]:
    """What was cut, is not known to the vocabulary or reads otherwise than it looks, for people."""
    unread = unread_line(where, notes.unknown)
    return [*notes.complaints.lines(), *([unread] if unread else [])]
