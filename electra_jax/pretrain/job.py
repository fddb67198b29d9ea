"""Pre-training, scoring a pre-trained model, and repeating a bad step."""

import dataclasses
import functools
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any

import jax
import numpy as np
from etils import epath

from electra_jax import init_from
from electra_jax.config import checks
from electra_jax.config.fields import Settings
from electra_jax.config.resolve import fill, resolve
from electra_jax.config.settings import Config
from electra_jax.core import trees
from electra_jax.core.errors import CheckpointError
from electra_jax.model.bind import bind
from electra_jax.model.flops import training_flops
from electra_jax.objectives import table
from electra_jax.parallel import chips
from electra_jax.pretrain import examples, length, report, words
from electra_jax.pretrain import program as programs
from electra_jax.pretrain import text as texts
from electra_jax.pretrain.begin import Run, branch_folder, load_state, open_checkpoints
from electra_jax.pretrain.program import Program
from electra_jax.pretrain.text import BuildCorpus, Text
from electra_jax.runtime import distributed, terminal
from electra_jax.train import beginning, loop, parameters, replay, seals, signals, workdir
from electra_jax.train.checkpoint import Checkpoints
from electra_jax.train.clock import Clock, StepWork
from electra_jax.train.health import Health
from electra_jax.train.heartbeat import watched
from electra_jax.train.means import Means
from electra_jax.train.step import Metrics

Batches = Sequence[Mapping[str, jax.Array]]  # on the mesh


def run(
    settings: Settings, folder: epath.Path, build_corpus: BuildCorpus, typed: Collection[str]
) -> None:
    """Does the job of the settings: pre-training, evaluation, or repeating a bad step.

    `folder` is the workdir, which need not exist; `typed` are the names of the settings that were
    typed as ``--config.KEY=VALUE``.
    """
    asked, config = configure(settings, folder, typed)
    is_unset = length.is_unset(config, folder)
    text = texts.open_text(config, build_corpus, typed)
    ready = time.monotonic()
    reading = words.bind(config, text)
    config = length.of_operations(config, texts.vocabulary(config, text), folder, typed)
    if config.job == 'pretrain' and config.replay is None:
        config = words.of_words(config, reading, folder, typed)
        words.check(config, reading, folder)
    if (step := finished_step(config, text, folder)) is not None:
        terminal.OUT.print('this run has ended before; nothing was computed')
        terminal.OUT.print(report.finished(step, config, text, folder, typed))
        return
    check_start(config, text, folder)
    opened = make_program(config, text, folder, reading, is_unset, typed)
    if opened.config.job == 'evaluate':
        evaluate_newest(opened)
    elif opened.config.replay is not None:
        replay_dump(opened, epath.Path(opened.config.replay))
    else:
        with watched(folder, opened.config.health.step_timeout) as clock:
            clock.timed_from = ready
            if opened.plan is None:
                limits = length.Limits(typed, reading.most_steps)
                plan = length.continued(asked, opened.config, folder, clock, limits)
                opened = opened._replace(plan=plan)
            pretrain(opened, clock)


def pretrain(run: Run, clock: Clock) -> None:
    """Trains from the newest checkpoint, or from step 0, to the end."""
    config, program = run.config, run.program
    # A preemption may come while a checkpoint is read, and is no failure.
    with signals.stop_signals(lambda: True):
        marks = words.marks(config, run.reading)
        if config.branch_from is not None:  # the other run has kept those before, if any
            shared = int(branch_folder(config.branch_from).name)
            marks = {step: count for step, count in marks.items() if step > shared}
        checkpoints = open_checkpoints(run, marks=marks)
        batches = texts.training_batches(run.text, program)
        flops = training_flops(config, run.text.tokenizer.vocab_size, program.objective.networks)
        held_out = texts.held_out_batches(run.text, program)
        newest = checkpoints.latest()
        health = Health(
            config.health,
            run.folder,
            _of_a_dump(config, run.folder),
            checkpoints.latest,
            program.objective.warning_signs,
            config.optimizer.warmup_steps,
            program.objective.other_losses,
        )
        means = Means(program.objective.metrics_after)
        state, before = load_state(run, checkpoints, batches, health, means)
    workdir.describe(run.folder, config, _facts(run, flops))
    workdir.write_parameters(run.folder, program.abstract_state.params, program.mesh)
    kept = words.kept_notes(config, run.reading, int(state.step), checkpoints.kept())
    read = words.line(config, run.reading)
    terminal.OUT.print(report.start(program, run.text, run.folder, flops, read, kept))
    if newest is not None:
        terminal.OUT.print(f'continuing from step {newest}')
    train_step = programs.StepOfAnyLength(program)
    tools = loop.Tools(
        step=train_step,
        evaluate=make_evaluate(program, held_out),
        batches=batches,
        checkpoints=checkpoints,
        about={**texts.about(config, run.text), **before},
        health=health,
        clock=clock,
        work=StepWork(
            config.batch_size * config.data.row_length,
            flops['mfu'],
            chips.peak_flops(jax.devices()),
            texts.training_rows(run.text) / config.batch_size,
            run.reading.in_step or 0.0,
        ),
        means=means,
    )
    if held_out:
        make_examples = examples.make_examples(program, run.text.tokenizer, held_out[0])
        tools = tools._replace(show=examples.keep(run.folder, make_examples))
    if run.plan is not None and jax.process_count() == 1:
        tools = tools._replace(correct=functools.partial(correct, run, tools, train_step, flops))
    outcome = loop.train(config, tools, state, run.folder)
    checkpoints.close()
    if held_out and not outcome.stopped_by:
        with terminal.alive('looking at an example'):
            shown = make_examples(loop.evaluated_params(config, outcome.state))
        if distributed.is_first():
            terminal.OUT.print(examples.text(shown))
    terminal.OUT.print(report.end(outcome, clock, config, run.folder, checkpoints.kept()))


