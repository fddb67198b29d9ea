"""Fine-tuning brought to life: a task's files, a model to start from, and trials of it.

A workdir of fine-tuning holds trials/0, trials/1, ...: each a checkpoint that is read alone by
`predict` and `--config.job=evaluate`, with its result in result.json, written last. So a trial
without one is not finished, and the same command does it again.
"""

import dataclasses
import functools
import json
import math
import pathlib
import shutil
from collections.abc import Callable, Iterator, Mapping
from typing import Any, NamedTuple

import jax
import numpy as np
from etils import epath
from jax.experimental import multihost_utils
from jax.sharding import Mesh

from electra_jax.config import presets, validate
from electra_jax.config.presets import HeadShape
from electra_jax.config.schema import Config, ModelConfig
from electra_jax.core import distributed, rng, trees
from electra_jax.core.errors import CheckpointError, ConfigError
from electra_jax.model import api
from electra_jax.optim import optimizer, schedules
from electra_jax.parallel import mesh as meshes
from electra_jax.parallel import rules
from electra_jax.tasks import (
    batches,
    features,
    layouts,
    losses,
    predictions,
    readers,
    results,
    table,
    token_rows,
    trained,
)
from electra_jax.tasks.layouts import Place
from electra_jax.tasks.predictions import Predictions
from electra_jax.tasks.readers import Known, Loaded
from electra_jax.tasks.results import Trial
from electra_jax.tasks.token_rows import Rows
from electra_jax.tasks.trained import TrainedTask
from electra_jax.tokenizers import load
from electra_jax.tokenizers.api import Tokenizer
from electra_jax.train import checkpoint, loop, state, step, trial, workdir
from electra_jax.train.writers import Metrics, Terminal

TRIALS = 'trials'  # folder of a workdir
RESULT = 'result.json'  # of a trial, written when it is finished


class Start(NamedTuple):
    """What a run starts from.

    Attributes:
      where: the checkpoint, as it was named; None: from scratch.
      params: NumPy arrays of its parameters; empty from scratch.
      about: what it says of itself.
      model: resolved.
      tokenizer: of the checkpoint, or of config.data.tokenizer.
    """

    where: str | None
    params: trees.Tree
    about: Mapping[str, Any]
    model: ModelConfig
    tokenizer: Tokenizer


class Program(NamedTuple):
    """The functions of a fine-tuning config on a mesh, each compiled once for each row length.

    Attributes:
      config: resolved, with total_steps and warm-up those of the task's files.
      mesh: of the run.
      vocab_size: tokens, unpadded.
      head: of the task.
      abstract: shapes and shardings of the state.
      make_state: source parameters by name, seed -> the state at step 0.
      step: jitted: state, batch, seed -> state, metrics.
      answers: jitted: params, batch -> the head's outputs.
    """

    config: Config
    mesh: Mesh
    vocab_size: int
    head: HeadShape
    abstract: state.TrainState
    make_state: Callable[[Mapping[str, np.ndarray], np.uint32], state.TrainState]
    step: Callable
    answers: Callable


def open_start(config: Config) -> Start:
    """Reads the checkpoint of `config.init_from`, or settles what scratch needs.

    Raises:
        ConfigError: from scratch without a tokenizer, or settings at odds with the checkpoint.
        CheckpointError: it cannot be read.
    """
    if config.init_from is None:
        if config.data.tokenizer.path is None:
            raise ConfigError(
                'config.init_from is not set: type --config.init_from=WORKDIR of a pre-trained '
                'model. To train from scratch, --config.data.tokenizer.path=vocab.txt is needed'
            )
        tokenizer = load.open_tokenizer(config.data.tokenizer)
        return Start(None, {}, {}, config.model, tokenizer)
    params, about = checkpoint.read_params(epath.Path(config.init_from))
    return start_of(config, config.init_from, params, about)


