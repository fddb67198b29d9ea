"""The files of a task as rows ready for the device."""

import hashlib
import json
import pathlib
from collections.abc import Iterable
from typing import Any, NamedTuple

import jax
import numpy as np

from electra_jax.config.settings import Config
from electra_jax.core.complaints import Complaints
from electra_jax.core.errors import ConfigError, DataError
from electra_jax.finetune import batches, features, glue, hold_out, readers
from electra_jax.finetune import known as table
from electra_jax.finetune import task as tasks
from electra_jax.finetune.features import Rows
from electra_jax.finetune.kinds.kind import Task
from electra_jax.finetune.kinds.table import KINDS
from electra_jax.finetune.known import Place
from electra_jax.finetune.readers import Loaded
from electra_jax.tokenizers.api import Tokenizer


class Split(NamedTuple):
    """A split ready for the device.

    Attributes:
      loaded: its examples.
      rows: their token rows.
      sizes: row lengths of its batches.
      pad: id of [PAD].
      key: a hash of the examples, their labels included, and of their rows.
    """

    loaded: Loaded
    rows: Rows
    sizes: list[int]
    pad: int
    key: str

    def host_batch(self, batch: batches.Batch, batch_size: int) -> dict[str, np.ndarray]:
        """The arrays of a batch."""
        return features.to_batch(self.rows, batch.rows, batch_size, batch.row_length, self.pad)

    def shares(self) -> str:
        """Row lengths and how many rows have them, in words."""
        bucket = np.searchsorted(self.sizes, self.rows.tokens.lengths())
        count = np.bincount(bucket, minlength=len(self.sizes)) / max(len(self.rows), 1)
        return ', '.join(f'{L} ({c:.0%})' for L, c in zip(self.sizes, count, strict=True))


def make_split(
    config: Config, tokenizer: Tokenizer, task: Task, loaded: Loaded, labelled: bool
) -> Split:
    """Examples as token rows.

    Args:
        config: its mesh and bucketing are used.
        tokenizer: of the model.
        task: of the model.
        loaded: the examples; those that are too long are counted among its bad rows.
        labelled: whether they are trained on, and all need a label.
    """
    rows = KINDS[task.kind].features(tokenizer, loaded.examples, task, labelled)
    for number in rows.cut:
        loaded.complaints.count('cut', loaded.examples[number].where)
    lengths, grid = rows.tokens.lengths(), 'coarse' if labelled else answer_grid()
    sizes = batches.shapes(
        lengths, task.row_length, config.mesh.sequence, config.task.bucketing, grid
    )
    return Split(loaded, rows, sizes, tokenizer.special.pad, _key(loaded.examples, rows))


def _key(examples: Iterable[Any], rows: Rows) -> str:
    digest = hashlib.sha256(rows.digest().encode())
    for example in examples:
        # `where` names the file, which may have moved.
        digest.update(json.dumps(example._replace(where='')).encode() + b'\n')
    return digest.hexdigest()[:32]


def answer_grid() -> str:
    """How finely rows are sorted by length to be answered: a key of `batches.GRIDS`.

    A CPU computes for as long as a program takes to compile; an accelerator is through before.
    """
    return 'fine' if jax.devices()[0].platform == 'cpu' else 'coarse'


def doubles_pairs(config: Config) -> bool:
    """Whether training sees each pair both ways round."""
    asked = config.task.double_pairs
    return table.get(config.task.name).double_unordered if asked is None else asked


def read_train(config: Config) -> tuple[Loaded, Loaded | None]:
    """The training examples, each pair also the other way round where the task has it so.

    Returns:
        Them, and those that `config.task.dev_share` holds out to be scored; None: it does not.

    Raises:
        UserError: the files are missing or cannot be used.
    """
    loaded, held_out = _parted(config, tasks.from_config(config))
    if not doubles_pairs(config):
        return loaded, held_out
    both = readers.with_pairs_swapped(loaded.examples)
    if len(both) == len(loaded.examples):
        raise ConfigError(
            f'config.task.double_pairs is true, but {loaded.where} holds no pairs of texts: leave '
            'it out'
        )
    return loaded._replace(examples=both), held_out


def _parted(config: Config, task: Task) -> tuple[Loaded, Loaded | None]:
    """What the training file holds, and of that what is held out."""
    loaded, share = _needed(config, 'train', task), config.task.dev_share
    if share is None:
        return loaded, None
    rest, held_out = hold_out.parts(loaded, share)
    # What was wrong with the file is told once, by the rows that are scored.
    unblamed = Complaints('data.on_bad_row', config.data.on_bad_row)
    return loaded._replace(examples=rest, complaints=unblamed), loaded._replace(examples=held_out)


def read_scored(config: Config, task: Task, held_out: Loaded | None = None) -> dict[str, Loaded]:
    """The splits that are scored, the first of which must be there.

    Args:
        config: its task and data say where they are.
        task: from training.
        held_out: from `read_train`, if that was called; None: read where it is needed.

    Raises:
        UserError: it is missing, or files cannot be used.
    """
    first, *others = table.get(config.task.name).eval_splits
    if config.task.dev_share is None:
        held_out = _needed(config, first, task)
    elif held_out is None:
        held_out = _parted(config, task)[1]
    return {first: held_out, **_those_there(config, others, task)}


def read_tests(config: Config, task: Task) -> dict[str, Loaded]:
    """The splits to predict if that is asked for, the first of which must be there then.

    Raises:
        UserError: it is missing, or files cannot be used, for GLUE's judge for example.
    """
    spec = table.get(config.task.name)
    asked = config.task.predict_test or config.task.test_file is not None
    if config.task.test_file is not None and 'test' not in (*spec.eval_splits, *spec.test_splits):
        raise ConfigError(
            f'config.task.test_file is {config.task.test_file!r}, but {config.task.name} has no '
            'test split: name the file with --config.task.dev_file'
        )
    if not asked or not spec.test_splits:
        return {}
    first, *others = spec.test_splits
    found = {first: _needed(config, first, task), **_those_there(config, others, task)}
    for split in spec.submissions.keys() & found.keys():
        glue.check_whole(found[split].examples)
    return found


def _needed(config: Config, split: str, task: Task) -> Loaded:
    spec, place = table.get(config.task.name), _place(config, split)
    if place is None and config.data.path is None:
        raise ConfigError(
            f'config.data.path is not set, and there is no {split} split: type --config.data.path='
            f'FOLDER with the files of {config.task.name}, or --config.task.{split}_file=NAME'
        )
    if place is None:
        raise table.missing(spec.layout, config.data.path, split)
    return readers.read(task, place, split, config.data.on_bad_row)


def _those_there(config: Config, names: list[str], task: Task) -> dict[str, Loaded]:
    places = {split: _place(config, split) for split in names}
    return {
        split: readers.read(task, place, split, config.data.on_bad_row)
        for split, place in places.items()
        if place is not None
    }


def _place(config: Config, split: str) -> Place | None:
    """Where a split is: the file that the config names, or what the task's folder holds."""
    task, where = config.task, config.data.path
    file = {'train': task.train_file, 'dev': task.dev_file, 'test': task.test_file}.get(split)
    if file is not None:
        if (
            where is not None
            and not pathlib.Path(where).is_dir()
            and not pathlib.Path(file).exists()
        ):
            raise DataError(
                f'config.data.path is {where!r}, but no folder of that name is there to look for '
                f'{file} in (looked from {pathlib.Path.cwd()})'
            )
        inside = pathlib.Path(where or '.') / file
        return Place(inside if inside.exists() else pathlib.Path(file))
    if where is None:
        return None
    return table.find(table.get(task.name).layout, where, split)
