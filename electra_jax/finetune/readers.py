"""The files of a task as examples: the one door to all readers."""

import dataclasses
import pathlib
from collections.abc import Iterator
from typing import NamedTuple

from electra_jax.core import errors
from electra_jax.finetune import bad_rows
from electra_jax.finetune.bad_rows import BadRows
from electra_jax.finetune.examples import Example, TaggedExample, TextExample
from electra_jax.finetune.files import conll, squad, tables, tag_schemes, texts, tfds
from electra_jax.finetune.files.tables import Columns, Row, Rows, merged
from electra_jax.finetune.files.texts import find_labels, score_span
from electra_jax.finetune.known import Place, TaskSpec


class Known(NamedTuple):
    """What the training file has told of the task, needed to read the other files.

    Attributes:
      labels: classes or tags in the order of their ids.
      scheme: of the tags in the files ('tagging').
      score_range: of scores ('regression'): the task's, or from the lowest to the highest.
    """

    labels: tuple[str, ...] = ()
    scheme: str | None = None
    score_range: tuple[float, float] | None = None


@dataclasses.dataclass(frozen=True)
class Options:
    """What the user may say about the files.

    Attributes:
      columns: those that are not as usual.
      on_bad_row: 'error', or 'skip': leave out and count.
      labels: the classes in the order of their ids; (): the task's, or found.
      scheme: of the tags; None: the task's, or found.
      unanswerable: whether questions may have no answer; None: as the task has it.
    """

    columns: Columns = dataclasses.field(default_factory=Columns)
    on_bad_row: str = 'error'
    labels: tuple[str, ...] = ()
    scheme: str | None = None
    unanswerable: bool | None = None


class Loaded(NamedTuple):
    """Examples of a split, with what was learnt on the way.

    Attributes:
      examples: in the order of the file.
      known: the task's labels and scheme.
      bad: counts of rows left out and mended; `bad.lines()` tells them to a person.
      where: the file or dataset.
    """

    examples: list[Example]
    known: Known
    bad: BadRows
    where: str


def read(
    spec: TaskSpec,
    place: Place,
    split: str,
    options: Options = Options(),
    known: Known | None = None,
) -> Loaded:
    """Examples of a split of a task.

    Args:
      spec: of the task.
      place: of the split; see `known.find`.
      split: 'train', or one of the task's splits.
      options: what the user says about the files.
      known: what the training file gave; None: find it in this one.

    Raises:
      errors.DataError: the file cannot be used; the message names it, the line and the value.
      errors.ConfigError: the labels are not those of the task.
    """
    if options.labels and spec.labels and set(options.labels) != set(spec.labels):
        raise errors.ConfigError(
            f'config.task.labels is {",".join(options.labels)!r}, and the task has the classes '
            f'{", ".join(map(repr, spec.labels))}: name all of them in any order, or leave it out'
        )
    unanswerable = options.unanswerable
    spec = dataclasses.replace(
        spec,
        labels=options.labels or (known.labels if known else ()) or spec.labels,
        scheme=options.scheme or (known.scheme if known else None) or spec.scheme,
        unanswerable=spec.unanswerable if unanswerable is None else unanswerable,
    )
    bad = bad_rows.policy(options.on_bad_row)
    labelled = split not in spec.test_splits
    source = _Source(spec, place, _columns(spec, place, split, options), bad, labelled)
    if spec.kind == 'tagging':
        examples, found = _tagged(source)
    else:
        examples = list(READERS[spec.kind](source))
        found = known or (_found(spec, examples, source.where) if labelled else Known())
        found = found._replace(labels=spec.labels or found.labels)
    if not examples:
        first = next((first for _, first in bad.found.values()), None)
        raise errors.DataError(
            f'{source.where}: no usable rows' + (f'; {first}' if first else ' after the header')
        )
    return Loaded(examples, found, bad, source.where)


def _found(spec: TaskSpec, examples: list[Example], where: str) -> Known:
    """What a training file tells of its task."""
    if spec.kind == 'classification' and examples and not spec.labels:
        return Known(find_labels((example.label for example in examples), where))
    if spec.kind == 'regression' and examples:
        span = score_span((example.label for example in examples), where)
        return Known(score_range=spec.score_range or span)
    return Known()