def start_of(config: Config, where: str, params: trees.Tree, about: Mapping[str, Any]) -> Start:
    """A start from parameters and what their checkpoint says of itself."""
    try:
        stored, tokenizer = about['config']['model'], load.from_json(about['tokenizer'])
    except (KeyError, TypeError) as error:
        raise CheckpointError(
            f'{where} does not say what model or tokenizer it has ({error!r}): it is no '
            'checkpoint of this program, or is damaged'
        ) from error
    model = presets.inherit_model(config.model, stored)
    if config.data.tokenizer.path is not None:
        asked = load.open_tokenizer(config.data.tokenizer)
        if asked.hash != tokenizer.hash:
            raise ConfigError(
                f'config.data.tokenizer.path is {config.data.tokenizer.path!r}, but {where} was '
                'trained with another tokenizer, which it holds itself: leave the setting out'
            )
    return Start(where, params, about, model, tokenizer)


def resolve(config: Config, model: ModelConfig, steps: int) -> Config:
    """The config with nothing open: model, length and warm-up.

    Raises:
        ConfigError: the model does not allow it, or rows are longer than its positions.
    """
    platform = jax.devices()[0].platform
    config = dataclasses.replace(
        config,
        model=presets.resolve_platform(model, platform),
        total_steps=steps,
        optimizer=dataclasses.replace(
            config.optimizer, warmup_steps=round(config.task.warmup_rate * steps)
        ),
    )
    validate.validate(config)
    validate.check_positions(config)
    return config


def build_program(
    config: Config, vocab_size: int, head: HeadShape, devices: list[jax.Device] | None = None
) -> Program:
    """A config as functions over a mesh; compiles nothing yet.

    Args:
        config: from `resolve`.
        vocab_size: tokens of the tokenizer, unpadded.
        head: of the task.
        devices: all there are, if not given.

    Raises:
        ConfigError: mesh or batch do not fit the devices.
    """
    mesh = meshes.make_mesh(config.mesh, devices)
    meshes.check_batch(config, mesh, jax.process_count())
    settings = config.optimizer
    learning_rate = schedules.warmup_decay(
        settings.learning_rate, settings.warmup_steps, config.total_steps, settings.decay_power
    )
    init = functools.partial(initial_params, config.model, vocab_size, head)
    make_optimizer = functools.partial(optimizer.adamw, settings, learning_rate)
    abstract = state.abstract_state(functools.partial(init, {}, np.uint32(0)), make_optimizer, mesh)
    loss = functools.partial(
        losses.loss, config.model, vocab_size, head, config.task.answerable_weight
    )
    train_step = functools.partial(
        step.train_step,
        functools.partial(losses.draw, head.kind, config.task.sum_loss),
        loss,
        make_optimizer(abstract.params),
        learning_rate,
    )

    def seeded_step(current: state.TrainState, batch: Mapping, seed: jax.Array):
        # The seed is data, not a constant of the program: all trials share one compilation.
        return train_step(seed, settings.microbatches, current, batch)

    def make_state(source: Mapping[str, jax.Array], seed: jax.Array) -> state.TrainState:
        return state.fresh_state(functools.partial(init, source, seed), make_optimizer)

    shardings = jax.tree.map(lambda leaf: leaf.sharding, abstract)
    return Program(
        config,
        mesh,
        vocab_size,
        head,
        abstract,
        jax.jit(make_state, out_shardings=shardings),
        step.compile_train_step(seeded_step, abstract, mesh),
        compile_answers(config.model, vocab_size, head, mesh),
    )


def compile_answers(model: ModelConfig, vocab_size: int, head: HeadShape, mesh: Mesh) -> Callable:
    """params, batch -> the head's outputs, which every host sees whole."""
    answers = functools.partial(api.task_answers, model, vocab_size, head)
    return jax.jit(step.on_mesh(answers, mesh), out_shardings=rules.replicated(mesh))