def correct(
    run: Run,
    tools: loop.Tools,
    train_step: programs.StepOfAnyLength,
    flops: Mapping[str, float],
    step: int,
) -> Config | None:
    """Follows the run's plan where it changes: in schedules, records, means, and what is judged."""
    assert run.plan is not None
    config = run.plan.corrected(step, tools.clock)
    if config is not None:
        train_step.set_lengths(config)
        tools.about['config'] = dataclasses.asdict(config)
        workdir.describe(run.folder, config, _facts(run, flops))
        objective = table.build(config, run.program.vocabulary)
        tools.means.after = objective.metrics_after
        tools.health.follow(
            _of_a_dump(config, run.folder), config.optimizer.warmup_steps, objective.other_losses
        )
    return config


def _facts(run: Run, flops: Mapping[str, float]) -> dict[str, Any]:
    """What `config.json` keeps of a run besides its settings."""
    measured = {} if run.plan is None else {length.MEASURED: run.plan.took._asdict()}
    return {**report.facts(run.program, run.text, flops), **measured}


def _of_a_dump(config: Config, folder: epath.Path) -> dict[str, Any]:
    """What the dump of a bad step records of its run."""
    return {'config': dataclasses.asdict(config), 'workdir': str(folder)}


def configure(
    settings: Settings, folder: epath.Path, typed: Collection[str]
) -> tuple[Config, Config]:
    """The configuration of the run, checked against the workdir and the devices.

    Returns:
        The configuration as it was asked for; and the same with the length of the run in the
        workdir, where a measured length has given it one.
    """
    # ---- Before the devices are looked for.
    if settings.job == 'evaluate' and not folder.exists():
        raise CheckpointError(
            f'there is no workdir {folder}: name the run to score with --workdir, or train first '
            '(--config.job=pretrain)'
        )
    if settings.init_from is not None and not workdir.has_checkpoint(folder):
        init_from.check_named(settings.init_from)
    row_length = texts.row_length(settings)
    filled = fill(settings, row_length=row_length)
    checks.check_positions(filled)
    words.check_settings(filled, folder, typed)
    distributed.initialize()
    config = resolve(settings, jax.devices()[0].platform, row_length=row_length)
    if config.branch_from is not None:
        start = beginning.chosen('branch_from', config.branch_from, folder)
        config = dataclasses.replace(config, branch_from=start)
    if config.init_from is not None:
        start = init_from.chosen(config.init_from, folder)
        config = dataclasses.replace(config, init_from=start)
    asked, config = config, length.stored(config, folder, typed)
    workdir.check_same_run(folder, config)
    if config.branch_from is not None and not workdir.has_checkpoint(folder):
        workdir.check_branch(branch_folder(config.branch_from), config)
    if config.job == 'evaluate' and not workdir.has_checkpoint(folder):
        raise CheckpointError(
            f'no checkpoint in {folder / "checkpoints"}: train first (--config.job=pretrain), or '
            'name the run with --workdir'
        )
    return asked, config


