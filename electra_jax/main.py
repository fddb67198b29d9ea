"""The main job: ``python -m electra_jax.main --config=configs/small.py [--workdir=DIR]``.

Type the same words again after a stop of any kind, and the run goes on from its newest
checkpoint.
"""

from electra_jax.runtime import malloc

if __name__ == '__main__':
    malloc.ask_for_large_pages()  # starts the process again: before imports that take seconds

import contextlib
from collections.abc import Iterator, Sequence

import jax
import numpy as np
from absl import flags as absl_flags
from etils import epath

from electra_jax.config import checks
from electra_jax.config.fields import Settings
from electra_jax.config.resolve import fill, first_stage, resolve
from electra_jax.core import rng, trees
from electra_jax.data.pipeline import DeviceBatches
from electra_jax.finetune import evaluate as evaluation
from electra_jax.finetune import job, results
from electra_jax.finetune import report as task_report
from electra_jax.model.flops import training_flops
from electra_jax.optim.optimizer import decay_table
from electra_jax.parallel import chips, report
from electra_jax.pretrain import program as runs
from electra_jax.pretrain.program import Run
from electra_jax.runtime import cli, distributed, watchdog
from electra_jax.train import checkpoint, lock, loop, workdir
from electra_jax.train import replay as replays
from electra_jax.train.checkpoint import Checkpoints
from electra_jax.train.clock import Clock, StepWork
from electra_jax.train.health import Health
from electra_jax.train.heartbeat import Heartbeat
from electra_jax.train.metrics import evaluation_line
from electra_jax.train.state import TrainState

CONFIG = cli.config_flag()
WORKDIR = absl_flags.DEFINE_string(
    'workdir', None, 'folder of the run; runs/<name of the config> if not given'
)


def main(settings: Settings) -> None:
    """Does the job of the settings."""
    folder = epath.Path(WORKDIR.value or f'runs/{cli.run_name(CONFIG, settings)}').resolve()
    with watchdog.together():
        if settings.job == 'finetune':
            fine_tune(settings, folder)
        elif settings.job == 'evaluate' and settings.task.name is not None:
            evaluate_fine_tuned(settings, folder)
        else:
            checks.check_positions(fill(settings))  # before the devices are looked for
            distributed.initialize()
            config = resolve(settings, jax.devices()[0].platform)
            run = runs.open_run(config, folder)
            {'pretrain': pretrain, 'evaluate': evaluate}[config.job](run)


def pretrain(run: Run) -> None:
    """Trains from the newest checkpoint, or from the start, to the end."""
    if run.config.replay is not None:
        replay(run)
        return
    with watched(run.folder, run.config.health.step_timeout) as clock:
        go_on(run, clock)


def replay(run: Run) -> None:
    """Takes the bad step of a dump again; writes nothing."""
    dump = replays.read_dump(epath.Path(run.config.replay))
    checkpoints = Checkpoints(
        run.folder / checkpoint.FOLDER, run.config.checkpoint, say, read_only=True, before=dump.step
    )
    batches = runs.device_batches(run)
    current = restored(run, checkpoints, batches)
    program = run.program
    for line in replays.replay(dump, program.step, program.examine, batches, current):
        say(line)
    checkpoints.close()


def restored(
    run: Run, checkpoints: Checkpoints, batches: DeviceBatches, health: Health | None = None
) -> TrainState:
    """The state of the newest checkpoint, or of the start; the others go on from there."""
    newest = checkpoints.latest()
    if newest is None:
        return runs.begin(run)
    runs.check_checkpoint(checkpoints.about(newest), run, same_text=True)
    current, place = checkpoints.restore(newest, run.program.abstract)
    loop.restore_position(place, batches, health)
    return current


@contextlib.contextmanager
def watched(folder: epath.Path, step_timeout: float | None) -> Iterator[Clock]:
    """The workdir is this run's alone, and files in it say how the process does."""
    with lock.held(folder) as held:
        clock = Clock(folder)
        once = (held.refresh, clock.write) if held else ()
        with contextlib.closing(Heartbeat(folder, clock, step_timeout, once)):
            yield clock