def initial_params(
    model: ModelConfig,
    vocab_size: int,
    head: HeadShape,
    source: Mapping[str, jax.Array],
    seed: jax.Array,
) -> trees.Tree:
    """Parameters at step 0: those of `source` by name, all others fresh by the seed."""
    key = rng.stream_key(rng.root_key(seed), 0, 'init')
    fresh = api.init_encoder(model, vocab_size, key)
    fresh['task_head'] = api.init_head(model, head, jax.random.fold_in(key, 1))
    names = [name for name, _ in trees.named_leaves(fresh)]
    leaves, structure = jax.tree.flatten(fresh)
    return structure.unflatten(
        [source.get(name, leaf) for name, leaf in zip(names, leaves, strict=True)]
    )


class Taken(NamedTuple):
    """What of a start's parameters a program uses."""

    source: dict[str, np.ndarray]  # by name
    fresh: list[str]  # parameters of the program that the start lacks
    unused: list[str]  # parts of the start that the program has no place for


def take(start: Start, params: trees.Tree) -> Taken:
    """Matches a start's parameters with a program's, by name.

    Args:
        start: where from.
        params: of the program, abstract.

    Raises:
        CheckpointError: a parameter has another shape there.
    """
    have = dict(trees.named_leaves(start.params))
    need = dict(trees.named_leaves(params))
    source = {name: np.asarray(have[name]) for name in need if name in have}
    wrong = [
        f'{name} is {list(value.shape)} there, {list(need[name].shape)} here'
        for name, value in source.items()
        if value.shape != need[name].shape
    ]
    if wrong:
        raise CheckpointError(
            f'{start.where} does not fit the model:\n  ' + '\n  '.join(wrong) + '\nThe model is '
            "the checkpoint's own where no --config.model setting says otherwise"
        )
    unused = sorted({name.split('/')[0] for name in have if name not in need})
    return Taken(source, sorted(set(need) - set(source)), unused)


def put(mesh: Mesh, host_batch: Mapping[str, np.ndarray]) -> dict[str, jax.Array]:
    """A global batch, which every host holds whole, as arrays over the mesh."""

    def place(x: np.ndarray) -> jax.Array:
        per_host = len(x) // jax.process_count()
        mine = x[jax.process_index() * per_host :][:per_host]
        sharding = rules.batch_sharding(mesh, x.shape)
        return jax.make_array_from_process_local_data(sharding, mine, x.shape)

    return {name: place(x) for name, x in host_batch.items()}


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
    sizes = batches.shapes(
        rows.tokens.lengths(), task.row_length, config.mesh.sequence, config.task.bucketing
    )
    return Split(loaded, rows, sizes, tokenizer.special.pad)


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


def origin_line(run: 'FineTuning') -> str:
    """What the parameters start from, in words."""
    if run.start.where is None:
        return 'from scratch: no parameter comes from a pre-trained model'
    fresh = sorted({name.split('/')[0] for name in run.taken.fresh})
    line = f'from {run.start.where}: {len(run.taken.source)} arrays; fresh: {", ".join(fresh)}'
    return line + (f'; not used: {", ".join(run.taken.unused)}' if run.taken.unused else '')


def train_batches(
    program: Program, split: Split, seed: int
) -> Iterator[tuple[dict[str, jax.Array], dict[str, np.ndarray]]]:
    """Endless batches on the mesh, each with its copy in host memory."""
    size = program.config.batch_size
    lengths = split.rows.tokens.lengths()
    for batch in batches.endless(lengths, split.sizes, size, seed):
        host_batch = split.host_batch(batch, size)
        yield put(program.mesh, host_batch), host_batch