def with_pairs_swapped(examples: list[Example]) -> list[Example]:
    """The examples, and after them each pair the other way round (reference: MRPC, STS-B)."""
    swapped = [
        example._replace(id=f'{example.id}-swapped', text_a=example.text_b, text_b=example.text_a)
        for example in examples
        if isinstance(example, TextExample) and example.text_b is not None
    ]
    return [*examples, *swapped]


# ---------------------------------------------------------------------------------------------
# The kinds of tasks


@dataclasses.dataclass(frozen=True)
class _Source:
    """A split of a task, ready to be read."""

    spec: TaskSpec
    place: Place
    columns: Columns
    bad: BadRows
    labelled: bool

    @property
    def where(self) -> str:
        return str(self.place.path or f'{self.place.dataset}:{self.place.split}')

    @property
    def path(self) -> pathlib.Path | None:
        return self.place.path

    def rows(self) -> Rows:
        """Rows of a table, or of a dataset with the classes named as in the official files."""
        if self.path is None:
            rows = tfds.read(self.place.dataset, self.place.split)
            return rows._replace(rows=self._with_our_labels(rows.rows))
        return tables.read(self.path, self.bad, self.columns, self.spec.layout.known_gaps)

    def _with_our_labels(self, rows: Iterator[Row]) -> Iterator[Row]:
        dataset, key = self.spec.layout.dataset, self.columns.label
        if dataset is None or not dataset.labels:
            return rows
        ours = dataset.labels.get
        return (
            row._replace(values={**row.values, key: ours(row.values[key], row.values[key])})
            if key in row.values
            else row
            for row in rows
        )


def _columns(spec: TaskSpec, place: Place, split: str, options: Options) -> Columns:
    layout = spec.layout
    usual = layout.split_columns.get(split, layout.columns)
    if place.path is None and layout.dataset is not None:
        usual = layout.dataset.columns
    return merged(usual, options.columns)


def _texts(source: _Source) -> Rows:
    """Rows of texts; pairs of which the second text would be passed over unsaid are refused."""
    rows, columns = source.rows(), source.columns
    if columns.text_b or 'text_b' in (columns.text_a, columns.label, columns.id):
        return rows
    return rows._replace(rows=map(_without_second, rows.rows))


def _without_second(row: Row) -> Row:
    if row.values.get('text_b'):
        raise errors.DataError(
            f"{row.where}: the row has a 'text_b', and one text alone would be read; for pairs of "
            'texts type --config.task.columns.text_b=text_b, or give that column another name'
        )
    return row


def _classified(source: _Source) -> Iterator[Example]:
    known = source.spec.labels or None
    return texts.classified(_texts(source), source.columns, source.bad, known, source.labelled)


def _scored(source: _Source) -> Iterator[Example]:
    bounds = source.spec.score_range
    return texts.scored(_texts(source), source.columns, source.bad, bounds, source.labelled)


def _asked(source: _Source) -> Iterator[Example]:
    rest = (source.columns, source.bad, source.spec.unanswerable, source.labelled)
    if source.path is None:
        return squad.from_rows(source.rows(), *rest)
    return squad.read(source.path, *rest)


READERS = {'classification': _classified, 'regression': _scored, 'spans': _asked}


def _tagged(source: _Source) -> tuple[list[Example], Known]:
    """Sentences with their tags in the scheme that is learnt."""
    rest = (source.columns, source.bad, source.labelled)
    if source.path is None:
        found = list(conll.from_rows(source.rows(), *rest))
    else:
        found = list(conll.read(source.path, *rest))
    scheme = source.spec.scheme
    if scheme is None:
        scheme = tag_schemes.find(e.tags for e in found if e.tags)
    tag_schemes.check(scheme)
    found = list(conll.fitting(found, scheme, source.bad))
    learnt = scheme if scheme == 'plain' else source.spec.trained_scheme or scheme
    if learnt != scheme:
        found = [_converted(example, learnt) for example in found]
    labels = source.spec.labels
    if not labels and found:
        labels = tag_schemes.classes((e.tags for e in found if e.tags), learnt)
        if len(labels) < 2:
            raise errors.DataError(
                f'{source.where}: a tagger needs two tags or more, and every word has {labels[0]!r}'
                '; is --config.task.columns.tags the right column?'
            )
    return list(conll.known(found, labels, source.bad)), Known(labels, scheme)


def _converted(example: TaggedExample, scheme: str) -> TaggedExample:
    if example.tags is None:
        return example
    return example._replace(tags=tag_schemes.convert(example.tags, scheme))