def finished_step(config: Config, text: Text, folder: epath.Path) -> int | None:
    """The last step of a run that is over, whose evaluation need not be computed again."""
    if config.job != 'pretrain' or config.replay:
        return None
    # Processes need not see the same files at the same time, and all must go the same way.
    newest = distributed.agree(_evaluated_end(config, text, folder))
    if newest is None:
        return None
    checkpoints = Checkpoints(
        folder / parameters.FOLDER, config.checkpoint, terminal.OUT.print, read_only=True
    )
    is_whole = checkpoints.latest() == newest
    if is_whole:
        about = checkpoints.about(newest)
        texts.check_checkpoint(about, config, text, folder, same_text=True)
    checkpoints.close()
    return newest if is_whole else None


def _evaluated_end(config: Config, text: Text, folder: epath.Path) -> int | None:
    """The step of the newest checkpoint, if the run ends there, and its evaluation is written."""
    end = min(config.total_steps, config.stop_at or config.total_steps)
    newest = max(seals.steps(folder / parameters.FOLDER), default=-1)
    if newest < end:
        return None
    is_evaluated = not texts.held_out_rows(text) or report.evaluation_at(newest, folder)
    return newest if is_evaluated else None


def check_start(config: Config, text: Text, folder: epath.Path) -> None:
    """Refuses a checkpoint that a new run cannot start from, before anything is compiled."""
    if config.init_from is None or workdir.has_checkpoint(folder):
        return
    vocabulary = texts.vocabulary(config, text)
    networks = table.build(config, vocabulary).networks
    wanted = bind(config.model, vocabulary.size).shapes(networks)
    checked = init_from.checked_params(config, text.tokenizer, wanted, values=False)
    _, about, account = checked
    if warning := init_from.lost_discriminator(config, about, account):
        terminal.OUT.print(warning)


def make_program(
    config: Config,
    text: Text,
    folder: epath.Path,
    reading: words.Reading,
    is_unset: bool,
    typed: Collection[str] = (),
) -> Run:
    """The run; where its length `is_unset` it is measured first."""
    vocabulary = texts.vocabulary(config, text)
    if not is_unset:
        return Run(programs.build_program(config, vocabulary), text, folder, reading)
    kept = 'its text kept; the length was still being measured'
    limits = length.Limits(typed, reading.most_steps)
    with signals.stop_signals(lambda: True, kept=kept):
        config, made, plan = length.measured(config, vocabulary, texts.held_out_rows(text), limits)
    return Run(programs.build_program(config, vocabulary, like=made), text, folder, reading, plan)


def evaluate_newest(run: Run) -> None:
    """Scores the newest checkpoint of the workdir on held-out text."""
    checkpoints = open_checkpoints(run, read_only=True)
    newest = checkpoints.latest()
    assert newest is not None  # `configure` has looked
    about = checkpoints.about(newest)
    texts.check_checkpoint(about, run.config, run.text, run.folder, same_text=False)
    params = checkpoints.restore_params(
        newest, run.program.abstract_state.params, run.config.eval.average
    )
    evaluate_held_out = make_evaluate(run.program, texts.held_out_batches(run.text, run.program))
    with terminal.alive('evaluating'):
        evaluation = evaluate_held_out(params)
    found = newest, evaluation, run.config, run.text, run.folder
    report.write_scored(*found)
    terminal.OUT.print(report.scored(*found))
    checkpoints.close()


def replay_dump(run: Run, path: epath.Path) -> None:
    """Computes the bad step of a dump again, and prints what is wrong in it; writes nothing."""
    dump = replay.read_dump(path)
    checkpoints = open_checkpoints(run, read_only=True, before=dump.step)
    batches = texts.training_batches(run.text, run.program)
    state, _ = load_state(run, checkpoints, batches)
    step = programs.StepOfAnyLength(run.program)
    for line in replay.replay(dump, step, run.program.examine, batches, state):
        terminal.OUT.print(line)
    checkpoints.close()


def make_evaluate(program: Program, batches: Batches) -> Callable[[trees.Tree], dict[str, float]]:
    """The function from parameters to metrics on the held-out batches."""
    return lambda params: evaluate(program.totals, program.objective.summary, batches, params)


def evaluate(
    totals: Callable[..., Metrics],
    summary: Callable[[Mapping[str, np.ndarray]], dict[str, float]],
    batches: Batches,
    params: trees.Tree,
) -> dict[str, float]:
    """Metrics over all batches, if any: totals added up on the host, then made into metrics."""
    if not batches:
        return {}
    sums: dict[str, np.ndarray] = {}
    for number, batch in enumerate(batches):
        for name, value in jax.device_get(totals(params, batch, np.int32(number))).items():
            # float64: counts of a large evaluation outgrow float32's integers.
            sums[name] = sums.get(name, 0.0) + np.asarray(value, np.float64)
    return summary(sums)