class Answerer(NamedTuple):
    """A model that answers: what evaluation and prediction need of a program."""

    mesh: Mesh
    batch_size: int
    answers: Callable

    def outputs(self, params: trees.Tree, split: Split) -> list[Mapping[str, np.ndarray]]:
        """The head's outputs for each row of a split, in the order of the rows."""
        found: list[Mapping[str, np.ndarray]] = [{}] * len(split.rows)
        pending: tuple[batches.Batch, Any] | None = None

        def collect() -> None:
            if pending is None:
                return
            batch, arrays = pending[0], jax.device_get(pending[1])
            for slot, row in enumerate(batch.rows):
                found[row] = {name: x[slot] for name, x in arrays.items()}

        for batch in batches.in_order(split.rows.tokens.lengths(), split.sizes, self.batch_size):
            host_batch = split.host_batch(batch, self.batch_size)
            arrays = self.answers(params, put(self.mesh, host_batch))
            collect()  # of the batch before, while this one is computed
            pending = batch, arrays
        collect()
        return found

    def predict(self, params: trees.Tree, task: TrainedTask, split: Split) -> Predictions:
        """What the model says of a split's examples."""
        examples = split.loaded.examples
        return predictions.predict(task, examples, split.rows, self.outputs(params, split))


# ---------------------------------------------------------------------------------------------
# Trials


class FineTuning(NamedTuple):
    """All that the trials of a run share."""

    program: Program
    folder: epath.Path
    start: Start
    taken: Taken
    task: TrainedTask
    tokenizer: Tokenizer
    train: Split
    scored: dict[str, Split]
    tests: dict[str, Split]
    epoch_steps: int

    @property
    def config(self) -> Config:
        """Of the program."""
        return self.program.config

    @property
    def answerer(self) -> Answerer:
        """Of the program."""
        return Answerer(self.program.mesh, self.config.batch_size, self.program.answers)

    @property
    def headline(self) -> str:
        """'SPLIT/METRIC' that stands for the task."""
        return f'{next(iter(self.scored))}/{predictions.headline(self.task)}'


