"""A config brought to life: text, mesh, objective and compiled functions, for every door."""

import functools
from collections.abc import Callable, Sequence
from typing import NamedTuple

import jax
import numpy as np
from etils import epath
from jax.sharding import Mesh

from electra_jax import init_from
from electra_jax.config import checks, kernels
from electra_jax.config.settings import Config
from electra_jax.core import rng, trees
from electra_jax.core.errors import CheckpointError, ConfigError, DataError
from electra_jax.corpus import job as corpora
from electra_jax.data import manifest, pipeline
from electra_jax.model import bind
from electra_jax.objectives import table
from electra_jax.objectives.definition import Vocabulary
from electra_jax.optim import optimizer, schedules
from electra_jax.parallel import mesh as meshes
from electra_jax.parallel import rules
from electra_jax.tokenizers import load
from electra_jax.tokenizers.api import Tokenizer
from electra_jax.train import evaluate as evaluation
from electra_jax.train import state, step, workdir


class Program(NamedTuple):
    """The functions of a config on a mesh; needs no text, only a vocabulary."""

    config: Config
    mesh: Mesh
    vocabulary: Vocabulary
    objective: table.Objective
    abstract: state.TrainState  # shapes and shardings
    init_params: Callable[[], trees.Tree]
    make_state: Callable[[], state.TrainState]
    step: Callable  # jitted: state, batch -> state, metrics
    examine: Callable  # jitted: state, batch -> step.Examination; compiles when it is used

    def fresh_state(self) -> state.TrainState:
        """The state at step 0, on the mesh."""
        shardings = jax.tree.map(lambda leaf: leaf.sharding, self.abstract)
        return jax.jit(self.make_state, out_shardings=shardings)()


class Run(NamedTuple):
    """A program with its text and its folder."""

    program: Program
    folder: epath.Path
    corpora: list[manifest.Corpus]
    weights: list[float]  # share of rows from each corpus
    tokenizer: Tokenizer

    @property
    def config(self) -> Config:
        """Of the program."""
        return self.program.config


def build_program(
    config: Config, vocabulary: Vocabulary, devices: list[jax.Device] | None = None
) -> Program:
    """A config as functions over a mesh; compiles nothing yet.

    Args:
        config: for the platform of the devices.
        vocabulary: of the tokenizer.
        devices: all there are, if not given.

    Raises:
        ConfigError: mesh or batch do not fit the devices.
    """
    checks.check_positions(config)
    mesh = meshes.make_mesh(config.mesh, devices)
    kernels.check(config, mesh.devices.flat[0].platform)
    meshes.check_batch(config, mesh, meshes.num_hosts(mesh))
    objective = table.build(config, vocabulary)
    settings = config.optimizer
    init_key = rng.stream_key(rng.root_key(config.seed), 0, 'init')
    init_params = functools.partial(
        bind.init, config.model, vocabulary.size, init_key, objective.parts
    )
    make_optimizer = functools.partial(optimizer.build, config)
    abstract = state.abstract_state(init_params, make_optimizer, mesh)
    parts = (
        objective.draw,
        objective.loss,
        objective.prepare,
        objective.alone,
        make_optimizer(abstract.params),
    )
    train_step = functools.partial(
        step.train_step,
        *parts,
        schedules.from_config(config, settings.learning_rate),
        config.seed,
        settings,
        config.health,
    )
    examine = functools.partial(step.examine_step, *parts, config.seed, settings)
    return Program(
        config,
        mesh,
        vocabulary,
        objective,
        abstract,
        init_params,
        functools.partial(state.fresh_state, init_params, make_optimizer),
        step.compile_train_step(train_step, abstract, mesh),
        step.compile_examination(examine, mesh),
    )


def open_run(config: Config, folder: epath.Path) -> Run:
    """Opens the text (building the corpus if need be), then devices and functions.

    Args:
        config: of the run.
        folder: the workdir; need not exist.

    Raises:
        UserError: the workdir holds another run, the text cannot be used, or the mesh or batch
            does not fit the devices.
    """
    checks.check_positions(config)
    workdir.check_same_run(folder, config)
    if config.job == 'evaluate' and not workdir.has_checkpoint(folder):
        raise CheckpointError(
            f'no checkpoint in {folder / "checkpoints"}: train first (--config.job=pretrain), or '
            'name the run with --workdir'
        )
    return open_text(config, folder)


def open_text(config: Config, folder: epath.Path) -> Run:
    """The text of a config with its program; see `open_run`, which looks at the workdir first."""
    opened, weights = open_corpora(config)
    tokenizer = opened[0].tokenizer()
    unigram = log_unigram(config, tokenizer, opened, weights)
    vocabulary = Vocabulary(tokenizer.vocab_size, tokenizer.special, unigram)
    return Run(build_program(config, vocabulary), folder, opened, weights, tokenizer)


def open_corpora(config: Config) -> tuple[list[manifest.Corpus], list[float]]:
    """The corpora of `config.data.path`, built first where they are missing.

    Raises:
        ConfigError: there is neither a corpus nor a source to build it from.
    """
    if config.data.path is None:
        raise ConfigError(
            'config.data.path is not set: type --config.data.path=FOLDER with shards made by '
            'python -m electra_jax.prepare'
        )
    paths = pipeline.parse_paths(config.data.path)
    if len(paths) == 1 and not (epath.Path(paths[0][0]) / manifest.FILE_NAME).exists():
        if config.data.source is None:
            raise DataError(
                f'no corpus in {paths[0][0]}, and config.data.source does not say what to build '
                "it from: type --config.data.source='text:FILES/*.txt', for example"
            )
        corpora.build_corpus(config.data)
    opened = [manifest.load_corpus(path, config.data.verify, print) for path, _ in paths]
    asked = config.data.tokenizer
    tokenizer_hash = load.open_tokenizer(asked).hash if asked.path else None
    for one in opened:
        manifest.check_corpus(one, config.data, tokenizer_hash)
    return opened, [weight for _, weight in paths]


