"""The examples of task files: one named tuple for each kind of content.

Each has an `id`, as in the file or the number of the row or sentence there, from 0, and a `where`,
'file:line', for messages.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from electra_jax.core.complaints import Complaints

# Shares of examples from which on it is reported that they stand elsewhere, too.
_MOST_AGAIN, _MOST_KNOWN = 0.5, 0.1


class Names(NamedTuple):
    """What the row of an example calls its fields; None: it has no name for it."""

    text_a: str | None = None
    text_b: str | None = None
    label: str | None = None


class TextExample(NamedTuple):
    """A text, or a pair of texts, with its label."""

    id: str
    text_a: str  # the text, or the first of a pair
    text_b: str | None
    # A class by its name, several classes, or a score; of texts that belong together, one that does
    # not belong to the first. None: the file gives none.
    label: Any  # str, tuple of str, float or None, by the kind of the task
    where: str
    names: Names = Names()


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


def answered(example: TextExample, answer: Mapping[str, Any]) -> dict[str, Any]:
    """An answer for a JSON line, with the texts and the label that it is about.

    They are called as the columns of the row are. Where those have no names, or the answer has a
    field of that name, a single text is 'text', and others are 'text_a', 'text_b' and 'label'.
    """
    usual = Names('text' if example.text_b is None else 'text_a', 'text_b', 'label')
    fields: dict[str, Any] = {}
    for name, own in zip(usual, example.names, strict=True):
        value = getattr(example, 'text_a' if name == 'text' else str(name))
        if value is not None:
            is_free = own is not None and own not in ('id', *answer, *fields)
            fields[str(own if is_free else name)] = value
    return {'id': example.id, **fields, **answer}


def repeated_lines(train: Sequence[Example], scored: Mapping[str, Sequence[Example]]) -> list[str]:
    """Warnings for people, where much of a file says the same again; none: they differ.

    >>> rows = [TextExample(str(i), 'a', None, 'x', f'train.csv:{i}') for i in range(9)]
    >>> repeated_lines(rows, {})
    ['warning: 8 of 9 training examples are the same as earlier ones']
    """
    lines, seen = [], {_content(one) for one in train}
    again = len(train) - len(seen)
    if again > _MOST_AGAIN * len(train):
        lines.append(
            f'warning: {again:,} of {len(train):,} training examples are the same as earlier ones'
        )
    for name, examples in scored.items():
        known = sum(_content(one) in seen for one in examples)
        if known > _MOST_KNOWN * len(examples):
            lines.append(
                f'warning: {known:,} of {len(examples):,} {name} examples are trained on, too: how '
                'new ones are answered is not seen'
            )
    return lines


def _content(example: Example) -> Example:
    return example._replace(id='', where='')


def count_double_ids(examples: Iterable[Example], complaints: Complaints) -> None:
    """Counts examples with the id of an earlier one."""
    seen: set[str] = set()
    for example in examples:
        if example.id in seen:
            complaints.count('double_id', f'{example.where}: {example.id!r}')
        seen.add(example.id)
