"""What the main command calls: fine-tuning, and scoring fine-tuned models again."""

from etils import epath

from electra_jax.config.fields import Settings
from electra_jax.finetune import evaluate, job, report, results
from electra_jax.runtime import cli, terminal
from electra_jax.train import workdir
from electra_jax.train.heartbeat import watched


def fine_tune(settings: Settings, folder: epath.Path) -> None:
    """Trains every trial that is not finished yet, and prints the results.

    Args:
        settings: as typed.
        folder: the workdir; need not exist.
    """
    print_line = terminal.OUT.print
    run = job.open_fine_tuning(settings, folder)
    with watched(folder, run.config.health.step_timeout) as clock:
        workdir.describe(folder, run.config, {'train_rows': run.train.rows.digest()})
        workdir.write_parameters(folder, run.program.abstract_state.params, run.program.mesh)
        print_line('\n'.join(report.start_lines(run)))
        outcome = job.run_trials(run, clock)
    if outcome.stopped_by:
        print_line(f'stopped by {outcome.stopped_by}; finished trials: {len(outcome.trials)}')
        print_line(f'to go on: {cli.same_command()}')
        return
    print_line(results.result_lines(run.task.headline, outcome.trials))
    print_line(clock.goodput_line())
    print_line(f'files: {folder} (results.json, results.md, metrics.jsonl, trials/*/predictions)')
    if run.config.task.save != 'none':
        print_line(f'next: python -m electra_jax.predict --checkpoint={folder} --input=FILE')


def evaluate_again(settings: Settings, folder: epath.Path) -> None:
    """Scores the trials of a fine-tuning workdir on the task's files.

    Args:
        settings: as typed.
        folder: the workdir.
    """
    print_line = terminal.OUT.print
    evaluated = evaluate.evaluate(settings, folder, print_line)
    for line in evaluated.complaints:
        print_line(f'  {line}')
    print_line(results.result_lines(evaluated.headline, evaluated.trials))
    files = folder / evaluate.EVALUATION
    print_line(f'files: {files} (results.json, results.md, predictions by trial)')
