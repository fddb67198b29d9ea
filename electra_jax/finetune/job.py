"""The trials of a fine-tuning run: the same task from several seeds, each with its own folder.

The workdir holds trials/0, trials/1, ...: each a checkpoint that is read alone by `predict` and
`--config.job=evaluate`, with its result in result.json, written last. So a trial without one is not
finished, and the same command does it again.
"""

import functools
import shutil
from collections.abc import Callable, Iterator, Mapping
from typing import Any, NamedTuple

import jax
import numpy as np
from etils import epath
from jax.experimental import multihost_utils

from electra_jax.config import checks
from electra_jax.config.fields import Settings
from electra_jax.config.resolve import resolve
from electra_jax.config.settings import Config
from electra_jax.core import files, trees
from electra_jax.core.errors import CheckpointError
from electra_jax.finetune import batches, known, loop, results
from electra_jax.finetune import split as splits
from electra_jax.finetune import task as tasks
from electra_jax.finetune.kinds.kind import Kind, Predictions, Task
from electra_jax.finetune.kinds.table import KINDS
from electra_jax.finetune.program import Program, build_program, put, refuse_steps, with_steps
from electra_jax.finetune.results import Trial
from electra_jax.finetune.split import Split
from electra_jax.init_from import Account, Start, encoder_params, load_start
from electra_jax.runtime import distributed
from electra_jax.tokenizers.api import Tokenizer
from electra_jax.train import checkpoint, health, workdir
from electra_jax.train.clock import EVALUATING, SAVING, Clock

RESULT = 'result.json'  # of a trial, written when it is finished


class FineTuning(NamedTuple):
    """What the trials of a run share.

    Attributes:
        program: the compiled functions, and the resolved config.
        folder: the workdir.
        start: the checkpoint that the run starts from.
        source: its parameters that are used, by path.
        account: of what was loaded; None: from scratch.
        task: of the run.
        tokenizer: of the model.
        train: the split that is trained on.
        scored: splits that are scored, by name.
        tests: splits that are predicted at the end, by name.
        epoch_steps: optimizer steps of an epoch.
    """

    program: Program
    folder: epath.Path
    start: Start
    source: dict[str, np.ndarray]
    account: Account | None
    task: Task
    tokenizer: Tokenizer
    train: Split
    scored: dict[str, Split]
    tests: dict[str, Split]
    epoch_steps: int

    @property
    def config(self) -> Config:
        """The resolved config."""
        return self.program.config

    @property
    def kind(self) -> Kind:
        """The kind of the task."""
        return KINDS[self.task.kind]

    def trial_folder(self, number: int) -> epath.Path:
        """Where a trial's files are."""
        return self.folder / workdir.TRIALS / str(number)


