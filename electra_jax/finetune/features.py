"""Examples into token rows, for each kind of task (electra, finetune/*_tasks.py)."""

import dataclasses
from collections.abc import Callable, Sequence

import numpy as np

from electra_jax.core.errors import DataError, nearest
from electra_jax.finetune import span_features
from electra_jax.finetune.examples import Example, TaggedExample, TextExample
from electra_jax.finetune.token_rows import Rows, ragged
from electra_jax.tokenizers.api import Tokenizer

_TEXTS_AT_ONCE = 20_000  # handed to the tokenizer together


@dataclasses.dataclass(frozen=True)
class FeatureSettings:
    """All that token rows follow from, apart from the examples and the tokenizer.

    Attributes:
      kind: of the task.
      row_length: tokens of the longest row, special ones included.
      labels: classes or tags in the order of their numbers; empty where there are none.
      score_range: (lowest, highest) label of a regression, which becomes 0 to 1.
      labelled: whether each example must have its label (it is trained on).
      one_type: tagging: all tokens of type 1, as in the reference.
      question_length, stride: see `TaskConfig`.
    """

    kind: str
    row_length: int
    labels: tuple[str, ...] = ()
    score_range: tuple[float, float] = (0.0, 1.0)
    labelled: bool = True
    one_type: bool = True
    question_length: int = 64
    stride: int = 128


def token_rows(
    tokenizer: Tokenizer, examples: Sequence[Example], settings: FeatureSettings
) -> Rows:
    """The rows of a split.

    Raises:
        DataError: an example has a label that is not among the settings' labels, or has none
            where there must be one; the message names its place.
    """
    return FEATURES[settings.kind](tokenizer, examples, settings)


def text_rows(
    tokenizer: Tokenizer, examples: Sequence[TextExample], settings: FeatureSettings
) -> Rows:
    """[CLS] a [SEP] or [CLS] a [SEP] b [SEP], types 0 and 1; the longer text of a pair is cut.

    'label' is the number of the class (-1: none given), 'target' the score as a share of its
    range (NaN: none given).
    """
    first = encode_all(tokenizer, [example.text_a for example in examples])
    second = encode_all(tokenizer, [example.text_b or '' for example in examples])
    tokens, second_at, cut = [], [], []
    for i, (example, a, b) in enumerate(zip(examples, first, second, strict=True)):
        pair = example.text_b is not None
        row, at = join(tokenizer, a, b if pair else None, settings.row_length)
        tokens.append(row)
        second_at.append(at)
        cut += [i] if len(row) < len(a) + len(b) + 2 + pair else []
    name, values = _labels(examples, settings)
    number = np.arange(len(examples), dtype=np.int32)
    return Rows(ragged(tokens), np.array(second_at, np.int32), number, {name: values}, {}, cut)


def encode_all(tokenizer: Tokenizer, texts: Sequence[str]) -> list[np.ndarray]:
    """Ids of each text, a limited number of texts at a time."""
    starts = range(0, len(texts), _TEXTS_AT_ONCE)
    parts = [tokenizer.encode_batch(texts[at : at + _TEXTS_AT_ONCE]) for at in starts]
    return [ids for part in parts for ids in part]


def join(
    tokenizer: Tokenizer, a: np.ndarray, b: np.ndarray | None, row_length: int
) -> tuple[np.ndarray, int]:
    """One row of one or two texts, cut to fit, and where the second begins (the end: nowhere)."""
    special = tokenizer.special
    cls, sep = np.array([special.cls], np.int32), np.array([special.sep], np.int32)
    if b is None:
        row = np.concatenate([cls, a[: max(row_length - 2, 0)], sep])
        return row, len(row)
    keep_a, keep_b = truncated(len(a), len(b), max(row_length - 3, 0))
    row = np.concatenate([cls, a[:keep_a], sep, b[:keep_b], sep])
    return row, keep_a + 2


def truncated(a: int, b: int, room: int) -> tuple[int, int]:
    """Lengths of a pair after dropping tokens of the longer one, of `b` where they are equal.

    >>> truncated(10, 3, 9), truncated(10, 10, 9), truncated(2, 3, 9)
    ((6, 3), (5, 4), (2, 3))
    """
    while a + b > room:
        if a > b:
            a -= 1
        else:
            b -= 1
    return a, b


