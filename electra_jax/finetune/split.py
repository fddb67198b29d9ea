"""The splits of a task: where their files are, their examples, and their token rows."""

import dataclasses
import hashlib
import json
import pathlib
from collections.abc import Sequence
from typing import Any, NamedTuple

import jax
import numpy as np

from electra_jax.config.fields import Settings
from electra_jax.config.settings import Config
from electra_jax.core.complaints import Complaints
from electra_jax.core.errors import ConfigError, DataError, UserError, nearest
from electra_jax.finetune import batches, features, glue
from electra_jax.finetune import task as tasks
from electra_jax.finetune.examples import TextExample, count_double_ids
from electra_jax.finetune.features import Rows, Targets
from electra_jax.finetune.files import lines, locate
from electra_jax.finetune.files.locate import Location, TaskFiles
from electra_jax.finetune.files.source import open_source
from electra_jax.finetune.kinds.kind import Task
from electra_jax.finetune.kinds.table import KINDS
from electra_jax.tokenizers import unknown
from electra_jax.tokenizers.api import Tokenizer
from electra_jax.tokenizers.unknown import Unknown

_TOLERANCE = 0.05  # how far the held-out part may be from what was asked, as a share of that
_LEAST_SHARE = 0.05  # of the rows that a shape of finely divided ones must have in training
_LEAST_BATCHES = 3  # of an epoch, that a shape must have in training
_SAMPLED = 64  # rows in which unknown words are looked for


class Loaded(NamedTuple):
    """The examples of a split."""

    examples: list[Any]  # in the order of the file
    task: Task  # with what follows from the file
    complaints: Complaints  # about rows that were left out or repaired
    where: str  # the file or dataset


class Split(NamedTuple):
    """A split ready for the device."""

    loaded: Loaded
    rows: Rows
    sizes: list[int]  # row lengths of its batches
    pad: int  # id of [PAD]
    unknown: Unknown  # [UNK] among its tokens

    def host_batch(self, batch: batches.Batch, batch_size: int) -> dict[str, np.ndarray]:
        """The arrays of a batch."""
        return features.to_batch(self.rows, batch.rows, batch_size, batch.row_length, self.pad)

    def digest(self) -> str:
        """A hash of the examples, their labels included, and of their rows."""
        digest = hashlib.sha256(self.rows.digest().encode())
        for example in self.loaded.examples:
            # `where` names the file, which may have moved.
            digest.update(json.dumps(example._replace(where='')).encode() + b'\n')
        return digest.hexdigest()[:32]

    def shares(self) -> str:
        """Row lengths of batches and the share of rows that each has."""
        bucket = np.searchsorted(self.sizes, self.rows.lengths())
        count = np.bincount(bucket, minlength=len(self.sizes)) / max(len(self.rows), 1)
        few = 0.005  # would be rounded to none
        shown = ['<1%' if c < few else f'{c:.0%}' for c in count]
        return ', '.join(f'{L} ({c})' for L, c in zip(self.sizes, shown, strict=True))


def make_split(
    config: Config, tokenizer: Tokenizer, loaded: Loaded, train: bool = False, few: bool = False
) -> Split:
    """Examples as token rows; those that are too long are counted among the complaints.

    `few`: they are answered sooner than more programs are compiled.
    """
    task = loaded.task
    rows = KINDS[task.kind].features(tokenizer, loaded.examples, task)
    rows = rows if train or rows.once is None else rows.once
    if rows.targets is not None and not train:
        rows = dataclasses.replace(rows, targets=None)  # which the model must find itself
    elif rows.targets is not None and rows.targets.cut:
        kept = _count_long_targets(loaded, rows.targets)
        if len(kept) < len(loaded.examples):
            return make_split(config, tokenizer, loaded._replace(examples=kept), train)
    for note in rows.notes:
        loaded.complaints.note(f'{loaded.where}: {note}')
    for number in rows.cut:
        loaded.complaints.count(rows.cut_as, loaded.examples[number].where)
    # Answering on a CPU takes as long as compiling does; an accelerator is faster than that. Rows
    # of several texts are often a little longer than one full text, which few shapes would double;
    # and learning to write takes longer than compiling. A program that trains takes as long to
    # compile as tens of steps, which few rows of a shape are not worth.
    writes = rows.targets is not None
    is_fine = not few and (not train or rows.texts > 1 or writes)
    fine = jax.devices()[0].platform == 'cpu' and is_fine
    longest, multiple = rows.longest(task.row_length), config.mesh.sequence
    least = _LEAST_BATCHES * config.batch_size if train else 0.0
    if fine and writes:
        least = max(least, _LEAST_SHARE * len(rows))
    sizes = batches.shapes(rows.lengths(), longest, multiple, config.task.bucketing, fine, least)
    found = _unknown(tokenizer, loaded, rows)
    return Split(loaded, rows, sizes, tokenizer.special.pad, found)