def begin(run: Run) -> state.TrainState:
    """The state at step 0, from nothing or from `config.init_from`; says what came from there.

    Raises:
        UserError: the checkpoint cannot be read or does not fit.
    """
    program = run.program
    current = program.fresh_state()
    if run.config.init_from is None:
        return current
    params, account = init_from.all_params(
        run.config, run.tokenizer, program.init_params, program.abstract.params
    )
    print('\n'.join(init_from.account_lines(run.config, account)), flush=True)
    return current._replace(params=params)


def put_batch(mesh: Mesh, batch_size: int, host_batch: pipeline.HostBatch) -> dict[str, jax.Array]:
    """This host's rows as its part of the global arrays [B, L]."""

    host_batch = {name: x for name, x in host_batch.items() if name != pipeline.RECORDS}

    def put(x: np.ndarray) -> jax.Array:
        shape = (batch_size, *x.shape[1:])
        return jax.make_array_from_process_local_data(rules.batch_sharding(mesh, shape), x, shape)

    return {name: put(x) for name, x in host_batch.items()}


def abstract_batch(program: Program) -> dict[str, jax.ShapeDtypeStruct]:
    """What the program's step takes, without any array being made."""
    shape = (program.config.batch_size, program.config.data.row_length)
    sharding = rules.batch_sharding(program.mesh, shape)
    names = ('tokens', 'documents', 'positions', 'types')
    return {name: jax.ShapeDtypeStruct(shape, np.int32, sharding=sharding) for name in names}


def host_slice(config: Config) -> pipeline.Slice:
    """This host's share of each batch."""
    return pipeline.Slice(config.batch_size, jax.process_index(), jax.process_count())


def device_batches(run: Run) -> pipeline.DeviceBatches:
    """Training batches on the mesh."""
    config = run.config
    rows = pipeline.Rows(run.corpora, 'train')
    batches = pipeline.train_batches(
        rows, run.weights, host_slice(config), config.seed, config.data.prefetch
    )
    return pipeline.DeviceBatches(
        batches, functools.partial(put_batch, run.program.mesh, config.batch_size)
    )


def held_out(run: Run) -> list[dict[str, jax.Array]]:
    """The held-out batches of a run, on the mesh."""
    config = run.config
    rows = pipeline.Rows(run.corpora, 'validation')
    host_batches = pipeline.held_out_batches(rows, host_slice(config), config.eval.rows)
    return [put_batch(run.program.mesh, config.batch_size, batch) for batch in host_batches]


def make_evaluate(run: Run) -> Callable[[trees.Tree], dict[str, float]]:
    """params -> metrics on the run's held-out text; nothing where there is none."""
    batches = held_out(run)
    if not batches:
        return lambda params: {}
    objective = run.program.objective
    totals = step.compile_totals(objective.totals, objective.draw, run.program.mesh)
    return lambda params: evaluation.evaluate(totals, objective.summary, params, batches)


def log_unigram(
    config: Config,
    tokenizer: Tokenizer,
    opened: Sequence[manifest.Corpus],
    weights: Sequence[float],
) -> np.ndarray:
    """log p of single tokens in the training text [V], each count raised by one; 0 in padding."""
    probs = np.zeros(tokenizer.vocab_size)
    for one, weight in zip(opened, weights, strict=True):
        counts = one.unigram() + 1.0
        probs += weight / sum(weights) * counts / counts.sum()
    padding = bind.vocab_rows(config.model, tokenizer.vocab_size) - len(probs)
    return np.pad(np.log(probs), (0, padding)).astype(np.float32)


def about(run: Run) -> dict:
    """What every checkpoint says of itself, the tokenizer whole."""
    return {
        'config': workdir.as_json(run.config),
        'tokenizer': run.tokenizer.to_json(),
        'tokenizer_hash': run.tokenizer.hash,
        'corpora': [
            {'path': str(one.path), 'fingerprint': one.fingerprint, 'weight': weight}
            for one, weight in zip(run.corpora, run.weights, strict=True)
        ],
    }


def check_checkpoint(checkpoint: dict, run: Run, same_text: bool) -> None:
    """Refuses to go on with text that the model was not trained on.

    Args:
        checkpoint: what it says of itself (`about`).
        run: what is asked for.
        same_text: whether the very rows must be the same, not the tokenizer alone.

    Raises:
        ConfigError: another tokenizer.
        CheckpointError: other rows.
    """
    for one in run.corpora:
        manifest.check_corpus(one, run.config.data, checkpoint['tokenizer_hash'])
    before = [(one['fingerprint'], one['weight']) for one in checkpoint['corpora']]
    now = [(one.fingerprint, w) for one, w in zip(run.corpora, run.weights, strict=True)]
    if same_text and before != now:
        text = ','.join(f'{one["path"]}={one["weight"]}' for one in checkpoint['corpora'])
        raise CheckpointError(
            f'{run.folder} was trained on {text}, whose rows or weights are not those of '
            f'{run.config.data.path}: name that text with --config.data.path, or another --workdir'
        )
