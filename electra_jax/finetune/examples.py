"""The examples of task files: one named tuple for each kind of content.

Each has an `id`, as in the file or the number of the row or sentence there, from 0, and a `where`,
'file:line', for messages.
"""

from collections.abc import Iterable
from typing import Any, NamedTuple

from electra_jax.core.complaints import Complaints


class TextExample(NamedTuple):
    """A text, or a pair of texts, with its label."""

    id: str
    text_a: str  # the text, or the first of a pair
    text_b: str | None
    # A class by its name, several classes, or a score; of texts that belong together, one that does
    # not belong to the first. None: the file gives none.
    label: Any  # str, tuple of str, float or None, by the kind of the task
    where: str


class TaggedExample(NamedTuple):
    """A sentence in words, each with at most one tag."""

    id: str
    words: tuple[str, ...]  # at least one, none empty
    tags: tuple[str, ...] | None  # one for each word, or None where the file gives none
    where: str


class Answer(NamedTuple):
    """A reference answer: `text` begins at character `start` of the context."""

    text: str
    start: int


class SpanExample(NamedTuple):
    """A question about a text that holds its answer, or holds none."""

    id: str  # the key in prediction files
    context: str  # exactly as in the file: answers are cut out of it by character
    question: str  # stripped
    answers: tuple[Answer, ...]  # each found at its `start`; empty: there is none, or none given
    impossible: bool  # whether the text holds no answer, by the file
    where: str  # 'file: question ID' where a line means nothing
    # Texts that count as right when scoring: those of the answers, and what else the file allows
    # (MRQA lists answers that its context does not hold).
    references: tuple[str, ...] = ()


class WrittenExample(NamedTuple):
    """A text to read, and the text to write about it."""

    id: str
    source: str
    target: str | None  # None: the file gives none
    where: str


Example = TextExample | TaggedExample | SpanExample | WrittenExample


def count_double_ids(examples: Iterable[Example], complaints: Complaints) -> None:
    """Counts examples with the id of an earlier one."""
    seen: set[str] = set()
    for example in examples:
        if example.id in seen:
            complaints.count('double_id', f'{example.where}: {example.id!r}')
        seen.add(example.id)
