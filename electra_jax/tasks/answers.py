"""From the head's outputs on token rows to what a model says of each example."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np

from electra_jax.tasks.token_rows import Rows

RowOutputs = Sequence[Mapping[str, np.ndarray]]  # of each row, cut to its own length


class Classes(NamedTuple):
    """Probabilities of each example's classes, [examples, C]."""

    probs: np.ndarray


class Scores(NamedTuple):
    """A score for each example, in the range of its task's labels."""

    values: np.ndarray


class Tags(NamedTuple):
    """For each example, probabilities of each word's tags [words, C]."""

    probs: list[np.ndarray]


def softmax(logits: np.ndarray) -> np.ndarray:
    """Over the last dimension, in float64.

    >>> softmax(np.zeros(2)).tolist()
    [0.5, 0.5]
    """
    powers = np.exp(logits.astype(np.float64) - logits.max(axis=-1, keepdims=True))
    return powers / powers.sum(axis=-1, keepdims=True)


def classes(rows: Rows, outputs: RowOutputs) -> Classes:
    """One row is one example, in the order of the rows (`double_pairs` is for training only)."""
    del rows
    return Classes(softmax(np.stack([output['logits'] for output in outputs])))


def scores(rows: Rows, outputs: RowOutputs, score_range: tuple[float, float]) -> Scores:
    """The head's shares of the range as scores."""
    del rows
    low, high = score_range
    shares = np.array([float(output['logits'][0]) for output in outputs])
    return Scores(low + (high - low) * shares)


def tags(rows: Rows, outputs: RowOutputs) -> Tags:
    """Words of all rows of a sentence, one after another."""
    found: dict[int, list[np.ndarray]] = {}
    for i, output in enumerate(outputs):
        first_pieces = rows.marks['words'][i] >= 0
        probs = softmax(output['logits'][first_pieces])
        found.setdefault(int(rows.example[i]), []).append(probs)
    return Tags([np.concatenate(found[example]) for example in sorted(found)])
