"""A checkpoint by its name: ours or another project's, fine-tuned or not, checked and ready."""

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import jax
from jax.sharding import Mesh

from electra_jax.config.fields import Settings
from electra_jax.config.recipe import recipe
from electra_jax.config.resolve import resolve
from electra_jax.config.settings import Config
from electra_jax.core import files, trees
from electra_jax.core.complaints import Complaints
from electra_jax.core.errors import CheckpointError
from electra_jax.finetune import answers, fitting, predict
from electra_jax.finetune import task as tasks
from electra_jax.finetune.answers import Outputs
from electra_jax.finetune.batches import FEW_ROWS, shapes
from electra_jax.finetune.features import Rows
from electra_jax.finetune.files.tables import Columns
from electra_jax.finetune.kinds.kind import RowOutputs, Task
from electra_jax.finetune.split import Loaded, Split
from electra_jax.init_from import (
    OURS,
    Start,
    check_complete,
    check_named,
    parse_name,
    read_foreign,
    read_own,
)
from electra_jax.model.bind import Model, bind
from electra_jax.objectives.table import OBJECTIVES
from electra_jax.runtime import compiled
from electra_jax.tokenizers.api import Tokenizer
from electra_jax.tokenizers.unknown import Unknown


class Found(NamedTuple):
    """A checkpoint that was read."""

    where: str  # its folder, or KIND:PATH of another project's
    params: trees.Tree  # NumPy arrays
    about: Mapping[str, Any]  # what it records
    notes: list[str]  # what a reader of another project's files must know

    @property
    def is_tuned(self) -> bool:
        """Whether it has the head of a task."""
        return 'task' in self.about


def read(where: str, settings: Settings, named_by: str) -> Found:
    """Reads a checkpoint as it is named everywhere, and keeps the programs that will use it.

    Args:
        where: a workdir (of fine-tuning: its best trial), one trial, a checkpoints/ folder, the
            folder of one step, ``KIND:PATH``: ``safetensors:FOLDER`` of ours to pass on,
            ``huggingface:FOLDER``, ``google:FOLDER``; or a name of `init_from.MODELS`.
        settings: they name the tokenizer of a checkpoint of Google's that has none.
        named_by: the flag or argument that `where` comes from, for messages.

    Raises:
        CheckpointError: there is none, or it is damaged.
    """
    check_named(where, named_by)
    compiled.keep()  # here, so that no command that opens a model compiles again and again
    kind, path = parse_name(where)
    if kind == OURS:
        folder = predict.best_folder(files.absolute(path))
        return Found(str(folder), *read_own(folder), [])
    loaded, about = read_foreign(settings, kind, path)
    notes = list(loaded.report.notes)
    if loaded.task is not None:
        from electra_jax.finetune import foreign  # imports Orbax, to convert

        about['task'], more = foreign.describe_task(loaded)
        notes += more
    return Found(where, loaded.params, about, notes)


class Opened(NamedTuple):
    """A checkpoint for the present devices, whose networks are put there when they are used."""

    where: str
    params: trees.Tree  # NumPy arrays
    tokenizer: Tokenizer
    config: Config
    mesh: Mesh
    objective: str | None  # that it was pre-trained with, a key of `OBJECTIVES`; None: not known
    task: Task  # of single texts, by which files are read
    is_tuned: bool
    tuned_from: str | None  # as `config.init_from` named it; None: it was not, or it is not known
    generator_alone: bool  # its run ended in the first of two stages
    placed: trees.Tree  # networks that are on the devices already; `program` adds to them

    def task_of(self, columns: Columns) -> Task:
        """By which files are read whose columns are called like this."""
        return dataclasses.replace(self.task, columns=columns)

    @property
    def room(self) -> int:
        """How many tokens a row has room for, next to [CLS] and [SEP]."""
        return self.config.data.row_length - 2

    @property
    def detects(self) -> bool:
        """Whether it gives the probability that a token was replaced."""
        known = self.objective in OBJECTIVES and not OBJECTIVES[str(self.objective)].detects
        return 'discriminator_head' in self.params and not known

    def program(
        self, networks: Sequence[str], outputs: Callable[[Model], Outputs]
    ) -> Callable[..., RowOutputs]:
        """Token rows -> the outputs for each row, in the order of the rows.

        A second argument, if any, is handed lines that show how far it is.

        Args:
            networks: keys of `model.bind.NETWORKS`, whose parameters are needed.
            outputs: makes the function that answers of a model.
        """
        size = self.tokenizer.vocab_size
        model = bind(self.config.model, size)
        names = model.shapes(networks)
        check_complete(self.where, self.params, names)
        missing = {name: self.params[name] for name in names if name not in self.placed}
        self.placed.update(predict.put(self.mesh, missing))
        used = {name: self.placed[name] for name in names}
        answerer = answers.answerer(self.config, size, self.mesh, outputs)

        def run(rows: Rows, report: answers.Report | None = None) -> RowOutputs:
            loaded = Loaded([], self.task, Complaints(''), '')
            sizes = self._sizes(rows)
            split = Split(loaded, rows, sizes, self.tokenizer.special.pad, Unknown())
            return answerer.outputs(used, split, report, 'texts')

        return run

    def _sizes(self, rows: Rows) -> list[int]:
        """Row lengths of batches, each compiled once."""
        config, lengths = self.config, rows.tokens.lengths()
        fine = self.mesh.devices.flat[0].platform == 'cpu' and len(rows) >= FEW_ROWS
        longest, multiple = rows.longest(config.data.row_length), config.mesh.sequence
        return shapes(lengths, longest, multiple, config.task.bucketing, fine)


def settings_of(batch_size: int) -> Settings:
    """The settings of answering: those of the model are the checkpoint's."""
    return recipe({'job': 'evaluate', 'batch_size': batch_size})


def open_pretrained(found: Found, start: Start, settings: Settings, placed: trees.Tree) -> Opened:
    """A checkpoint with the networks that it was pre-trained with, as far as it still has them.

    `start` is what `checked_start` makes of it; `placed` are those of its parameters that are on
    the devices already.
    """
    config = resolve(settings, jax.devices()[0].platform, start.stored)
    task = tasks.of_kind('classification', config.model.max_positions)
    config, mesh = predict.for_rows(config, task)
    recorded = found.about['config'].get('objective')
    objective = recorded.get('name') if isinstance(recorded, Mapping) else recorded
    if not isinstance(objective, str | None):
        raise CheckpointError(
            f'{found.where} does not describe its objective ({objective!r:.60}): it is damaged'
        )
    start_of_run = found.about['config'].get('init_from') if found.is_tuned else None
    tuned_from = start_of_run if isinstance(start_of_run, str) else None
    alone = objective == 'two_stage' and not found.is_tuned
    alone = alone and fitting.origin(found.about, config.model, found.where).generator_alone
    return Opened(
        found.where, found.params, start.tokenizer, config, mesh, objective, task, found.is_tuned,
        tuned_from, alone, dict(placed),
    )  # fmt: skip


def lacks(opened: Opened, what: str, cure: str) -> CheckpointError:
    """The error for a checkpoint without a network; `cure` helps where it was pre-trained only."""
    if opened.is_tuned:
        why = 'was fine-tuned, which keeps the encoder alone'
        named = f', {opened.tuned_from}' if opened.tuned_from else ''
        cure = f'name the checkpoint that it was fine-tuned from{named}'
    else:
        why = f'was pre-trained as {opened.objective!r}' if opened.objective else 'came'
    return CheckpointError(f'{opened.where} {why}, without {what}: {cure}')
