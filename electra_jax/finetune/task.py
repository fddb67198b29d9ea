"""The resolved task: from the settings and the table, and to and from a checkpoint's JSON."""

import dataclasses
import math
import types
import typing
from collections.abc import Mapping
from typing import Any, TypeVar

from electra_jax.config import fields
from electra_jax.config.fields import Settings
from electra_jax.config.recipe import recipe
from electra_jax.config.resolve import resolve
from electra_jax.config.settings import Config
from electra_jax.config.task_settings import HEAD_STYLES, DecodingConfig
from electra_jax.core.errors import CheckpointError, ConfigError
from electra_jax.finetune import known
from electra_jax.finetune.files import tag_schemes, tag_writings
from electra_jax.finetune.files.tables import Columns, merged
from electra_jax.finetune.kinds import prompt
from electra_jax.finetune.kinds.kind import Task, TaskSpec
from electra_jax.finetune.kinds.table import KINDS

T = TypeVar('T')
# How texts are found, where neither the task nor the config has it otherwise.
USUAL_DECODING = DecodingConfig(
    method='beam',
    beams=5,
    length_penalty=1.0,
    no_repeat=0,
    early_stop=True,
    top_p=0.9,
    temperature=1.0,
    seed=0,
)


def from_config(config: Config | Settings) -> Task:
    """The task that a config names; what its training file must give is still empty.

    Raises:
        ConfigError: there is no such task, or it does not have the labels that the config gives.
    """
    settings, spec = config.task, known.get(config.task.name)
    styles = KINDS[spec.kind].styles
    style = settings.head if settings.head in styles else styles[0]
    labels = _labels(settings.labels, spec.labels) or spec.labels
    if settings.head == prompt.STYLE:
        labels = _labels_of_words(settings, spec, labels)
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
        labels=labels,
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
        template=settings.template,
        words=settings.words,
        temperature=settings.temperature,
        symmetric=settings.symmetric,
        decoder=settings.decoder,
        image_size=config.model.image_size,
        decoding=merged(merged(USUAL_DECODING, spec.decoding), settings.decoding),
        sentences=settings.sentences,
    )


def of_kind(kind: str, row_length: int, **settings: object) -> Task:
    """The task for files of any data set of a kind, with settings of `TaskConfig`."""
    asked = {'name': KINDS[kind].own_task, **settings}
    data = {'row_length': row_length}
    return from_config(resolve(recipe({'job': 'finetune', 'data': data, 'task': asked}), 'cpu'))


def for_files_of(task: Task, config: Config) -> Task:
    """A trained task, to be scored on the files that a config describes.

    What bears on the answers stays as it was in training, but for `null_threshold` if the config
    gives it, and for how texts are found.
    """
    threshold = config.task.null_threshold
    return dataclasses.replace(
        task,
        columns=from_config(config).columns,
        scheme=config.task.scheme or task.scheme,
        null_threshold=task.null_threshold if threshold is None else threshold,
        decoding=merged(task.decoding, config.task.decoding),
        sentences=config.task.sentences or task.sentences,
        # Rows that were trained on must not be scored; earlier versions held out by the share.
        dev_below=config.task.dev_share if task.dev_below is None else task.dev_below,
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


def _labels_of_words(settings: Any, spec: TaskSpec, labels: tuple[str, ...]) -> tuple[str, ...]:
    """The classes of a task whose head reads their words, which name them if nothing else does."""
    if prompt.STYLE not in KINDS[spec.kind].styles:
        raise ConfigError(
            f'config.task.head is {prompt.STYLE!r}, which is for classes of whole texts, but '
            f'{settings.name} is of the kind {spec.kind}: leave it out'
        )
    template = prompt.parse(settings.template, settings.words, labels)
    return labels or tuple(name for name, _ in template.labels)


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
        task = _record(Task, data, spec=known.TASKS[data['name']])
        choices = {
            'kind': KINDS,
            'style': HEAD_STYLES,
            'scheme': (None, *tag_schemes.SCHEMES),
            'writing': (None, *tag_writings.WRITINGS),
        }
        for name, allowed in choices.items():
            if getattr(task, name) not in allowed:
                raise ValueError(f'{name} is {getattr(task, name)!r:.60}')
    except (KeyError, TypeError, ValueError, AttributeError, ConfigError) as error:
        raise CheckpointError(
            f'{where} does not describe its task completely ({error!r})'
        ) from error
    return task


def _record(kind: type[T], data: Mapping[str, Any], **given: object) -> T:
    """A dataclass from JSON, but for the fields that are given.

    Checkpoints of earlier versions lack fields, all of which have a default.
    """
    for field in dataclasses.fields(kind):  # type: ignore[arg-type]  # of a type that is one
        name = field.name
        optional = {field.default, field.default_factory} != {dataclasses.MISSING}
        if name not in given and (name in data or not optional):
            given[name] = _value(name, field.type, data[name])
    return kind(**given)


def _value(name: str, kind: Any, value: Any) -> Any:
    """The value of a field of that type; ValueError: it is of another one."""
    if isinstance(kind, types.UnionType):  # `str | None`
        if value is None:
            return None
        kind = typing.get_args(kind)[0]
    if kind is Columns:
        return _record(Columns, value)
    if fields.is_group(kind):
        leaves = fields.leaves(kind)
        return kind(**{one: leaves[one].checked(x) for one, x in value.items() if one in leaves})
    if typing.get_origin(kind) is tuple and isinstance(value, list | tuple):
        kinds = typing.get_args(kind)
        kinds = kinds[:1] * len(value) if kinds[-1] is ... else kinds
        return tuple(_value(name, *pair) for pair in zip(kinds, value, strict=True))
    is_right = type(value) is kind
    if kind is int:
        is_right &= 1 <= value < 1 << 20  # all are sizes
    elif kind is float:
        is_right = type(value) in (int, float) and not math.isnan(value)
    if not is_right:
        raise ValueError(f'{name} is {value!r:.60}')
    return value