def open_fine_tuning(config: Config, folder: epath.Path) -> FineTuning:
    """Reads files and checkpoint, then makes functions of them.

    Args:
        config: as the door has it; its model may be open (`presets.inherits_model`).
        folder: the workdir; need not exist.

    Raises:
        UserError: files, checkpoint, settings or workdir do not fit together.
    """
    table.get(config.task.name)
    distributed.initialize()
    start = open_start(config)
    train = read_train(config)
    task = trained.settle(config, train.known)
    scored = read_scored(config, train.known)
    tests = read_tests(config, train.known)
    split = functools.partial(make_split, config, start.tokenizer, task)
    train_split = split(train, True)
    epoch_steps = -(-len(train_split.rows) // config.batch_size)
    epochs = task.spec.epochs if config.task.epochs is None else config.task.epochs
    config = resolve(config, start.model, max(1, int(epoch_steps * epochs)))
    workdir.check_same_run(folder, config)
    program = build_program(config, start.tokenizer.vocab_size, task.head())
    return FineTuning(
        program,
        folder,
        start,
        take(start, program.abstract.params),
        task,
        start.tokenizer,
        train_split,
        {name: split(loaded, False) for name, loaded in scored.items()},
        {name: split(loaded, False) for name, loaded in tests.items()},
        epoch_steps,
    )


class Outcome(NamedTuple):
    """How the trials ended."""

    trials: list[Trial]
    stopped_by: str | None  # the signal's name, if one ended them before their time


def run_trials(run: FineTuning) -> Outcome:
    """All trials that are not finished yet, then the results of all."""
    config = run.config
    done = finished(run)
    first = next((k for k in range(config.trials) if k not in done), config.trials)
    steps = config.total_steps
    with trial.files(run.folder, first * steps, config.trials * steps, config.log.tensorboard) as (
        writer,
        terminal,
        stop,
    ):
        for number in range(config.trials):
            if number in done:
                terminal.say(f'trial {number + 1} of {config.trials} is done already')
                continue
            found = run_trial(run, number, writer, terminal, stop)
            if found is None:
                return Outcome(list(done.values()), stop.name)
            done[number] = found
            keep_best(run, done)
        trials = [done[number] for number in range(config.trials)]
        write_summary(run, trials, writer)
    return Outcome(trials, None)


def run_trial(
    run: FineTuning, number: int, writer: Metrics, terminal: Terminal, stop: loop.Stop
) -> Trial | None:
    """One trial to its end and its folder, or None where a signal stopped it."""
    config, program = run.config, run.program
    seed = (config.seed + number) % 2**32
    terminal.say(f'trial {number + 1} of {config.trials}, seed {seed}')
    latest: dict[str, Predictions] = {}
    notes: dict[str, tuple[str, ...]] = {}

    def evaluate(params: trees.Tree) -> dict[str, float]:
        for name, split in run.scored.items():
            latest[name] = run.answerer.predict(params, run.task, split)
        return scores_of(run, latest, notes)

    plan = trial.Plan(
        seed=seed,
        steps=config.total_steps,
        epoch_steps=run.epoch_steps,
        before=number * config.total_steps,
        log_every=config.log.every_steps,
        names=functools.partial(metric_name, run),
        keep=config.task.keep,
        score=lambda scores: scores[run.headline],
    )
    parts = trial.Parts(
        program.step,
        train_batches(program, run.train, seed),
        evaluate,
        writer,
        terminal,
        stop,
    )
    fresh = program.make_state(run.taken.source, np.uint32(seed))
    outcome = trial.train(plan, parts, fresh, run.folder)
    if outcome.stopped_by:
        return None
    if outcome.scores is not outcome.history[-1][1]:
        evaluate(outcome.params)  # the best state's predictions, not the last one's
    for name, split in run.tests.items():
        latest[name] = run.answerer.predict(outcome.params, run.task, split)
    scores = scores_of(run, latest, notes)
    found = Trial(seed, scores, tuple(note for part in notes.values() for note in part))
    save(run, number, outcome, found, latest)
    return found


def scores_of(
    run: FineTuning, found: Mapping[str, Predictions], notes: dict[str, tuple[str, ...]]
) -> dict[str, float]:
    """'SPLIT/METRIC' -> value, for the splits that have answers; `notes` is filled."""
    scores = {}
    for name, one in found.items():
        if predictions.answered(one):
            scored = predictions.score(one)
            notes[name] = tuple(f'{name}: {note}' for note in scored.notes)
            scores |= {f'{name}/{metric}': value for metric, value in scored.values.items()}
    return scores


def metric_name(run: FineTuning, name: str) -> str:
    """As metrics.jsonl has it: the first split goes without its name."""
    split, _, metric = name.partition('/')
    short = metric if split == next(iter(run.scored)) else name
    return f'finetune/{run.task.name}/{short}'


def save(
    run: FineTuning,
    number: int,
    outcome: trial.Outcome,
    found: Trial,
    predicted: Mapping[str, Predictions],
) -> None:
    """Writes a trial's folder; its result last, which makes it a finished one."""
    folder = run.folder / TRIALS / str(number)
    on_first_host(lambda: shutil.rmtree(folder, ignore_errors=True))
    if run.config.task.save != 'none':
        checkpoint.write_params(folder, outcome.params, about(run, found))
    history = [{'step': at, **scores} for at, scores in outcome.history]

    def write() -> None:
        for name, one in predicted.items():
            predictions.write(folder / 'predictions', name, one)
        content = {**found._asdict(), 'history': history, 'rows': run.train.rows.digest()}
        results.write_json(folder / RESULT, content)

    on_first_host(write)


def on_first_host(act: Callable[[], None]) -> None:
    """Acts on the first host while the others wait for it."""
    if jax.process_index() == 0:
        act()
    if jax.process_count() > 1:
        multihost_utils.sync_global_devices('files of a trial')


def about(run: FineTuning, found: Trial) -> dict[str, Any]:
    """What a trial's checkpoint says of itself."""
    return {
        'config': workdir.as_json(run.config),
        'tokenizer': run.tokenizer.to_json(),
        'tokenizer_hash': run.tokenizer.hash,
        'task': trained.to_json(run.task),
        'seed': found.seed,
        'scores': dict(found.metrics),
    }


def finished(run: FineTuning) -> dict[int, Trial]:
    """The trials that have a result, by number.

    Raises:
        CheckpointError: they were trained on other rows, or a result cannot be read.
    """
    done = {}
    for number in range(run.config.trials):
        path = run.folder / TRIALS / str(number) / RESULT
        if not path.exists():
            continue
        try:
            content = json.loads(path.read_text())
            found = Trial(content['seed'], content['metrics'], tuple(content['notes']))
            rows = content['rows']
        except (ValueError, KeyError, TypeError) as error:
            raise CheckpointError(
                f'{path} cannot be read ({error!r}): delete {path.parent}, and the same command '
                'does that trial again'
            ) from error
        if rows != run.train.rows.digest():
            raise CheckpointError(
                f'{path.parent} was trained on other rows than those of {run.config.data.path}: '
                'name those files with --config.data.path, or another --workdir'
            )
        done[number] = found
    return done


def keep_best(run: FineTuning, done: Mapping[int, Trial]) -> None:
    """With task.save at 'best', deletes the parameters of all trials but the best so far."""
    if run.config.task.save != 'best':
        return
    best = max(done, key=lambda number: done[number].metrics[run.headline])
    for number in done:
        if number != best:
            folder = run.folder / TRIALS / str(number) / checkpoint.FOLDER
            on_first_host(functools.partial(shutil.rmtree, folder, ignore_errors=True))


def write_summary(run: FineTuning, trials: list[Trial], writer: Metrics) -> None:
    """results.json, results.md, and the spread over the trials in the metrics."""
    spread = {
        f'{metric_name(run, name)}_{part}': value
        for name, found in results.summarize(trials).items()
        for part, value in found._asdict().items()
        if part in ('median', 'mean', 'standard_deviation') and value is not None
    }
    writer.write(run.config.total_steps * run.config.trials, spread)
    origin = {'init_from': run.start.where, 'config': workdir.as_json(run.config)}
    on_first_host(
        lambda: results.write_results(run.folder, run.task.name, run.headline, trials, origin)
    )


# ---------------------------------------------------------------------------------------------
# Trials read back


class Tuned(NamedTuple):
    """A fine-tuned model on the devices, ready to answer.

    Attributes:
      where: its folder.
      params: on the mesh.
      task: that it was trained on.
      tokenizer: its own.
      config: it was trained with, for the devices of now.
      answerer: its functions.
    """

    where: epath.Path
    params: trees.Tree
    task: TrainedTask
    tokenizer: Tokenizer
    config: Config
    answerer: Answerer


def trial_folders(folder: epath.Path) -> list[epath.Path]:
    """The folders with a fine-tuned model: `folder` itself, or its trials in their order.

    Raises:
        CheckpointError: there are none.
    """
    if workdir.has_checkpoint(folder) or (folder.name.isdigit() and (folder / 'params').exists()):
        return [folder]
    inside = folder / TRIALS
    numbers = (
        sorted(int(c.name) for c in inside.iterdir() if c.name.isdigit())
        if (inside.exists())
        else []
    )
    found = [inside / str(n) for n in numbers if workdir.has_checkpoint(inside / str(n))]
    if not found:
        raise CheckpointError(
            f'no fine-tuned model in {folder}: name the --workdir of a fine-tuning run, or one of '
            f'its {TRIALS}/ folders'
        )
    return found


def best_folder(folder: epath.Path) -> epath.Path:
    """Of several trials the one with the best headline score."""
    folders = trial_folders(folder)
    if len(folders) == 1:
        return folders[0]
    headline = (
        json.loads((folder / results.RESULTS_FILE).read_text())['headline']['metric']
        if ((folder / results.RESULTS_FILE).exists())
        else None
    )

    def score(one: epath.Path) -> float:
        path = one / RESULT
        found = json.loads(path.read_text())['metrics'] if path.exists() else {}
        return found.get(headline, -math.inf)

    return max(folders, key=score)


def open_tuned(
    where: epath.Path, params: trees.Tree, about: Mapping[str, Any], settings: Config
) -> Tuned:
    """A fine-tuned checkpoint with the functions to use it.

    Args:
        where: it was read from.
        params: NumPy arrays.
        about: what it says of itself.
        settings: its mesh, batch size and ways of computing are used.

    Raises:
        CheckpointError: it was not fine-tuned, or is damaged.
    """
    if 'task' not in about:
        raise CheckpointError(
            f'{where} holds a model that was not fine-tuned: fine-tune it first '
            f'(--config=configs/finetune/... --config.init_from={where})'
        )
    task = trained.from_json(about['task'], str(where))
    start = start_of(settings, str(where), params, about)
    platform = jax.devices()[0].platform
    config = dataclasses.replace(settings, model=presets.resolve_platform(start.model, platform))
    mesh = meshes.make_mesh(config.mesh)
    meshes.check_batch(config, mesh, jax.process_count())
    size = start.tokenizer.vocab_size
    answers = compile_answers(config.model, size, task.head(), mesh)
    placed = jax.device_put(params, rules.state_shardings(params, mesh))
    return Tuned(
        where,
        placed,
        task,
        start.tokenizer,
        config,
        Answerer(mesh, config.batch_size, answers),
    )


def evaluate(config: Config, folder: epath.Path) -> list[Trial]:
    """Scores every trial of a fine-tuning workdir on the task's files, and writes predictions.

    Raises:
        UserError: there is no trial, or the files cannot be used.
    """
    distributed.initialize()
    found = []
    for where in trial_folders(folder):
        params, about = checkpoint.read_params(where)
        tuned = open_tuned(where, params, about, config)
        if tuned.task.name != config.task.name:
            raise ConfigError(
                f'config.task.name is {config.task.name!r}, but {where} was fine-tuned on '
                f'{tuned.task.name!r}: use its recipe'
            )
        found.append(_score_again(config, tuned, about, folder))
    return found


def result_lines(headline: str, trials: list[Trial]) -> str:
    """The metrics over the trials, the headline first, shares and correlations times 100."""
    summary = results.summarize(trials)
    lines = []
    for name in sorted(summary, key=lambda name: name != headline):
        found = summary[name]
        text = f'{name:<24} {results.shown(name, found.median)}'
        if found.trials > 1:
            text += f'  median of {found.trials} trials; mean {results.shown(name, found.mean)}'
            text += f', standard deviation {results.shown(name, found.standard_deviation)}'
        lines.append(text)
    lines += [f'seed {trial.seed}: {note}' for trial in trials for note in trial.notes]
    return '\n'.join(lines)


def headline_of(config: Config, trials: list[Trial]) -> str:
    """'SPLIT/METRIC' that stands for the task of these trials."""
    spec = table.get(config.task.name)
    wanted = f'{spec.eval_splits[0]}/{spec.headline}'
    return wanted if wanted in trials[0].metrics else next(iter(trials[0].metrics))


def _score_again(config: Config, tuned: Tuned, about: Mapping[str, Any], folder: epath.Path):
    known = tuned.task.known
    splits = {**read_scored(config, known), **read_tests(config, known)}
    scores, notes = {}, []
    for name, loaded in splits.items():
        split = make_split(config, tuned.tokenizer, tuned.task, loaded, False)
        one = tuned.answerer.predict(tuned.params, tuned.task, split)
        if predictions.answered(one):
            scored = predictions.score(one)
            notes += [f'{name}: {note}' for note in scored.notes]
            scores |= {f'{name}/{metric}': value for metric, value in scored.values.items()}
        place = folder / 'evaluation' / tuned.where.name
        on_first_host(functools.partial(predictions.write, place, name, one))
    return Trial(about.get('seed', 0), scores, tuple(notes))
