"""What a kind of task is, and what its functions are handed: a task, files, predictions."""

import dataclasses
import math
import pathlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from electra_jax.core.complaints import Complaints
from electra_jax.core.errors import DataError, nearest
from electra_jax.finetune import known
from electra_jax.finetune.features import Rows
from electra_jax.finetune.files import tables, tfds
from electra_jax.finetune.files.tables import Columns, Row, merged
from electra_jax.finetune.files.tables import Rows as TableRows
from electra_jax.finetune.known import Place, TaskSpec
from electra_jax.model.task_heads import HeadShape
from electra_jax.tokenizers.api import Tokenizer

Batch = Mapping[str, jax.Array]
HeadOutputs = Mapping[str, jax.Array]  # of a batch
RowOutputs = Sequence[Mapping[str, np.ndarray]]  # of each row; those of tokens have its batch's L


@dataclasses.dataclass(frozen=True)
class Task:
    """A task with every setting resolved; its fields are plain JSON values.

    Attributes:
        name: a key of `known.TASKS`.
        kind: a key of `kinds.table.KINDS`.
        style: of the head, one of HEAD_STYLES.
        labels: classes or tags in the order of their numbers; (): the training file will tell.
        scheme: of the tags in the files; None: the training file will tell.
        score_range: (lowest, highest) score of a regression; None: the training file will tell.
        row_length, question_length, stride, answer_length, n_best, beams: as in `TaskConfig`.
        head_dropout: as in `TaskConfig`.
        unanswerable: whether questions may have no answer.
        null_threshold: a question has no answer where its no-answer score is above this.
        columns: of the files, where they are not as usual for the task.
        answerable_weight: as in `TaskConfig`.
    """

    name: str
    kind: str
    style: str
    labels: tuple[str, ...]
    scheme: str | None
    score_range: tuple[float, float] | None
    row_length: int
    question_length: int
    stride: int
    answer_length: int
    n_best: int
    beams: int
    head_dropout: float
    unanswerable: bool
    null_threshold: float
    columns: Columns
    answerable_weight: float = 0.5

    @property
    def spec(self) -> TaskSpec:
        """The task's entry in the table."""
        return known.get(self.name)

    @property
    def usual_columns(self) -> Columns:
        """The columns of the training file."""
        return merged(self.spec.layout.columns, self.columns)

    @property
    def learned_scheme(self) -> str | None:
        """The scheme of the tags that the model gives."""
        plain = self.scheme == 'plain'
        return self.scheme if plain else self.spec.trained_scheme or self.scheme

    @property
    def headline(self) -> str:
        """'SPLIT/METRIC' that stands for the task; plain tags have an accuracy only."""
        metric = 'accuracy' if self.learned_scheme == 'plain' else self.spec.headline
        return f'{self.spec.eval_splits[0]}/{metric}'

    def head_shape(self, form: str, num_classes: int) -> HeadShape:
        """The shape of the task's head, of a form that the model has."""
        return HeadShape(form, self.style, num_classes, self.head_dropout, self.beams)


@dataclasses.dataclass(frozen=True)
class Source:
    """A split of a task, ready to be read.

    Attributes:
        task: what is known of it so far.
        location: the file, or the split of a dataset.
        columns: which column holds what.
        complaints: rows that cannot be used are refused or counted here.
        labelled: whether every example must have its label; None: new text, in which labels are
            not looked at.
        ending: stands in for that of the file's name.
    """

    task: Task
    location: Place
    columns: Columns
    complaints: Complaints
    labelled: bool | None
    ending: str | None = None

    @property
    def where(self) -> str:
        """The file or dataset, for messages."""
        return str(self.path or f'{self.location.dataset}:{self.location.split}')

    @property
    def path(self) -> pathlib.Path | None:
        """The file; None: it is a dataset."""
        return self.location.path

    def rows(self) -> TableRows:
        """Rows of a table, or of a dataset with the classes named as in the official files."""
        if self.path is None:
            rows = tfds.read(self.location.dataset, self.location.split)
            return rows._replace(rows=self._with_our_labels(rows.rows))
        known_gaps = self.labelled is not None and self.task.spec.layout.known_gaps
        return tables.read(self.path, self.complaints, self.columns, known_gaps, self.ending)

    def _with_our_labels(self, rows: Iterator[Row]) -> Iterator[Row]:
        dataset, key = self.task.spec.layout.dataset, self.columns.label
        if dataset is None or not dataset.labels or key is None:
            return rows
        ours = dataset.labels.get
        return (
            row._replace(values={**row.values, key: ours(row.values[key], row.values[key])})
            if key in row.values
            else row
            for row in rows
        )


