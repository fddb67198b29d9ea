"""The examples of task files: one named tuple for each kind of content."""

from typing import NamedTuple


class TextExample(NamedTuple):
    """A text, or a pair of texts, with at most one label.

    Attributes:
      id: as in the file, or the number of the row there, from 0.
      text_a: the text, or the first of a pair.
      text_b: the second of a pair; None: there is one text only.
      label: a class by its name, a score as a float, or None where the file gives none.
      where: 'file:line', for messages.
    """

    id: str
    text_a: str
    text_b: str | None
    label: str | float | None
    where: str


class TaggedExample(NamedTuple):
    """A sentence in words, each with at most one tag.

    Attributes:
      id: the number of the sentence in its file, from 0, or as in the file.
      words: at least one, none empty.
      tags: one for each word, or None where the file gives none.
      where: 'file:line' of the first word, for messages.
    """

    id: str
    words: tuple[str, ...]
    tags: tuple[str, ...] | None
    where: str


class Answer(NamedTuple):
    """A reference answer: `text` begins at character `start` of the context."""

    text: str
    start: int


class SpanExample(NamedTuple):
    """A question about a text that holds its answer, or holds none.

    Attributes:
      id: of the question; the key in prediction files.
      context: the text, exactly as in the file: answers are cut out of it by character.
      question: stripped.
      answers: reference answers, each found at its `start`; empty where there is none or none
        is given.
      impossible: whether the text is said to hold no answer.
      where: 'file:line', or 'file: question ID' where a line means nothing.
      references: texts that count as right when scoring: those of the answers, and what else
        the file allows (MRQA lists answers that its context does not hold).
    """

    id: str
    context: str
    question: str
    answers: tuple[Answer, ...]
    impossible: bool
    where: str
    references: tuple[str, ...] = ()


Example = TextExample | TaggedExample | SpanExample
