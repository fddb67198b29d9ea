"""The files of a task as rows ready for the device."""

import dataclasses
import pathlib
from typing import NamedTuple

import jax
import numpy as np
from etils import epath

from electra_jax.config.schema import Config
from electra_jax.core.errors import ConfigError
from electra_jax.tasks import batches, features, layouts, readers, table, token_rows, trained
from electra_jax.tasks.layouts import Place
from electra_jax.tasks.readers import Known, Loaded
from electra_jax.tasks.token_rows import Rows
from electra_jax.tasks.trained import TrainedTask
from electra_jax.tokenizers.api import Tokenizer


class Split(NamedTuple):
    """A split ready for the device.

    Attributes:
      loaded: its examples.
      rows: their token rows.
      sizes: row lengths of its batches.
      pad: id of [PAD].
    """

    loaded: Loaded
    rows: Rows
    sizes: list[int]
    pad: int

    def host_batch(self, batch: batches.Batch, batch_size: int) -> dict[str, np.ndarray]:
        """The arrays of a batch."""
        return token_rows.to_batch(self.rows, batch.rows, batch_size, batch.row_length, self.pad)

    def shares(self) -> str:
        """Row lengths and how many rows have them, in words."""
        bucket = np.searchsorted(self.sizes, self.rows.tokens.lengths())
        count = np.bincount(bucket, minlength=len(self.sizes)) / max(len(self.rows), 1)
        return ', '.join(f'{L} ({c:.0%})' for L, c in zip(self.sizes, count, strict=True))


def make_split(
    config: Config, tokenizer: Tokenizer, task: TrainedTask, loaded: Loaded, labelled: bool
) -> Split:
    """Examples as token rows, from the cache where they have been made before."""
    settings = task.features(labelled)
    key = token_rows.cache_key(
        loaded.examples, {**dataclasses.asdict(settings), 'tokenizer': tokenizer.hash}
    )
    path = config.task.cache and epath.Path(config.task.cache) / f'{key}.npz'
    rows = token_rows.load(path) if path else None
    if rows is None:
        rows = features.token_rows(tokenizer, loaded.examples, settings)
        if path and jax.process_index() == 0:
            token_rows.save(path, rows)
    grid = answer_grid() if not labelled else 'coarse'
    sizes = batches.shapes(
        rows.tokens.lengths(), task.row_length, config.mesh.sequence, config.task.bucketing, grid
    )
    return Split(loaded, rows, sizes, tokenizer.special.pad)


def answer_grid() -> str:
    """How finely rows are sorted by length to be answered: a key of `batches.GRIDS`.

    A CPU computes for as long as a program takes to compile; an accelerator is through before.
    """
    return 'fine' if jax.devices()[0].platform == 'cpu' else 'coarse'


def read_train(config: Config) -> Loaded:
    """The training examples, each pair also the other way round where the task has it so.

    Raises:
        UserError: the files are missing or cannot be used.
    """
    spec = table.get(config.task.name)
    loaded = _read(config, 'train', config.task.train_file, None)
    if loaded is None:
        raise layouts.missing(spec.layout, config.data.path, 'train')
    double = config.task.double_pairs
    if spec.double_unordered if double is None else double:
        loaded = loaded._replace(examples=readers.with_pairs_swapped(loaded.examples))
    return loaded


def read_scored(config: Config, known: Known) -> dict[str, Loaded]:
    """The splits that are scored, the first of which must be there."""
    spec = table.get(config.task.name)
    found = {}
    for split in spec.eval_splits:
        first = split == spec.eval_splits[0]
        loaded = _read(config, split, config.task.dev_file if first else None, known)
        if loaded is not None:
            found[split] = loaded
        elif first:
            raise layouts.missing(spec.layout, config.data.path, split)
    return found


def read_tests(config: Config, known: Known) -> dict[str, Loaded]:
    """The splits to predict, those that are there, if they are asked for."""
    spec = table.get(config.task.name)
    if not config.task.predict_test:
        return {}
    found = {}
    for split in spec.test_splits:
        first = split == spec.test_splits[0]
        loaded = _read(config, split, config.task.test_file if first else None, known)
        if loaded is not None:
            found[split] = loaded
    return found


def _read(config: Config, split: str, file: str | None, known: Known | None) -> Loaded | None:
    spec, options = table.get(config.task.name), trained.options(config)
    where = config.data.path
    if file is not None:
        inside = pathlib.Path(where or '.') / file
        path = inside if inside.exists() else pathlib.Path(file)
        return readers.read(spec, Place(path), split, options, known)
    if where is None:
        raise ConfigError(
            'config.data.path is not set: type --config.data.path=FOLDER with the files of '
            f'{config.task.name}, or name them with --config.task.train_file and dev_file'
        )
    if pathlib.Path(where).is_file():
        raise ConfigError(
            f'config.data.path is the file {where}: name the folder that it is in, and the files '
            'with --config.task.train_file=NAME --config.task.dev_file=NAME'
        )
    place = layouts.find(spec.layout, where, split)
    return place and readers.read(spec, place, split, options, known)