def go_on(run: Run, clock: Clock) -> None:
    """Trains, from wherever the workdir is."""
    config = run.config
    checkpoints = Checkpoints(run.folder / checkpoint.FOLDER, config.checkpoint, say)
    batches = runs.device_batches(run)
    flops = training_flops(config, run.tokenizer.vocab_size, run.program.objective.parts)
    newest = checkpoints.latest()
    health = make_health(run, checkpoints)
    current = restored(run, checkpoints, batches, health)
    workdir.describe(run.folder, config, {'flops_per_token': flops})
    say_start(run, flops)
    if newest is not None:
        print(f'going on from step {newest}', flush=True)
    collaborators = loop.Collaborators(
        step=run.program.step,
        evaluate=runs.make_evaluate(run),
        batches=batches,
        checkpoints=checkpoints,
        about=runs.about(run),
        health=health,
        clock=clock,
        work=StepWork(
            config.batch_size * config.data.row_length,
            flops['mfu'],
            chips.peak_flops(jax.devices()),
        ),
    )
    outcome = loop.train(config, collaborators, current, run.folder)
    checkpoints.close()
    say_end(run, outcome, clock)


def make_health(run: Run, checkpoints: Checkpoints) -> Health:
    """What watches over the run's steps and evaluations."""
    config = run.config
    return Health(
        config.health,
        run.folder,
        {'config': workdir.as_json(config), 'workdir': str(run.folder)},
        checkpoints.latest,
        run.program.objective.signs,
        config.optimizer.warmup_steps,
        first_stage(config),
    )


def evaluate(run: Run) -> None:
    """Scores the newest checkpoint of the workdir on held-out text."""
    checkpoints = Checkpoints(
        run.folder / checkpoint.FOLDER, run.config.checkpoint, say, read_only=True
    )
    newest = checkpoints.latest()
    runs.check_checkpoint(checkpoints.about(newest), run, same_text=False)
    params = checkpoints.restore_params(newest, run.program.abstract.params)
    print(evaluation_line(newest, runs.make_evaluate(run)(params)))
    checkpoints.close()


def fine_tune(settings: Settings, folder: epath.Path) -> None:
    """Trains every trial that is not done yet, and says what was reached."""
    run = job.open_fine_tuning(settings, folder)
    with watched(folder, run.config.health.step_timeout) as clock:
        workdir.describe(folder, run.config, {'train_rows': run.train.rows.digest()})
        write_parameters(run)
        print('\n'.join(task_report.start_lines(run)), flush=True)
        outcome = job.run_trials(run, clock)
    if outcome.stopped_by:
        print(f'stopped by {outcome.stopped_by}; finished trials: {len(outcome.trials)}')
        print(f'to go on: {cli.same_command()}')
        return
    print(results.result_lines(run.task.headline, outcome.trials))
    print(clock.goodput_line())
    print(f'files: {folder} (results.json, results.md, metrics.jsonl, trials/*/predictions)')
    if run.config.task.save != 'none':
        print(f'next: python -m electra_jax.predict --checkpoint={folder} --input=FILE')


def evaluate_fine_tuned(settings: Settings, folder: epath.Path) -> None:
    """Scores the trials of a fine-tuning workdir on the task's files."""
    found = evaluation.evaluate(settings, folder, say)
    for line in found.complaints:
        print(f'  {line}')
    print(results.result_lines(found.headline, found.trials))
    files = folder / evaluation.EVALUATION
    print(f'files: {files} (results.json, results.md, predictions by trial)')


def write_parameters(run: Run | job.FineTuning) -> None:
    """The start-up report's long part: parameters.txt in the workdir."""
    if distributed.is_first():
        params = run.program.abstract.params
        table = report.parameter_table(params, run.program.mesh, decay_table(params))
        (run.folder / 'parameters.txt').write_text(table + '\n')


