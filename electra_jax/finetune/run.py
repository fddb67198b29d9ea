"""What the trials of a fine-tuning run share: files, checkpoint and program, opened together."""

import dataclasses
from collections.abc import Mapping
from typing import NamedTuple

import jax
import numpy as np
from etils import epath

from electra_jax.config import checks, fields
from electra_jax.config.fields import Settings
from electra_jax.config.recipe import recipe
from electra_jax.config.resolve import TASK_BATCH_SIZE, fill, resolve
from electra_jax.config.settings import Config
from electra_jax.core import trees
from electra_jax.core.complaints import counted
from electra_jax.core.errors import ConfigError
from electra_jax.finetune import class_weights, fitting, known
from electra_jax.finetune import split as splits
from electra_jax.finetune import task as tasks
from electra_jax.finetune.answers import Answerer, task_answerer
from electra_jax.finetune.kinds.kind import HeadStart, Task
from electra_jax.finetune.kinds.table import KINDS
from electra_jax.finetune.program import Program, build_program
from electra_jax.finetune.results import Trivial, trivial
from electra_jax.finetune.split import Loaded, Split
from electra_jax.init_from import Account, Start, check_named, chosen, encoder_params, load_start
from electra_jax.runtime import distributed
from electra_jax.train import workdir

_SAMPLE = '_sample'
# Settings in steps, which fine-tuning would silently ignore -> what to do instead.
_IN_STEPS = {
    'total_steps': 'type --config.task.epochs=NUMBER instead',
    'minutes': 'type --config.task.epochs=NUMBER instead',
    'stop_at': 'type --config.task.epochs=NUMBER instead',
    'optimizer.warmup_steps': 'type --config.task.warmup_rate=NUMBER (a share of steps) instead',
    'optimizer.warmup_share': 'type --config.task.warmup_rate=NUMBER instead',
    'eval.every_steps': 'it is scored after each, so leave this out',
    'checkpoint.every_steps': 'each trial is saved at its end, so leave this out',
    'replay': 'only steps of pre-training can be computed again, so leave this out',
}


class Judge(NamedTuple):
    """How a state of the model is scored."""

    answerer: Answerer
    splits: dict[str, Split]
    headline: str  # the score that stands for the state


class Run(NamedTuple):
    """What the trials of a run share."""

    program: Program
    folder: epath.Path  # the workdir
    start: Start
    source: dict[str, np.ndarray]  # parameters of the start that are used, by path
    head: HeadStart  # those of them that the head starts from
    account: Account | None  # of what was loaded; None: from scratch
    task: Task
    train: Split
    final: Judge  # of the state that counts
    interim: Judge  # after each epoch: that one, or a quicker one of some examples
    tests: dict[str, Split]  # predicted at the end
    choice: fitting.Choice  # of settings that were left unset
    unset: tuple[str, ...]  # their names
    trivial: Trivial  # what answering the scored ones without reading reaches

    @property
    def config(self) -> Config:
        return self.program.config

    @property
    def scored(self) -> dict[str, Split]:
        return self.final.splits

    @property
    def epoch_steps(self) -> int:
        """Optimizer steps of an epoch."""
        return _epoch_steps(self.train, self.config)

    @property
    def epoch_ends(self) -> list[int]:
        """The steps after which an epoch, or the last part of one, is over."""
        total = self.config.total_steps
        return [*range(self.epoch_steps, total, self.epoch_steps), total]

    def trial_folder(self, number: int) -> epath.Path:
        """Where a trial's files are."""
        return self.folder / workdir.TRIALS / str(number)

    def metric_name(self, name: str) -> str:
        """The name of a score in metrics.jsonl, where the first split's name is left out."""
        split, _, metric = name.partition('/')
        short = metric if split == self.task.headline.partition('/')[0] else name
        return f'finetune/{self.task.name}/{short}'


def open_run(settings: Settings, folder: epath.Path) -> Run:
    """Reads files and checkpoint, checks that they fit together, then makes functions of them."""
    spec = known.get(settings.task.name)
    refuse_steps(settings)
    if settings.init_from is not None:
        check_named(settings.init_from)
    # Mistakes in the files come before a device, a checkpoint and a program, which take long.
    asked = fill(settings, row_length=spec.row_length)
    _check_rows(asked)
    loaded, held_out = splits.read_train(asked)
    scored = splits.read_scored(asked, loaded.task, held_out)
    tests = splits.read_tests(asked, loaded.task)
    distributed.initialize()
    if settings.init_from is not None:
        origin = chosen(settings.init_from, folder)
        settings = dataclasses.replace(settings, init_from=origin)
    start = load_start(settings)
    model = fill(settings, start.stored).model
    found = fitting.origin(start.about, model, start.where)
    settings, choice = fitting.choose(settings, found)
    row_length = min(spec.row_length, model.max_positions)
    config = resolve(settings, jax.devices()[0].platform, start.stored, row_length)
    checks.check_positions(config)
    task = _with_choices(loaded.task, config)
    task = class_weights.weighted(task, loaded.examples, config.task.class_weights)

    def split(one: Loaded, train: bool = False) -> Split:
        return splits.make_split(config, start.tokenizer, one._replace(task=task), train)

    train = split(loaded, train=True)
    unset = (*choice.names, *(['task.epochs'] if config.task.epochs is None else []))
    config = _with_steps(config, train, task, choice)
    _check_average(config, train)
    workdir.check_same_run(folder, config)
    source, account = encoder_params(start, config)
    program = build_program(config, start.tokenizer.vocab_size, task)
    head = _head_start(program, start, task)
    examples = {name: one.examples for name, one in scored.items()}
    tested = {name: one.examples for name, one in tests.items()}
    final = Judge(
        program.answerer, {name: split(one) for name, one in scored.items()}, task.headline
    )
    return Run(
        program=program,
        folder=folder,
        start=start,
        source={**source, **head.arrays},
        head=head,
        account=account,
        task=task,
        train=train,
        final=final,
        interim=_quicker(program, start, task, scored) or final,
        tests={name: split(one) for name, one in tests.items()},
        choice=choice,
        unset=unset,
        trivial=trivial(task, loaded.examples, examples | tested),
    )