def sample(loaded: Loaded, count: int) -> Loaded:
    """At most so many of the examples, from all over the file; its complaints are left out."""
    examples = loaded.examples
    count = min(count, len(examples))
    some = [examples[i * len(examples) // count] for i in range(count)]
    return loaded._replace(examples=some, complaints=Complaints('data.on_bad_row', 'skip'))


def _count_long_targets(loaded: Loaded, targets: Targets) -> list[Any]:
    """The examples to train on, where some have targets that are too long; these are counted."""
    settings, complaints = loaded.task.decoder, loaded.complaints
    refused = set()
    for number in targets.cut:
        where = loaded.examples[number].where
        if settings.long_targets == 'cut':
            complaints.count('cut_target', where)
        else:
            problem = f'the target has more pieces than {settings.target_length}'
            typed = '--config.task.decoder.target_length=NUMBER'
            complaints.refuse('long_target', where, f'{problem} (longer ones: {typed})')
            refused.add(number)
    kept = [one for number, one in enumerate(loaded.examples) if number not in refused]
    if not kept:
        raise DataError(
            f'{loaded.where}: every target is longer than config.task.decoder.target_length, '
            f'{settings.target_length} pieces: type a larger one'
        )
    return kept


def _unknown(tokenizer: Tokenizer, loaded: Loaded, rows: Rows) -> Unknown:
    """[UNK] in all rows but for [CLS] and [SEP]; where there are many, with words of some."""
    at = np.flatnonzero(rows.tokens.values == tokenizer.special.unk)
    found = Unknown(len(rows.tokens.values) - 2 * len(rows), len(at))
    if found.many:
        some = at[:: -(-len(at) // _SAMPLED)]
        of_row = np.unique(np.searchsorted(rows.tokens.ends, some, side='right'))
        content = KINDS[loaded.task.kind].content
        texts = [content(loaded.examples[rows.example[row]]) for row in of_row]
        texts = [text if isinstance(text, str) else ' '.join(text) for text in texts]
        found.words = unknown.count(tokenizer, texts).words
    return found


# ---------------------------------------------------------------------------------------------
# The splits of a run


def doubles_pairs(config: Config | Settings, task: Task) -> bool:
    """Whether training sees each pair both ways round."""
    asked = config.task.double_pairs
    return task.spec.double_unordered if asked is None else asked


def read_train(config: Config | Settings) -> tuple[Loaded, Loaded | None]:
    """The training examples, each pair also the other way round where the task has it so.

    The second value holds those that `config.task.dev_share` holds out to be scored.
    """
    task, share, held_out = tasks.from_config(config), config.task.dev_share, None
    if share is None:
        loaded = _read_splits(config, task, ['train'])['train']
    else:
        loaded, held_out = _read_divided(config, task, share)
    if not doubles_pairs(config, loaded.task):
        return loaded, held_out
    both = with_pairs_swapped(loaded.examples)
    if len(both) == len(loaded.examples):
        raise ConfigError(
            f'config.task.double_pairs is true, but {loaded.where} holds no pairs of texts: leave '
            'it out'
        )
    return loaded._replace(examples=both), held_out


def with_pairs_swapped(examples: Sequence[Any]) -> list[Any]:
    """The examples, and after them each pair the other way round (reference: MRPC, STS-B)."""
    swapped = [
        example._replace(id=f'{example.id}-swapped', text_a=example.text_b, text_b=example.text_a)
        for example in examples
        if isinstance(example, TextExample) and example.text_b is not None
    ]
    return [*examples, *swapped]


def read_scored(
    config: Config | Settings, task: Task, held_out: Loaded | None = None
) -> dict[str, Loaded]:
    """The splits that are scored, the first of which must be there.

    `held_out` is that of `read_train`, if that was called; None: it is read where it is needed.
    """
    first, *others = names = task.spec.eval_splits
    share = config.task.dev_share
    if share is None:
        return _read_splits(config, task, names)
    if held_out is None:
        train, held_out = _read_divided(config, task, share)
        # What is wrong with the file is reported once, also where nothing is trained.
        held_out = held_out._replace(complaints=train.complaints)
    return {first: held_out, **_read_splits(config, task, others, needed=False)}


def read_known(config: Config | Settings, task: Task) -> list[Any]:
    """The examples that a task was trained on, by which trivial answers are chosen.

    There are none where the training file is not there or cannot be read, which no score needs.
    """
    # Training has left out what cannot be used, or there was nothing of that kind.
    data = dataclasses.replace(config.data, on_bad_row='skip')
    config = dataclasses.replace(config, data=data)
    try:
        train = _read_splits(config, task, ['train'], needed=False).get('train')
        if train is None or task.dev_below is None:
            return train.examples if train else []
        return divided(train, task.dev_below, task.dev_below)[0]
    except (UserError, OSError):
        return []


def read_tests(config: Config | Settings, task: Task) -> dict[str, Loaded]:
    """The splits to predict if that is asked for, the first of which must be there then."""
    spec, test_file = task.spec, config.task.test_file
    if test_file is not None and 'test' not in (*spec.eval_splits, *spec.test_splits):
        raise ConfigError(
            f'config.task.test_file is {test_file!r}, but {task.name} has no test split: name the '
            'file with --config.task.dev_file'
        )
    if not config.task.predict_test and test_file is None:
        return {}
    loaded = _read_splits(config, task, spec.test_splits)
    for split in spec.submissions.keys() & loaded.keys():
        glue.check_whole(loaded[split].examples)
    return loaded


def _read_splits(
    config: Config | Settings, task: Task, names: Sequence[str], needed: bool = True
) -> dict[str, Loaded]:
    """The splits that are there; the first must be if that is `needed`."""
    locations = {split: _location(config, split, task) for split in names}
    path, first = config.data.path, names[0] if needed and names else None
    if first and locations[first] is None:
        if path is not None:
            raise locate.missing(_files(task), path, first)
        raise ConfigError(
            f'config.data.path is not set, and there is no {first} split: type --config.data.path='
            f'FOLDER with the files of {task.name}, or --config.task.{first}_file=NAME'
        )
    return {
        split: read(task, location, split, config.data.on_bad_row)
        for split, location in locations.items()
        if location is not None
    }


def _location(config: Config | Settings, split: str, task: Task) -> Location | None:
    """Where a split is: the file that the config names, or what the task's folder holds."""
    settings, path = config.task, config.data.path
    named = {'train': settings.train_file, 'dev': settings.dev_file, 'test': settings.test_file}
    file = named.get(split)
    if file is None:
        return None if path is None else locate.find(_files(task), path, split)
    alone, inside = pathlib.Path(file), pathlib.Path(path or '.') / file
    found = next((one for one in (inside, alone) if one.exists()), None)
    if found is None:
        folder = inside.parent
        held = [child.name for child in folder.iterdir()] if folder.is_dir() else []
        raise DataError(
            f'config.task.{split}_file is {file!r}, but there is no {inside}'
            f'{nearest(inside.name, held)}'
        )
    return Location(found)


def _files(task: Task) -> TaskFiles:
    """How the task's files are looked for: of parallel ones the source's side stands for both."""
    files = task.spec.files
    if not files.parallel:
        return files
    side, tables = (f'.{task.usual_columns.source}'.lower(),), files.endings
    # The first one is named where none is there.
    endings = side + tables if task.columns.source else tables + side
    return dataclasses.replace(files, endings=endings)


def read(task: Task, location: Location, split: str, on_bad_row: str) -> Loaded:
    """Reads the examples of a split of a task; `on_bad_row` is that of the data's settings.

    A training file also gives labels, scheme and range of scores, where the task lacks them.
    """
    complaints = Complaints('data.on_bad_row', on_bad_row)
    labelled = split not in task.spec.test_splits
    given, files = task.columns, task.spec.files
    source = open_source(files, location, split, given, complaints, labelled)
    if called := source.called():
        source = dataclasses.replace(source, columns=dataclasses.replace(source.columns, **called))
        task = dataclasses.replace(task, columns=dataclasses.replace(given, **called))
    examples, task = KINDS[task.kind].read(task, source)
    lines.forget()
    if not examples:
        first = next((first for _, first in complaints.counts.values()), None)
        raise DataError(
            f'{source.where}: there are no usable rows'
            + (f'; {first}' if first else ' after the header')
        )
    if split != 'train':
        count_double_ids(examples, complaints)
    return Loaded(examples, task, complaints, source.where)


# ---------------------------------------------------------------------------------------------
# Rows of a training file held out to be scored, where there is no file for that


def _read_divided(config: Config | Settings, task: Task, share: float) -> tuple[Loaded, Loaded]:
    """The training examples without those that are held out, and these."""
    loaded = _read_splits(config, task, ['train'])['train']
    below = task.dev_below if task.dev_below is not None else _threshold(loaded, share)
    loaded = loaded._replace(task=dataclasses.replace(loaded.task, dev_below=below))
    rest, held_out = divided(loaded, share, below)
    nothing = Complaints('data.on_bad_row', config.data.on_bad_row)
    return loaded._replace(examples=rest), loaded._replace(examples=held_out, complaints=nothing)


def divided(loaded: Loaded, share: float, below: float) -> tuple[list[Any], list[Any]]:
    """The examples that are not held out, and those that are, whose position is `below` that.

    A position follows from the content alone: the same text, or pair of texts in either order, is
    never on both sides, whatever the order of the file.

    Raises:
        DataError: no example would be left on one side.
    """
    content = KINDS[loaded.task.kind].content
    rest: list[Any] = []
    held_out: list[Any] = []
    for example in loaded.examples:
        (held_out if _position(content(example)) < below else rest).append(example)
    if not rest or not held_out:
        raise DataError(
            f'{loaded.where}: config.task.dev_share is {share:g}, which leaves no row of '
            f'{len(loaded.examples)} to {"train on" if held_out else "score"}: write another '
            'share, or name a file of rows to score with --config.task.dev_file'
        )
    return rest, held_out


def _threshold(loaded: Loaded, share: float) -> float:
    """The position below which about a `share` of the examples is.

    It is the share itself where that gives nearly so many, as with thousands of rows: then rows
    that are added later change no other row's side. Chance gives too many or too few of a few
    hundred rows, so their threshold is the one that comes closest.
    """
    content = KINDS[loaded.task.kind].content
    positions = np.sort([_position(content(example)) for example in loaded.examples])
    number, wanted = len(positions), share * len(positions)
    thresholds = np.concatenate([[share], np.unique(positions)])
    held_out = np.searchsorted(positions, thresholds)
    error = np.abs(held_out - wanted)
    error[(held_out == 0) | (held_out == number)] += 0.5  # better one row than none
    is_near = error[0] <= max(1.0, _TOLERANCE * wanted) and 0 < held_out[0] < number
    return share if is_near else float(thresholds[np.argmin(error)])


def _position(content: Any) -> float:
    """A number from 0 to 1 that depends on the content alone."""
    text = repr(content).encode('utf-8', 'surrogatepass')
    return int.from_bytes(hashlib.blake2b(text, digest_size=4).digest()) / 2**32