def open_fine_tuning(settings: Settings, folder: epath.Path) -> FineTuning:
    """Reads files and checkpoint, then makes functions of them.

    Args:
        settings: as typed.
        folder: the workdir; need not exist.

    Raises:
        UserError: files, checkpoint, settings or workdir do not fit together.
    """
    row_length = known.get(settings.task.name).row_length
    refuse_steps(settings)
    distributed.initialize()
    start = load_start(settings)
    config = resolve(settings, jax.devices()[0].platform, start.stored, row_length)
    checks.check_positions(config)
    train, held_out = splits.read_train(config)
    task = train.task
    scored = splits.read_scored(config, task, held_out)
    tests = splits.read_tests(config, task)
    split = functools.partial(splits.make_split, config, start.tokenizer, task)
    train_split = split(train, labelled=True)
    epoch_steps = -(-len(train_split.rows) // config.batch_size)
    epochs = task.spec.epochs if config.task.epochs is None else config.task.epochs
    config = with_steps(config, max(1, int(epoch_steps * epochs)))
    workdir.check_same_run(folder, config)
    source, account = encoder_params(start, config)
    return FineTuning(
        program=build_program(config, start.tokenizer.vocab_size, task),
        folder=folder,
        start=start,
        source=source,
        account=account,
        task=task,
        tokenizer=start.tokenizer,
        train=train_split,
        scored={name: split(loaded, labelled=False) for name, loaded in scored.items()},
        tests={name: split(loaded, labelled=False) for name, loaded in tests.items()},
        epoch_steps=epoch_steps,
    )


class Outcome(NamedTuple):
    """How the trials ended."""

    trials: list[Trial]
    stopped_by: str | None  # the signal's name, if one ended them early


def run_trials(run: FineTuning, clock: Clock) -> Outcome:
    """Runs all trials that are not finished yet, then writes the results of all.

    Args:
        run: opened.
        clock: of the process; its steps are counted over all trials.
    """
    config, done = run.config, finished(run)
    first = next((k for k in range(config.trials) if k not in done), config.trials)
    clock.start_from(first * config.total_steps)
    with loop.opened(run.folder, config, first, clock) as tools:
        for number in range(config.trials):
            if number in done:
                tools.progress.print(
                    f'trial {number + 1} of {config.trials} is done already'
                    f'{without_predictions(run, number)}'
                )
                continue
            trial = run_trial(run, number, tools)
            if trial is None:
                return Outcome(list(done.values()), tools.stop.name)
            done[number] = trial
            keep_best(run, done)
        trials = [done[number] for number in range(config.trials)]
        write_summary(run, trials, tools)
    return Outcome(trials, None)


def without_predictions(run: FineTuning, number: int) -> str:
    """What to type for the predictions that a finished trial was not asked for, if any."""
    folder = run.trial_folder(number) / 'predictions'
    lacking = [name for name in run.tests if not (folder / f'{name}.jsonl').exists()]
    if not lacking:
        return ''
    return f', without predictions of {", ".join(lacking)}: --config.job=evaluate makes them'


def run_trial(run: FineTuning, number: int, tools: loop.Tools) -> Trial | None:
    """Runs one trial to its end and writes its folder; None: a signal stopped it."""
    config, program, progress = run.config, run.program, tools.progress
    seed = (config.seed + number) % 2**32
    progress.print(f'trial {number + 1} of {config.trials}, seed {seed}')
    predicted: dict[str, Predictions] = {}

    def predict(params: trees.Tree, some: Mapping[str, Split]) -> None:
        for name, split in some.items():
            predicted[name] = program.answerer.predict(
                params, run.task, split, progress.print, name
            )

    def evaluate(params: trees.Tree) -> dict[str, float]:
        predict(params, run.scored)
        return dict(results.scored(run.kind, seed, predicted).metrics)

    plan = loop.Plan(
        seed=seed,
        steps=config.total_steps,
        epoch_steps=run.epoch_steps,
        before=number * config.total_steps,
        log_every=config.log.every_steps,
        metric_name=functools.partial(metric_name, run),
        keep=config.task.keep,
        headline=run.task.headline,
    )
    outcome = loop.train(
        plan,
        program.step,
        train_batches(program, run.train, seed),
        evaluate,
        health.Health(config.health, run.folder, {'seed': seed}, advice=health.FINE_TUNING),
        tools,
        program.fresh_state(run.source, np.uint32(seed)),
    )
    if outcome.stopped_by:
        return None
    with tools.clock.during(EVALUATING):
        if outcome.scores is not outcome.history[-1][1]:
            evaluate(outcome.params)  # the best state's predictions, not the last one's
        predict(outcome.params, run.tests)
    trial = results.scored(run.kind, seed, predicted)
    with tools.clock.during(SAVING):
        save(run, number, outcome, trial, predicted)
    return trial


def train_batches(
    program: Program, split: Split, seed: int
) -> Iterator[tuple[dict[str, jax.Array], dict[str, np.ndarray]]]:
    """Endless batches on the mesh, each with its copy in host memory."""
    size = program.config.batch_size
    lengths = split.rows.tokens.lengths()
    for batch in batches.endless(lengths, split.sizes, size, seed):
        host_batch = split.host_batch(batch, size)
        yield put(program.mesh, host_batch), host_batch


def metric_name(run: FineTuning, name: str) -> str:
    """The name of a score in metrics.jsonl, where the first split's name is left out."""
    split, _, metric = name.partition('/')
    short = metric if split == run.task.headline.partition('/')[0] else name
    return f'finetune/{run.task.name}/{short}'


def save(
    run: FineTuning,
    number: int,
    outcome: loop.Outcome,
    trial: Trial,
    predicted: Mapping[str, Predictions],
) -> None:
    """Writes a trial's folder; its result last, which makes it a finished one."""
    folder = run.trial_folder(number)
    on_first_host(lambda: shutil.rmtree(folder, ignore_errors=True))
    if run.config.task.save != 'none':
        checkpoint.write_params(folder, outcome.params, about(run, trial))
    history = [{'step': at, **scores} for at, scores in outcome.history]

    def write() -> None:
        for name, one in predicted.items():
            results.write_predictions(folder / 'predictions', name, run.kind, one)
        content = {
            **trial._asdict(),
            'headline': run.task.headline,
            'history': history,
            'rows': run.train.rows.digest(),
            'scored': {name: split.key for name, split in run.scored.items()},
        }
        results.write_json(folder / RESULT, content)

    on_first_host(write)


def on_first_host(act: Callable[[], None]) -> None:
    """Calls `act` on the first host while the other hosts wait."""
    if distributed.is_first():
        act()
    if jax.process_count() > 1:
        multihost_utils.sync_global_devices('files of a trial')


def about(run: FineTuning, trial: Trial) -> dict[str, Any]:
    """What a trial's checkpoint holds in addition to parameters."""
    return {
        'config': workdir.as_json(run.config),
        'tokenizer': run.tokenizer.to_json(),
        'tokenizer_hash': run.tokenizer.hash,
        'task': tasks.to_json(run.task),
        'seed': trial.seed,
        'scores': dict(trial.metrics),
    }


def finished(run: FineTuning) -> dict[int, Trial]:
    """The trials that have a result, by number.

    Raises:
        CheckpointError: they were trained or scored on other rows, or a result cannot be read.
    """
    done = {}
    for number in range(run.config.trials):
        path = run.trial_folder(number) / RESULT
        if not path.exists():
            continue
        try:
            content = files.parse_object(path.read_text())
            trial = Trial(content['seed'], content['metrics'], tuple(content['notes']))
            rows, scored = content['rows'], content['scored']
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
        for name, split in run.scored.items():
            if scored.get(name) != split.key:
                raise CheckpointError(
                    f'{path.parent} was scored on another {name} split than that of '
                    f'{split.loaded.where}: name that file, or another --workdir. '
                    'Finished trials are scored on other files with --config.job=evaluate'
                )
        done[number] = trial
    return done


def keep_best(run: FineTuning, done: Mapping[int, Trial]) -> None:
    """With task.save at 'best', deletes the parameters of all trials but the best so far."""
    if run.config.task.save != 'best':
        return
    best = max(done, key=lambda number: done[number].metrics[run.task.headline])
    for number in done:
        if number != best:
            folder = run.trial_folder(number) / checkpoint.FOLDER
            on_first_host(functools.partial(shutil.rmtree, folder, ignore_errors=True))


def write_summary(run: FineTuning, trials: list[Trial], tools: loop.Tools) -> None:
    """Writes results.json, results.md, and the spread over the trials among the metrics."""
    spread = {
        f'{metric_name(run, name)}_{statistic}': value
        for name, summary in results.summarize(trials).items()
        for statistic, value in summary._asdict().items()
        if statistic in ('median', 'mean', 'standard_deviation') and value is not None
    }
    tools.writer.write(run.config.total_steps * run.config.trials, spread)
    origin = {'init_from': run.start.where, 'config': workdir.as_json(run.config)}
    task = run.task
    on_first_host(
        lambda: results.write_results(run.folder, task.name, task.headline, trials, origin)
    )