def _quicker(
    program: Program, start: Start, task: Task, scored: Mapping[str, Loaded]
) -> Judge | None:
    """The judge by samples, whose names end in `_SAMPLE`, of a kind that has a quick way."""
    config, quick = program.config, KINDS[task.kind].quick
    if quick is None or config.task.interim_rows is None:
        return None
    samples = {}
    for name, one in scored.items():
        some = splits.sample(one._replace(task=task), config.task.interim_rows)
        samples[name + _SAMPLE] = splits.make_split(config, start.tokenizer, some)
    answerer = task_answerer(config, start.tokenizer.vocab_size, quick(task), program.mesh)
    return Judge(answerer, samples, task.headline.replace('/', f'{_SAMPLE}/'))


def _head_start(program: Program, start: Start, task: Task) -> HeadStart:
    """What the task's head starts from, which must have its shapes."""
    found = KINDS[task.kind].start(task, start.params)
    shapes = {path: x.shape for path, x in trees.named_leaves(program.abstract_state.params)}
    for path, x in found.arrays.items():
        if shapes.get(path) != x.shape:
            raise ConfigError(
                f'{found.setting}, but {path} has the shape {shapes.get(path)}, and that of '
                f'{start.where} has {x.shape}: type {found.otherwise}'
            )
    return found


def _with_choices(task: Task, config: Config) -> Task:
    """The task of the files with what only the checkpoint decides."""
    chosen = tasks.from_config(config)
    return dataclasses.replace(
        task,
        style=chosen.style,
        null_threshold=chosen.null_threshold,
        row_length=chosen.row_length,
        image_size=chosen.image_size,
    )


def _check_rows(config: Settings) -> None:
    """Refuses batches of fewer rows than the loss needs, which would learn nothing."""
    least = KINDS[known.get(config.task.name).kind].least_rows
    parts = max(config.optimizer.microbatches, config.optimizer.clip_replicas)
    if config.batch_size < least * parts:
        cut = '' if parts == 1 else f', computed in {parts} parts (config.optimizer)'
        raise ConfigError(
            f'config.batch_size is {config.batch_size}{cut}, but {config.task.name} learns from '
            f'the other rows of a batch, so that one row alone teaches nothing: type '
            f'--config.batch_size={max(TASK_BATCH_SIZE, least * parts)}, or another number from '
            f'{least * parts} on'
        )


def refuse_steps(config: Settings) -> None:
    """Refuses lengths in steps, which fine-tuning and its evaluation do not have."""
    for name, advice in _IN_STEPS.items():
        asked = fields.get(config, name)
        if asked != fields.get(recipe({}), name):
            raise ConfigError(
                f'config.{name} is {asked!r}, but fine-tuning counts in epochs of its files: '
                f'{advice}'
            )


def _check_average(config: Config, train: Split) -> None:
    wanted, steps = config.task.average_last, _epoch_steps(train, config)
    epochs = -(-config.total_steps // steps)
    if wanted is not None and wanted > epochs:
        raise ConfigError(
            f'config.task.average_last is {wanted}, but there are {counted(epochs, "epochs")}: '
            'average fewer, or make config.task.epochs larger'
        )


def _epoch_steps(train: Split, config: Config) -> int:
    return -(-len(train.rows) // config.batch_size)


def _with_steps(config: Config, train: Split, task: Task, choice: fitting.Choice) -> Config:
    """The config with the length of a trial, which follows from the task's rows and epochs."""
    epoch_steps, epochs = _epoch_steps(train, config), config.task.epochs
    if epochs is None:
        epochs = choice.epochs(task.spec.epochs, epoch_steps)
    steps = max(1, int(epoch_steps * epochs))
    schedule = dataclasses.replace(
        config.optimizer, warmup_steps=round(config.task.warmup_rate * steps)
    )
    asked = dataclasses.replace(config.task, epochs=epochs)
    return dataclasses.replace(config, total_steps=steps, optimizer=schedule, task=asked)
