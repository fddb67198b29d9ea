"""What a kind of task is, and what its functions are handed: a task, files, predictions."""

import dataclasses
import math
import pathlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from electra_jax.config.task_settings import DecoderConfig, DecodingConfig
from electra_jax.core.errors import ConfigError
from electra_jax.finetune.features import Rows
from electra_jax.finetune.files.locate import TaskFiles
from electra_jax.finetune.files.source import Source
from electra_jax.finetune.files.tables import Columns, merged
from electra_jax.model.task_heads import HeadShape
from electra_jax.tokenizers.api import Tokenizer

PROMPT = 'prompt'  # the style of a head that reads words (`kinds/prompt.py`)
Batch = Mapping[str, jax.Array]
HeadOutputs = Mapping[str, jax.Array]  # of a batch
RowOutputs = Sequence[Mapping[str, np.ndarray]]  # of each row; those of tokens have its batch's L


@dataclasses.dataclass(frozen=True)
class TaskSpec:
    """A task as the table of tasks has it, before any setting."""

    files: TaskFiles
    metrics: tuple[str, ...]  # names that the kind's scores have; the first stands for the task
    kind: str = ''  # a key of `kinds.table.KINDS`; `known` fills it in for a kind's own task
    labels: tuple[str, ...] = ()  # in the order of their ids; (): those of the training file
    epochs: float = 3
    row_length: int = 128  # L, where the config does not set it
    eval_splits: tuple[str, ...] = ('dev',)  # that are scored; the first is needed
    test_splits: tuple[str, ...] = ('test',)  # that are predicted, and scored if they have answers
    submissions: Mapping[str, str] = dataclasses.field(default_factory=dict)  # split -> GLUE's file
    double_unordered: bool = False  # whether training also sees each pair the other way round
    score_range: tuple[float, float] | None = None  # of a regression; None: the training file's
    scheme: str | None = None  # of the file's tags, one of `tag_schemes.SCHEMES`; None: find out
    trained_scheme: str | None = None  # of the tags that the model learns; None: that of the file
    unanswerable: bool = False  # whether questions may have no answer
    # How texts are found, where it is unusual.
    decoding: DecodingConfig = dataclasses.field(default_factory=DecodingConfig)
    # No answer is given where the reference head's logit of "impossible" is above it.
    null_threshold: float = -2.75


@dataclasses.dataclass(frozen=True)
class Task:
    """A task with every setting resolved; but for `spec`, its fields are plain JSON values."""

    name: str
    spec: TaskSpec
    kind: str  # a key of `kinds.table.KINDS`
    style: str  # of the head, one of HEAD_STYLES
    # What follows comes from the training file where it is () or None.
    labels: tuple[str, ...]  # classes or tags in the order of their numbers
    scheme: str | None  # of the tags in the files
    score_range: tuple[float, float] | None  # the lowest and the highest score of a regression
    # As in `TaskConfig`.
    row_length: int
    question_length: int
    stride: int
    answer_length: int
    n_best: int
    beams: int
    head_dropout: float
    unanswerable: bool
    null_threshold: float
    columns: Columns  # of the files, where they are not as usual for the task
    answerable_weight: float = 0.5
    # Whether a row may be one text or a pair: of a model from elsewhere, which does not record it.
    any_pairs: bool = False
    # How the files write the tags of spans, a key of `tag_writings.WRITINGS`; None: not at all, or
    # as their labels are written.
    writing: str | None = None
    # Of texts as answers; `decoding` is complete.
    decoder: DecoderConfig = dataclasses.field(default_factory=DecoderConfig)
    decoding: DecodingConfig = dataclasses.field(default_factory=DecodingConfig)
    image_size: int | None = None  # of the model, in pixels; None: it reads no images
    # How the files write the labels, in the same order; (): by their names.
    written_labels: tuple[str, ...] = ()
    # Of the 'prompt' head, as in `TaskConfig`.
    template: str | None = None
    words: str | None = None
    # Of texts that belong together.
    temperature: float = 0.05
    symmetric: bool = True
    # What a row of each class counts in the loss, 1 in the mean over rows; (): all the same.
    class_weights: tuple[float, ...] = ()
    # Of answers that are sentences of their texts: how many.
    sentences: int | None = None
    # Positions (`split`) of the training examples that are held out; None: none are.
    dev_below: float | None = None

    def __repr__(self) -> str:
        """Without the table's row of the task, whose numbers need not be those of the run."""
        labels = f', labels {", ".join(self.labels)}' if self.labels else ''
        return f'<task {self.name}: {self.kind}, head {self.style}{labels}>'

    @property
    def usual_columns(self) -> Columns:
        """The columns of the training file."""
        return merged(self.spec.files.columns, self.columns)

    @property
    def learned_scheme(self) -> str | None:
        """The scheme of the tags that the model gives."""
        plain = self.scheme == 'plain'
        return self.scheme if plain else self.spec.trained_scheme or self.scheme

    @property
    def headline(self) -> str:
        """'SPLIT/METRIC' that stands for the task; plain tags have an accuracy only."""
        metric = 'accuracy' if self.learned_scheme == 'plain' else self.spec.metrics[0]
        return f'{self.spec.eval_splits[0]}/{metric}'

    def head_shape(self, form: str, num_classes: int, words: tuple[int, ...] = ()) -> HeadShape:
        """The shape of the task's head, of a form that the model has; `words` are a prompt's.

        Raises:
            ConfigError: the style is of a prompt, and the kind of task has no words for it.
        """
        if self.style == PROMPT and not words:
            raise ConfigError(
                f'config.task.head is {PROMPT!r}, but the head of the kind {self.kind} reads no '
                f'words: leave it out (a kind that copies another sets styles without {PROMPT!r})'
            )
        return HeadShape(form, self.style, num_classes, self.head_dropout, self.beams, words=words)


