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
from electra_jax.core import trees
from electra_jax.core.errors import CheckpointError
from electra_jax.core.files import parse_object
from electra_jax.finetune import batches, known, prediction_files, predictions, results
from electra_jax.finetune import loop as trial
from electra_jax.finetune import split as splits
from electra_jax.finetune import task as trained
from electra_jax.finetune.predictions import Predictions
from electra_jax.finetune.program import (
    Answerer,
    Program,
    build_program,
    put,
    refuse_steps,
    with_steps,
)
from electra_jax.finetune.results import Trial
from electra_jax.finetune.split import Split
from electra_jax.finetune.task import TrainedTask
from electra_jax.init_from import Account, Start, encoder_params, load_start, parts
from electra_jax.runtime import distributed
from electra_jax.runtime.terminal import Progress
from electra_jax.tokenizers.api import Tokenizer
from electra_jax.train import checkpoint, health, signals, workdir
from electra_jax.train.clock import EVALUATING, SAVING, Clock
from electra_jax.train.metrics import Metrics

RESULT = 'result.json'  # of a trial, written when it is finished


class FineTuning(NamedTuple):
    """All that the trials of a run share."""

    program: Program
    folder: epath.Path
    start: Start
    source: dict[str, np.ndarray]  # loaded parameters by path
    account: Account | None  # of the loaded parameters; None: from scratch
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
        return predictions.headline(self.task)