def open_source(
    task: Task, location: Place, split: str, complaints: Complaints, labelled: bool
) -> Source:
    """A split of a task with its columns: the usual ones, but for those that the task gives."""
    layout = task.spec.layout
    usual = layout.split_columns.get(split, layout.columns)
    if location.path is None and layout.dataset is not None:
        usual = layout.dataset.columns
    return Source(task, location, merged(usual, task.columns), complaints, labelled)


class Predictions(NamedTuple):
    """What a model says of the examples of a split.

    Attributes:
        task: that it was trained on.
        examples: in the order of the file.
        values: what the kind's `answers` gave: of classes float [examples, C]; of scores float
            [examples]; of tags, for each sentence, float [words, C]; of spans a `SpanAnswer` each.
    """

    task: Task
    examples: Sequence[Any]
    values: Any


class Scores(NamedTuple):
    """Metrics of one set of predictions.

    Attributes:
        values: metric -> value, always a finite number; shares and correlations are fractions.
        notes: what a reader of the values must know, such as that one is not defined.
    """

    values: dict[str, float]
    notes: tuple[str, ...] = ()


class Kind(NamedTuple):
    """A kind of task: from the files to the scores.

    Attributes:
        own_task: the table's entry of this kind for files of any data set.
        styles: of heads that it has; the first one stands in for those it lacks.
        formats: of new text that it takes in addition to lines and tables.
        read: files -> examples, and the task with what the files have told of it. Unusable rows
            are refused or counted among the source's complaints.
        from_line: task, id, line, 'file:line' -> the example that a line of new text is; raises
            UnusableError.
        content: example -> what it is about; examples with equal contents are never on both sides
            when a training file is divided.
        head: the shape of the head.
        features: tokenizer, examples, task, whether they are trained on -> token rows.
        terms: batch -> float [B], how many terms of the loss each row has, before its weight.
        loss: task, head's outputs, batch -> float [B], the terms of each row added up.
        answers: task, examples, their token rows, the head's outputs for each row -> `values` of
            `Predictions`.
        has_label: whether an example has what scoring needs.
        score: predictions of examples that have -> metrics.
        to_json: predictions -> one JSON object for each example.
        write: folder, split, predictions: writes the files that official judges read.
        draw: folder, split, predictions: pictures of those that can be scored.
    """

    own_task: str
    styles: tuple[str, ...]
    formats: tuple[str, ...]
    read: Callable[[Source], tuple[list[Any], Task]]
    from_line: Callable[[Task, str, str, str], Any]
    content: Callable[[Any], Any]
    head: Callable[[Task], HeadShape]
    features: Callable[[Tokenizer, Sequence[Any], Task, bool], Rows]
    terms: Callable[[Batch], jax.Array]
    loss: Callable[[Task, HeadOutputs, Batch], jax.Array]
    answers: Callable[[Task, Sequence[Any], Rows, RowOutputs], Any]
    has_label: Callable[[Any], bool]
    score: Callable[[Predictions], Scores]
    to_json: Callable[[Predictions], Iterator[dict[str, Any]]]
    write: Callable[[pathlib.Path, str, Predictions], None]
    draw: Callable[[pathlib.Path, str, Predictions], None]


# ---------------------------------------------------------------------------------------------
# What several kinds need


def one_term(batch: Batch) -> jax.Array:
    """[B]: the loss of each row is one term."""
    return jnp.ones_like(batch['weight'])


def class_number(
    label: str | float | None, where: str, numbers: Mapping[str, int], needed: bool
) -> int:
    """The number of a class; -1: the example has none, and needs none.

    Raises:
        DataError: the label is not one of the task's, or is missing where it is needed.
    """
    if label is None and not needed:
        return -1
    if label is None or str(label) not in numbers:
        given = 'no label' if label is None else f'the label {label!r}'
        raise DataError(
            f'{where}: {given}, allowed: {", ".join(numbers)}'
            f'{nearest(str(label), numbers)}; name all labels with --config.task.labels=a,b,c'
        )
    return numbers[str(label)]


def numbered(labels: Sequence[str]) -> dict[str, int]:
    """Class -> its number."""
    return {label: number for number, label in enumerate(labels)}


def softmax(logits: np.ndarray) -> np.ndarray:
    """Over the last dimension, in float64.

    >>> softmax(np.zeros(2)).tolist()
    [0.5, 0.5]
    """
    powers = np.exp(logits.astype(np.float64) - logits.max(axis=-1, keepdims=True))
    return powers / powers.sum(axis=-1, keepdims=True)


def check_counts(gold: int, predicted: int) -> None:
    """Raises DataError unless there are examples, and one prediction for each."""
    if gold != predicted or not gold:
        raise DataError(f'{predicted} predictions for {gold} examples: nothing to score')


def json_number(value: Any) -> float | None:
    """A number of six digits, which is all that float32 gives; None for NaN, which JSON lacks."""
    number = float(value)
    return float(f'{number:.6g}') if math.isfinite(number) else None