class Predictions(NamedTuple):
    """What a model answers to the examples of a split."""

    task: Task  # that it was trained on
    examples: Sequence[Any]  # in the order of the file
    # What the kind's `answers` gave: of classes float [examples, C]; of scores float [examples]; of
    # tags, for each sentence, float [words, C]; of spans a `SpanAnswer` each.
    values: Any


class Scores(NamedTuple):
    """Metrics of one set of predictions."""

    # Finite numbers, in the units of `core.metric_table` or of the kind's MEANINGS.
    values: dict[str, float]
    notes: tuple[str, ...] = ()  # what a reader must know, such as that one is not defined


class HeadStart(NamedTuple):
    """What a head starts from, where it is not all fresh."""

    arrays: Mapping[str, np.ndarray]  # of the checkpoint, by their path in the task's parameters
    parts: tuple[str, ...]  # of the checkpoint that they come from: top names of its parameters
    line: str  # for people: what is loaded
    setting: str  # that asks for it, with its value
    otherwise: str  # what to type where the arrays do not fit


FRESH = HeadStart({}, (), '', '', '')


class Kind(NamedTuple):
    """A kind of task: from the files to the scores."""

    # The task of this kind for files of any data set, by which a user names it.
    own_task: str
    own_spec: TaskSpec
    # Styles of heads; the first one stands in for those that the kind lacks.
    styles: tuple[str, ...]
    # What is known of a task, a split -> examples, and the task with what follows from the split.
    # Unusable rows are refused or counted among the source's complaints.
    read: Callable[[Task, Source], tuple[list[Any], Task]]
    # Fields of `Columns` that new text is read from, next to the id.
    inputs: tuple[str, ...]
    # Task, id, line, 'file:line' -> the example that a line of new text is; raises UnusableError.
    from_line: Callable[[Task, str, str, str], Any]
    # Example -> what it is about; examples with equal contents are never on both sides when a
    # training file is divided.
    content: Callable[[Any], Any]
    head: Callable[[Task], HeadShape]
    # Tokenizer, examples, task -> token rows.
    features: Callable[[Tokenizer, Sequence[Any], Task], Rows]
    # Task, head's outputs, batch -> float [B], the terms of each row added up.
    loss: Callable[[Task, HeadOutputs, Batch], jax.Array]
    # Task, examples, their token rows, the head's outputs for each row, all finite ->
    # `Predictions.values`.
    answers: Callable[[Task, Sequence[Any], Rows, RowOutputs], Any]
    # Whether an example has what scoring needs.
    has_label: Callable[[Any], bool]
    # Predictions of examples that have -> metrics.
    score: Callable[[Predictions], Scores]
    # Task, examples that are known, examples to answer -> what can be answered to all of these
    # without a model, in words, and as `Predictions.values`; the best one is shown.
    trivial: Callable[[Task, Sequence[Any], Sequence[Any]], dict[str, Any]]
    # Predictions -> one JSON object for each example.
    to_json: Callable[[Predictions], Iterator[dict[str, Any]]]
    # Folder, split, predictions: writes pictures of those that can be scored.
    draw: Callable[[pathlib.Path, str, Predictions], None]
    # Folder, split, predictions: writes the files that official judges read.
    write: Callable[[pathlib.Path, str, Predictions], None] = lambda folder, split, predictions: (
        None
    )
    # Examples -> how many of them (or of their words) each class has; None: there is no class that
    # could weigh more.
    class_counts: Callable[[Sequence[Any]], Mapping[str, int]] | None = None
    # Batch -> float [B], how many terms of the loss each row has, before its weight.
    terms: Callable[[Batch], jax.Array] = lambda batch: jnp.ones_like(batch['weight'])
    # Metrics that are means over the examples, of something from 0 to 1 for each.
    means: tuple[str, ...] = ()
    # Whether an answer depends on the other examples, which are then answered together.
    together: bool = False
    # Formats of new text that it takes in addition to lines and tables.
    formats: tuple[str, ...] = ()
    # Task -> the same with answers that are cheaper to find, for scores while training; None: no
    # answers are.
    quick: Callable[[Task], Task] | None = None
    # Task, parameters of the checkpoint (empty: from scratch) -> what the head starts from.
    start: Callable[[Task, Mapping[str, Any]], HeadStart] = lambda task, params: FRESH
    # Rows that a (micro)batch must have for the loss to learn; 2: from each other.
    least_rows: int = 1
    # Names of the outputs of another project's head -> fields of `Task` that follow from them.
    foreign_fields: Callable[[tuple[str, ...]], dict[str, Any]] = lambda labels: {}
    # What people must know of a head from elsewhere, because no other project records it.
    unrecorded: tuple[str, ...] = ()
    # Task -> what a user of its head in another project must know.
    foreign_notes: Callable[[Task], list[str]] = lambda task: []


# ---------------------------------------------------------------------------------------------
# What several kinds need


def numbered(labels: Sequence[str]) -> dict[Any, int]:
    """Class -> its number; None, where an example has none: -1."""
    return {None: -1, **{label: number for number, label in enumerate(labels)}}


def softmax(logits: np.ndarray) -> np.ndarray:
    """Over the last dimension, in float64.

    >>> softmax(np.zeros(2)).tolist()
    [0.5, 0.5]
    """
    powers = np.exp(logits.astype(np.float64) - logits.max(axis=-1, keepdims=True))
    return powers / powers.sum(axis=-1, keepdims=True)


def json_number(value: Any) -> float | None:
    """A number of six digits, which is all that float32 gives; None for NaN, which JSON lacks."""
    number = float(value)
    return float(f'{number:.6g}') if math.isfinite(number) else None
