"""What a fine-tuned checkpoint knows of its task: enough to read new text and to answer."""

import dataclasses
from collections.abc import Mapping
from typing import Any

from electra_jax.config.settings import HEAD_STYLES, Config
from electra_jax.core.errors import CheckpointError, ConfigError
from electra_jax.finetune import known as table
from electra_jax.finetune.features import FeatureSettings
from electra_jax.finetune.files import tag_schemes
from electra_jax.finetune.files.tables import Columns
from electra_jax.finetune.known import TaskSpec
from electra_jax.finetune.readers import Known, Options
from electra_jax.model.task_heads import HeadShape


@dataclasses.dataclass(frozen=True)
class TrainedTask:
    """A task with nothing left open; its fields are plain JSON values.

    Attributes:
      name: a key of `table.TASKS`.
      kind: of the task.
      style: of the head, one of HEAD_STYLES.
      labels: classes or tags in the order of their numbers.
      scheme: of the tags in the files.
      score_range: of a regression.
      row_length, question_length, stride, answer_length, n_best, beams: see `TaskConfig`.
      head_dropout: see `TaskConfig`.
      unanswerable: whether questions may have no answer.
      null_threshold: no answer above this no-answer score.
      columns: of the files.
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

    @property
    def spec(self) -> TaskSpec:
        """The task's entry in the table, with what the user settled."""
        return dataclasses.replace(table.get(self.name), unanswerable=self.unanswerable)

    @property
    def learnt_scheme(self) -> str | None:
        """Of the tags that the model gives."""
        plain = self.scheme == 'plain'
        return self.scheme if plain else self.spec.trained_scheme or self.scheme

    @property
    def known(self) -> Known:
        """For the readers."""
        return Known(self.labels, self.scheme, self.score_range)

    def head(self) -> HeadShape:
        """The head's shape."""
        classes = {'regression': 1, 'spans': 2}.get(self.kind, len(self.labels))
        return HeadShape(self.kind, self.style, classes, self.head_dropout, self.beams)

    def features(self, labelled: bool) -> FeatureSettings:
        """How examples become rows; `labelled`: to train on."""
        return FeatureSettings(
            kind=self.kind,
            row_length=self.row_length,
            labels=self.labels,
            score_range=self.score_range or (0.0, 1.0),
            labelled=labelled,
            one_type=self.style == 'reference',
            question_length=self.question_length,
            stride=self.stride,
        )


def options(config: Config) -> Options:
    """What the config says of the task's files."""
    task = config.task
    named = dataclasses.asdict(task.columns)
    return Options(
        columns=Columns(**named, header=task.header, separator=task.separator),
        on_bad_row=config.data.on_bad_row,
        labels=tuple(_split(task.labels)) if task.labels else (),
        scheme=task.scheme,
        unanswerable=task.unanswerable,
    )


def _split(labels: str) -> list[str]:
    names = [name.strip() for name in labels.split(',')]
    if not all(names) or len(set(names)) != len(names):
        raise ConfigError(
            f'config.task.labels is {labels!r}: names parted by commas are expected, each once'
        )
    return names


def settle(config: Config, known: Known) -> TrainedTask:
    """The task of a config whose training file has been read."""
    task, spec = config.task, table.get(config.task.name)
    # Tags and spans have no head on means.
    by_row = spec.kind in ('classification', 'regression')
    style = 'reference' if task.head == 'mean' and not by_row else task.head
    # A logit of its own has the reference's threshold; the plain head compares scores.
    usual = spec.null_threshold if style == 'reference' else 0.0
    return TrainedTask(
        name=task.name,
        kind=spec.kind,
        style=style,
        labels=tuple(known.labels),
        scheme=known.scheme,
        score_range=known.score_range,
        row_length=config.data.row_length,
        question_length=task.question_length,
        stride=task.stride,
        answer_length=task.answer_length,
        n_best=task.n_best,
        beams=task.beams,
        head_dropout=task.head_dropout,
        unanswerable=spec.unanswerable if task.unanswerable is None else task.unanswerable,
        null_threshold=usual if task.null_threshold is None else task.null_threshold,
        columns=options(config).columns,
    )


def to_json(task: TrainedTask) -> dict[str, Any]:
    """For the checkpoint."""
    return dataclasses.asdict(task)


def _check(task: TrainedTask) -> None:
    """Raises ValueError at a value that `settle` does not give."""
    sizes = {
        name: getattr(task, name)
        for name in ('row_length', 'question_length', 'stride', 'answer_length', 'n_best', 'beams')
    }
    numbers = {'head_dropout': task.head_dropout, 'null_threshold': task.null_threshold}
    numbers |= {f'score_range[{i}]': value for i, value in enumerate(task.score_range or ())}
    texts = dataclasses.asdict(task.columns)
    is_header_right = isinstance(texts.pop('header'), bool | None)
    right = {
        'name': isinstance(task.name, str) and task.name in table.TASKS,
        'kind': task.kind in ('classification', 'regression', 'tagging', 'spans'),
        'style': task.style in HEAD_STYLES,
        'labels': all(isinstance(label, str) for label in task.labels),
        'scheme': task.scheme in (None, *tag_schemes.SCHEMES),
        'score_range': task.score_range is None or len(task.score_range) == 2,
        'unanswerable': isinstance(task.unanswerable, bool),
        'columns': is_header_right and all(isinstance(text, str | None) for text in texts.values()),
        **{name: type(value) is int and 1 <= value < 1 << 20 for name, value in sizes.items()},
        **{name: type(value) in (int, float) and value == value for name, value in numbers.items()},
    }
    wrong = [name for name, one in right.items() if not one]
    if wrong:
        raise ValueError(', '.join(wrong))


def from_json(data: Mapping[str, Any], where: str) -> TrainedTask:
    """The reverse of `to_json`.

    Raises:
        CheckpointError: it lacks something.
    """
    try:
        values = {field.name: data[field.name] for field in dataclasses.fields(TrainedTask)}
        values['labels'] = tuple(values['labels'])
        if values['score_range'] is not None:
            values['score_range'] = tuple(values['score_range'])
        task = TrainedTask(**{**values, 'columns': Columns(**values['columns'])})
        _check(task)
        return task
    except (KeyError, TypeError, ValueError) as error:
        raise CheckpointError(f'{where} does not describe its task whole ({error!r})') from error
