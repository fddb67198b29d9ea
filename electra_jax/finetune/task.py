"""The resolved task: from the settings and the table, and to and from a checkpoint's JSON."""

import dataclasses
from collections.abc import Mapping
from typing import Any

from electra_jax.config.settings import HEAD_STYLES, Config
from electra_jax.core.errors import CheckpointError, ConfigError
from electra_jax.finetune import known
from electra_jax.finetune.files import tag_schemes
from electra_jax.finetune.files.tables import Columns
from electra_jax.finetune.kinds.kind import Task
from electra_jax.finetune.kinds.table import KINDS

# Fields of `Task` by what their values may be.
_SIZES = ('row_length', 'question_length', 'stride', 'answer_length', 'n_best', 'beams')
_NUMBERS = ('head_dropout', 'null_threshold', 'answerable_weight')


def from_config(config: Config) -> Task:
    """The task that a config names; what its training file must give is still empty.

    Raises:
        ConfigError: there is no such task, or it does not have the labels that the config gives.
    """
    settings, spec = config.task, known.get(config.task.name)
    styles = KINDS[spec.kind].styles
    style = settings.head if settings.head in styles else styles[0]
    # A logit of its own has the reference's threshold; the plain head compares scores.
    usual = spec.null_threshold if style == 'reference' else 0.0
    columns = Columns(
        **dataclasses.asdict(settings.columns),
        header=settings.header,
        separator=settings.separator,
    )
    return Task(
        name=str(settings.name),
        spec=spec,
        kind=spec.kind,
        style=style,
        labels=_labels(settings.labels, spec.labels) or spec.labels,
        scheme=settings.scheme or spec.scheme,
        score_range=spec.score_range,
        row_length=config.data.row_length,
        question_length=settings.question_length,
        stride=settings.stride,
        answer_length=settings.answer_length,
        n_best=settings.n_best,
        beams=settings.beams,
        head_dropout=settings.head_dropout,
        unanswerable=spec.unanswerable if settings.unanswerable is None else settings.unanswerable,
        null_threshold=usual if settings.null_threshold is None else settings.null_threshold,
        columns=columns,
        answerable_weight=settings.answerable_weight,
    )


def for_files_of(task: Task, config: Config) -> Task:
    """A trained task, to be scored on the files that a config describes.

    What bears on the answers stays as it was in training, but for `null_threshold` if the config
    gives it.
    """
    threshold = config.task.null_threshold
    return dataclasses.replace(
        task,
        columns=from_config(config).columns,
        scheme=config.task.scheme or task.scheme,
        null_threshold=task.null_threshold if threshold is None else threshold,
    )


def _labels(text: str | None, usual: tuple[str, ...]) -> tuple[str, ...]:
    """The labels that the config gives, which a task with labels of its own must have, too."""
    if text is None:
        return ()
    labels = tuple(name.strip() for name in text.split(','))
    if not all(labels) or len(set(labels)) != len(labels):
        raise ConfigError(
            f'config.task.labels is {text!r}: names separated by commas are expected, each once'
        )
    if usual and set(labels) != set(usual):
        raise ConfigError(
            f'config.task.labels is {",".join(labels)!r}, and the task has the classes '
            f'{", ".join(map(repr, usual))}: name all of them in any order, or leave it out'
        )
    return labels


def to_json(task: Task) -> dict[str, Any]:
    """The task as a checkpoint holds it."""
    values = dataclasses.asdict(task)
    del values['spec']  # follows from the name
    return values


def from_json(data: Mapping[str, Any], where: str) -> Task:
    """The reverse of `to_json`; `where` the checkpoint is, for messages.

    Raises:
        CheckpointError: a field is missing or has a value that `from_config` does not give.
    """
    try:
        # Checkpoints of earlier versions lack the fields that have a default.
        values = {
            field.name: data[field.name]
            for field in dataclasses.fields(Task)
            if field.name != 'spec' and (field.name in data or field.default is dataclasses.MISSING)
        }
        values['spec'] = known.TASKS[values['name']]
        values['labels'] = tuple(values['labels'])
        if values['score_range'] is not None:
            values['score_range'] = tuple(values['score_range'])
        task = Task(**{**values, 'columns': Columns(**values['columns'])})
        wrong = _wrong_fields(task)
    except (KeyError, TypeError, ValueError) as error:
        raise CheckpointError(
            f'{where} does not describe its task completely ({error!r})'
        ) from error
    if wrong:
        raise CheckpointError(f'{where} does not describe its task completely ({", ".join(wrong)})')
    return task


def _wrong_fields(task: Task) -> list[str]:
    numbers = {
        **{name: getattr(task, name) for name in _NUMBERS},
        **{f'score_range[{i}]': value for i, value in enumerate(task.score_range or ())},
    }
    texts = dataclasses.asdict(task.columns)
    is_header_right = isinstance(texts.pop('header'), bool | None)
    right = {
        'kind': task.kind in KINDS,
        'style': task.style in HEAD_STYLES,
        'labels': all(isinstance(label, str) for label in task.labels),
        'scheme': task.scheme in (None, *tag_schemes.SCHEMES),
        'score_range': task.score_range is None or len(task.score_range) == 2,
        'unanswerable': isinstance(task.unanswerable, bool),
        'columns': is_header_right and all(isinstance(text, str | None) for text in texts.values()),
        **{name: _is_size(getattr(task, name)) for name in _SIZES},
        **{name: type(value) in (int, float) and value == value for name, value in numbers.items()},
    }
    return [name for name, is_right in right.items() if not is_right]


def _is_size(value: Any) -> bool:
    return type(value) is int and 1 <= value < 1 << 20