def say_start(run: Run, flops: dict[str, float]) -> None:
    """What is about to happen, in a few lines; every parameter in workdir/parameters.txt."""
    config, params = run.config, run.program.abstract.params
    rows = sum(shard.rows for one in run.corpora for shard in one.shards['train'])
    write_parameters(run)
    print(
        f'{config.objective.name} {config.model.size}: {trees.count(params) / 1e6:.1f}M parameters,'
    )
    print(f'  on {report.mesh_line(run.program.mesh)}')
    tokens = config.total_steps * config.batch_size * config.data.row_length
    print(
        f'  {flops["mfu"] / 1e9:.4g} GFLOP a token (6 N + attention), '
        f"{flops['paper'] / 1e9:.4g} by the paper's count: "
        f'{flops["paper"] * tokens:.3g} FLOP for {tokens:.3g} tokens'
    )
    print(f'  {rows:,} rows of {config.data.row_length} tokens, batches of {config.batch_size}')
    made_of, source = {one.source for one in run.corpora}, config.data.source
    # A recipe's own source is for those who have no corpus yet.
    if 'data.source' in cli.typed_settings(CONFIG) and made_of != {source}:
        print(
            f'  note: {config.data.path} is there already, made of {", ".join(sorted(made_of))}: '
            f'config.data.source ({source}) is not read; for that text name another '
            '--config.data.path'
        )
    print(f'  workdir {run.folder}', flush=True)


def say(text: str) -> None:
    """A line for the terminal, now."""
    print(text, flush=True)


def say_end(run: Run, outcome: loop.Outcome, clock: Clock) -> None:
    """What was reached, a row of text as the model sees it, and what to type next."""
    reached = int(outcome.state.step)
    if outcome.stopped_by:
        print(f'stopped by {outcome.stopped_by} at step {reached}, saved')
        print(f'to go on: {cli.same_command()}')
        return
    show_example(run, outcome.state.params)
    shown = ', '.join(f'{k} {v:.4f}' for k, v in outcome.evaluation.items())
    print(f'done: {reached} steps, {shown or "no held-out text"}')
    print(clock.goodput_line())
    print(f'files: {run.folder} (checkpoints/, metrics.jsonl, tensorboard/)')
    again = cli.same_command(**{'workdir': str(run.folder), 'config.job': 'evaluate'})
    print(f'next: {again}')


def show_example(run: Run, params: trees.Tree) -> None:
    """Prints one held-out row, its replaced tokens and the model's doubt about each token."""
    batches = runs.held_out(run)
    if not batches or jax.process_count() > 1:
        return
    keys = rng.step_keys(rng.root_key(run.config.seed), 0)
    row = {name: x[:1] for name, x in batches[0].items()}
    shown, doubt = jax.jit(
        lambda params, row: run.program.objective.example(
            params, run.program.objective.draw(row, keys, 0)
        )
    )(params, row)
    first_document_L = np.asarray(row['documents'])[0] == 1
    words = [
        run.tokenizer.tokens(np.asarray(ids)[0][first_document_L]) for ids in (row['tokens'], shown)
    ]
    print(example_lines(*words, np.asarray(doubt)[0][first_document_L]))


_SHOWN = 32  # tokens of an example that fit a screen


def example_lines(original: Sequence[str], shown: Sequence[str], doubt: Sequence[float]) -> str:
    """A token a line: what the model read, its doubt as number and bar, what stood there before.

    Args:
        original, shown: pieces of text before and after corruption.
        doubt: probability that a piece was replaced.
    """
    lines = ['held-out text with replaced tokens, and how sure the model is of each replacement:']
    for before, now, p in list(zip(original, shown, doubt, strict=True))[:_SHOWN]:
        was = f'<- was {before}' if before != now else ''
        lines.append(f'  {now:<18} {p:4.2f} {"#" * round(20 * p):<20} {was}'.rstrip())
    return '\n'.join(lines)


if __name__ == '__main__':
    cli.run(main, CONFIG)