def open_fine_tuning(settings: Settings, folder: epath.Path) -> FineTuning:
    """Reads files and checkpoint, then makes functions of them.

    Args:
        settings: as typed.
        folder: the workdir; need not exist.

    Raises:
        UserError: files, checkpoint, settings or workdir do not fit together.
    """
    spec = known.get(settings.task.name)
    refuse_steps(settings)
    distributed.initialize()
    start = load_start(settings)
    config = resolve(settings, jax.devices()[0].platform, start.stored, spec.row_length)
    checks.check_positions(config)
    train, held_out = splits.read_train(config)
    task = trained.settle(config, train.known)
    scored = splits.read_scored(config, train.known, held_out)
    tests = splits.read_tests(config, train.known)
    split = functools.partial(splits.make_split, config, start.tokenizer)
    train_split = split(task.features(labelled=True), train)
    unlabelled = task.features(labelled=False)
    epoch_steps = -(-len(train_split.rows) // config.batch_size)
    epochs = task.spec.epochs if config.task.epochs is None else config.task.epochs
    config = with_steps(config, max(1, int(epoch_steps * epochs)))
    workdir.check_same_run(folder, config)
    program = build_program(config, start.tokenizer.vocab_size, task.head())
    return FineTuning(
        program,
        folder,
        start,
        *encoder_params(start, config),
        task,
        start.tokenizer,
        train_split,
        {name: split(unlabelled, loaded) for name, loaded in scored.items()},
        {name: split(unlabelled, loaded) for name, loaded in tests.items()},
        epoch_steps,
    )


def origin_line(run: FineTuning) -> str:
    """What the parameters start from, in words."""
    account = run.account
    if account is None:
        like = f', with the model and tokenizer of {run.start.where}' if run.start.where else ''
        return f'from scratch: no parameter comes from a pre-trained model{like}'
    line = f'from {run.start.where}: {len(account.loaded)} arrays; fresh: '
    line += parts([*account.fresh, 'task_head/'])
    if account.extended:
        line += f'; made longer ({run.config.init_positions}): {", ".join(account.extended)}'
    return line + (f'; not used: {parts(account.unused)}' if account.unused else '')


class Outcome(NamedTuple):
    """How the trials ended."""

    trials: list[Trial]
    stopped_by: str | None  # the signal's name, if one ended them before their time


def run_trials(run: FineTuning, clock: Clock) -> Outcome:
    """All trials that are not finished yet, then the results of all.

    Args:
        run: opened.
        clock: of the process; its steps are counted over all trials.
    """
    config = run.config
    done = finished(run)
    first = next((k for k in range(config.trials) if k not in done), config.trials)
    steps = config.total_steps
    clock.start_from(first * steps)
    with trial.files(run.folder, first * steps, config.trials * steps, config.log.tensorboard) as (
        writer,
        progress,
        stop,
    ):
        for number in range(config.trials):
            if number in done:
                progress.print(
                    f'trial {number + 1} of {config.trials} is done already{untold(run, number)}'
                )
                continue
            found = run_trial(run, number, writer, progress, stop, clock)
            if found is None:
                return Outcome(list(done.values()), stop.name)
            done[number] = found
            keep_best(run, done)
        trials = [done[number] for number in range(config.trials)]
        write_summary(run, trials, writer)
    return Outcome(trials, None)


def untold(run: FineTuning, number: int) -> str:
    """What to type for the predictions that a finished trial was not asked for, if any."""
    folder = run.folder / workdir.TRIALS / str(number) / 'predictions'
    lacking = [name for name in run.tests if not (folder / f'{name}.jsonl').exists()]
    if not lacking:
        return ''
    return f', without predictions of {", ".join(lacking)}: --config.job=evaluate makes them'


def run_trial(
    run: FineTuning,
    number: int,
    writer: Metrics,
    progress: Progress,
    stop: signals.Stop,
    clock: Clock,
) -> Trial | None:
    """One trial to its end and its folder, or None where a signal stopped it."""
    config, program = run.config, run.program
    seed = (config.seed + number) % 2**32
    progress.print(f'trial {number + 1} of {config.trials}, seed {seed}')
    predicted: dict[str, Predictions] = {}

    def answer(params: trees.Tree, splits: Mapping[str, Split]) -> None:
        for name, split in splits.items():
            predicted[name] = run.answerer.predict(params, run.task, split, progress.print, name)

    def evaluate(params: trees.Tree) -> dict[str, float]:
        answer(params, run.scored)
        return dict(predictions.trial(seed, predicted).metrics)

    plan = trial.Plan(
        seed=seed,
        steps=config.total_steps,
        epoch_steps=run.epoch_steps,
        before=number * config.total_steps,
        log_every=config.log.every_steps,
        names=functools.partial(metric_name, run),
        keep=config.task.keep,
        score=lambda scores: scores[run.headline],
        show=scores_line,
    )
    parts = trial.Parts(
        program.step,
        train_batches(program, run.train, seed),
        evaluate,
        writer,
        progress,
        stop,
        health.Health(config.health, run.folder, {'seed': seed}, advice=health.FINE_TUNING),
        clock,
    )
    fresh = program.make_state(run.source, np.uint32(seed))
    outcome = trial.train(plan, parts, fresh)
    if outcome.stopped_by:
        return None
    with clock.during(EVALUATING):
        if outcome.scores is not outcome.history[-1][1]:
            evaluate(outcome.params)  # the best state's predictions, not the last one's
        answer(outcome.params, run.tests)
    found = predictions.trial(seed, predicted)
    with clock.during(SAVING):
        save(run, number, outcome, found, predicted)
    return found


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
    """As metrics.jsonl has it: the first split goes without its name."""
    split, _, metric = name.partition('/')
    short = metric if split == run.headline.partition('/')[0] else name
    return f'finetune/{run.task.name}/{short}'


def save(
    run: FineTuning,
    number: int,
    outcome: trial.Outcome,
    found: Trial,
    predicted: Mapping[str, Predictions],
) -> None:
    """Writes a trial's folder; its result last, which makes it a finished one."""
    folder = run.folder / workdir.TRIALS / str(number)
    on_first_host(lambda: shutil.rmtree(folder, ignore_errors=True))
    if run.config.task.save != 'none':
        checkpoint.write_params(folder, outcome.params, about(run, found))
    history = [{'step': at, **scores} for at, scores in outcome.history]

    def write() -> None:
        for name, one in predicted.items():
            prediction_files.write(folder / 'predictions', name, one)
        content = {
            **found._asdict(),
            'headline': run.headline,
            'history': history,
            'rows': run.train.rows.digest(),
            'scored': {name: split.key for name, split in run.scored.items()},
        }
        results.write_json(folder / RESULT, content)

    on_first_host(write)


def on_first_host(act: Callable[[], None]) -> None:
    """Acts on the first host while the others wait for it."""
    if distributed.is_first():
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
        CheckpointError: they were trained or scored on other rows, or a result cannot be read.
    """
    done = {}
    for number in range(run.config.trials):
        path = run.folder / workdir.TRIALS / str(number) / RESULT
        if not path.exists():
            continue
        try:
            content = parse_object(path.read_text())
            found = Trial(content['seed'], content['metrics'], tuple(content['notes']))
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
        done[number] = found
    return done


def keep_best(run: FineTuning, done: Mapping[int, Trial]) -> None:
    """With task.save at 'best', deletes the parameters of all trials but the best so far."""
    if run.config.task.save != 'best':
        return
    best = max(done, key=lambda number: done[number].metrics[run.headline])
    for number in done:
        if number != best:
            folder = run.folder / workdir.TRIALS / str(number) / checkpoint.FOLDER
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


def scores_line(scores: Mapping[str, float]) -> str:
    """Scores on a line, shares and correlations times 100."""
    return '  '.join(f'{name} {results.shown(name, value)}' for name, value in scores.items())


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
