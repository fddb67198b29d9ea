"""The files of a task as rows ready for the device."""

import collections
import dataclasses
import pathlib
from collections.abc import Iterable, Mapping
from typing import NamedTuple

import jax
import numpy as np
from etils import epath

from electra_jax.config.settings import Config
from electra_jax.core.errors import ConfigError, DataError
from electra_jax.finetune import (
    bad_rows,
    batches,
    features,
    hold_out,
    prediction_files,
    readers,
    token_rows,
)
from electra_jax.finetune import known as table
from electra_jax.finetune import task as trained
from electra_jax.finetune.features import FeatureSettings
from electra_jax.finetune.known import Place
from electra_jax.finetune.readers import Known, Loaded
from electra_jax.finetune.token_rows import Rows
from electra_jax.runtime import distributed
from electra_jax.tokenizers.api import Tokenizer


class Split(NamedTuple):
    """A split ready for the device.

    Attributes:
      loaded: its examples.
      rows: their token rows.
      sizes: row lengths of its batches.
      pad: id of [PAD].
      key: stands for all of it, labels and tokenizer included (`token_rows.cache_key`).
    """

    loaded: Loaded
    rows: Rows
    sizes: list[int]
    pad: int
    key: str

    def host_batch(self, batch: batches.Batch, batch_size: int) -> dict[str, np.ndarray]:
        """The arrays of a batch."""
        return token_rows.to_batch(self.rows, batch.rows, batch_size, batch.row_length, self.pad)

    def shares(self) -> str:
        """Row lengths and how many rows have them, in words."""
        bucket = np.searchsorted(self.sizes, self.rows.tokens.lengths())
        count = np.bincount(bucket, minlength=len(self.sizes)) / max(len(self.rows), 1)
        return ', '.join(f'{L} ({c:.0%})' for L, c in zip(self.sizes, count, strict=True))


def make_split(
    config: Config, tokenizer: Tokenizer, settings: FeatureSettings, loaded: Loaded
) -> Split:
    """Examples as token rows, from the cache where they have been made before.

    Args:
        config: its cache, mesh and bucketing are used.
        tokenizer: of the model.
        settings: what the rows follow from.
        loaded: the examples; those that are too long are counted among its bad rows.
    """
    key = token_rows.cache_key(
        loaded.examples, {**dataclasses.asdict(settings), 'tokenizer': tokenizer.hash}
    )
    path = config.task.cache and epath.Path(config.task.cache) / f'{key}.npz'
    rows = token_rows.load(path) if path else None
    if rows is None:
        rows = features.token_rows(tokenizer, loaded.examples, settings)
        if path and distributed.is_first():
            token_rows.save(path, rows)
    for number in rows.cut:
        loaded.bad.count('cut', loaded.examples[number].where)
    lengths, grid = rows.tokens.lengths(), 'coarse' if settings.labelled else answer_grid()
    sizes = batches.shapes(
        lengths, settings.row_length, config.mesh.sequence, config.task.bucketing, grid
    )
    return Split(loaded, rows, sizes, tokenizer.special.pad, key)


def answer_grid() -> str:
    """How finely rows are sorted by length to be answered: a key of `batches.GRIDS`.

    A CPU computes for as long as a program takes to compile; an accelerator is through before.
    """
    return 'fine' if jax.devices()[0].platform == 'cpu' else 'coarse'


def sizes_line(splits: Mapping[str, Split]) -> str:
    """Names of splits and how many examples they have, in words."""
    return ', '.join(f'{name} {len(one.loaded.examples):,}' for name, one in splits.items())


def remarks(splits: Iterable[Split]) -> list[str]:
    """What a person must know of the rows of files: those left out, mended or cut."""
    return [line for one in splits for line in one.loaded.bad.lines()]


def guess_line(train: Loaded, scored: Mapping[str, Loaded]) -> str | None:
    """The accuracy of always naming the most frequent class; None: the labels are no classes."""

    def labels(loaded: Loaded) -> list[str]:
        found = (getattr(example, 'label', None) for example in loaded.examples)
        return [label for label in found if isinstance(label, str)]

    counts = collections.Counter(labels(train))
    found = {name: labels(loaded) for name, loaded in scored.items()}
    if not counts or not all(found.values()):
        return None
    ((best, _),) = counts.most_common(1)
    shares = ', '.join(
        f'{name} {100 * given.count(best) / len(given):.2f}' for name, given in found.items()
    )
    return f'accuracy of {best!r} for every row: {shares}' if shares else None


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
    loaded, held_out = _parted(config, None)
    if not doubles_pairs(config):
        return loaded, held_out
    both = readers.with_pairs_swapped(loaded.examples)
    if len(both) == len(loaded.examples):
        raise ConfigError(
            f'config.task.double_pairs is true, but {loaded.where} holds no pairs of texts: leave '
            'it out'
        )
    return loaded._replace(examples=both), held_out


def _parted(config: Config, known: Known | None) -> tuple[Loaded, Loaded | None]:
    """What the training file holds, and of that what is held out."""
    loaded, share = _needed(config, 'train', known), config.task.dev_share
    if share is None:
        return loaded, None
    rest, held_out = hold_out.parts(loaded, share)
    # What was wrong with the file is told once, by the rows that are scored.
    unblamed = bad_rows.policy(config.data.on_bad_row)
    return loaded._replace(examples=rest, bad=unblamed), loaded._replace(examples=held_out)


def read_scored(config: Config, known: Known, held_out: Loaded | None = None) -> dict[str, Loaded]:
    """The splits that are scored, the first of which must be there.

    Args:
        config: its task and data say where they are.
        known: of the task, from training.
        held_out: from `read_train`, if that was called; None: read where it is needed.

    Raises:
        UserError: it is missing, or files cannot be used.
    """
    first, *others = table.get(config.task.name).eval_splits
    if config.task.dev_share is None:
        held_out = _needed(config, first, known)
    elif held_out is None:
        held_out = _parted(config, known)[1]
    return {first: held_out, **_those_there(config, others, known)}


def read_tests(config: Config, known: Known) -> dict[str, Loaded]:
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
    found = {first: _needed(config, first, known), **_those_there(config, others, known)}
    for split in spec.submissions.keys() & found.keys():
        prediction_files.check_whole(found[split].examples)
    return found


def _needed(config: Config, split: str, known: Known | None) -> Loaded:
    spec, place = table.get(config.task.name), _place(config, split)
    if place is None and config.data.path is None:
        raise ConfigError(
            f'config.data.path is not set, and there is no {split} split: type --config.data.path='
            f'FOLDER with the files of {config.task.name}, or --config.task.{split}_file=NAME'
        )
    if place is None:
        raise table.missing(spec.layout, config.data.path, split)
    return readers.read(spec, place, split, trained.options(config), known)


def _those_there(config: Config, names: list[str], known: Known) -> dict[str, Loaded]:
    spec, options = table.get(config.task.name), trained.options(config)
    places = {split: _place(config, split) for split in names}
    return {
        split: readers.read(spec, place, split, options, known)
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