def _labels(examples: Sequence[TextExample], settings: FeatureSettings) -> tuple[str, np.ndarray]:
    if settings.kind == 'regression':
        low, high = settings.score_range
        scores = [_score(example, settings) for example in examples]
        return 'target', ((np.array(scores) - low) / (high - low)).astype(np.float32)
    numbers = {label: i for i, label in enumerate(settings.labels)}
    found = [_number(e.label, e.where, numbers, settings.labelled) for e in examples]
    return 'label', np.array(found, np.int32)


def _score(example: TextExample, settings: FeatureSettings) -> float:
    if example.label is None and settings.labelled:
        raise DataError(f'{example.where}: no score, and there must be one to train on')
    return float('nan') if example.label is None else float(example.label)


def _number(label: str | None, where: str, numbers: dict[str, int], needed: bool) -> int:
    if label is None and not needed:
        return -1
    if label not in numbers:
        found = 'no label' if label is None else f'the label {label!r}'
        raise DataError(
            f'{where}: {found}, allowed: {", ".join(numbers)}'
            f'{nearest(str(label), numbers)}; name all labels with --config.task.labels=a,b,c'
        )
    return numbers[label]


def tagging_rows(
    tokenizer: Tokenizer, examples: Sequence[TaggedExample], settings: FeatureSettings
) -> Rows:
    """[CLS] pieces of the words [SEP]; a word is judged at its first piece.

    A sentence too long for a row becomes several rows, cut between words, so that each word is
    judged. 'words' marks a word's first piece with the word's place, 'labels' with its tag's
    number (-1: not given, as at all other pieces).
    """
    words = sorted({word for example in examples for word in example.words})
    unknown = np.array([tokenizer.special.unk], np.int32)
    pieces = dict(zip(words, encode_all(tokenizer, words), strict=True))
    room = settings.row_length - 2
    numbers = {label: i for i, label in enumerate(settings.labels)}
    tokens, which, marked, tagged = [], [], [], []
    for i, example in enumerate(examples):
        tags = _tags(example, numbers, settings.labelled)
        encoded = [pieces[w][:room] if len(pieces[w]) else unknown for w in example.words]
        for begin, end in _parts([len(x) for x in encoded], room):
            row, marks, labels = _tagged_row(tokenizer, encoded, tags, begin, end)
            tokens.append(row)
            marked.append(marks)
            tagged.append(labels)
            which.append(i)
    rows = ragged(tokens)
    second = np.zeros(len(tokens)) if settings.one_type else rows.lengths()
    return Rows(
        rows,
        second.astype(np.int32),
        np.array(which, np.int32),
        {},
        {'words': ragged(marked), 'labels': ragged(tagged)},
    )


def _tags(example: TaggedExample, numbers: dict[str, int], needed: bool) -> list[int]:
    if example.tags is None and not needed:
        return [-1] * len(example.words)
    tags = example.tags or (None,) * len(example.words)
    return [_number(tag, example.where, numbers, needed) for tag in tags]


def _parts(lengths: Sequence[int], room: int) -> list[tuple[int, int]]:
    """Runs of words, (begin, end), each of at most `room` pieces.

    >>> _parts([2, 2, 3], 4)
    [(0, 2), (2, 3)]
    """
    parts, begin, used = [], 0, 0
    for i, length in enumerate(lengths):
        if used + length > room and i > begin:
            parts.append((begin, i))
            begin, used = i, 0
        used += length
    return [*parts, (begin, len(lengths))]


def _tagged_row(
    tokenizer: Tokenizer, encoded: Sequence[np.ndarray], tags: Sequence[int], begin: int, end: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    special = tokenizer.special
    chosen = encoded[begin:end]
    row = np.concatenate([[special.cls], *chosen, [special.sep]]).astype(np.int32)
    first = 1 + np.concatenate([[0], np.cumsum([len(x) for x in chosen])[:-1]]).astype(np.int64)
    marks, labels = np.full(len(row), -1, np.int32), np.full(len(row), -1, np.int32)
    marks[first] = np.arange(begin, end)
    labels[first] = tags[begin:end]
    return row, marks, labels


# Kind of task -> its featurizer.
FEATURES: dict[str, Callable[[Tokenizer, Sequence, FeatureSettings], Rows]] = {
    'classification': text_rows,
    'regression': text_rows,
    'tagging': tagging_rows,
    'spans': lambda tokenizer, examples, settings: span_features.span_rows(
        tokenizer, examples, settings.row_length, settings.question_length, settings.stride
    ),
}
