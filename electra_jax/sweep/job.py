"""A sweep from its command line, which `__main__` explains, to its table."""

import shlex
from argparse import Namespace
from collections.abc import Sequence

from electra_jax.core.errors import ConfigError
from electra_jax.runtime import terminal
from electra_jax.sweep import plan, processes, slurm, table
from electra_jax.sweep.plan import Run
from electra_jax.sweep.table import Shown


def run(request: Namespace) -> int:
    """Trains the runs of a sweep, or compares those that exist; returns the exit status."""
    if request.compare:
        return compare(request)
    runs = plan_runs(request)
    if request.dry_run:
        show_plan(request, runs)
        return 0
    request.folder.mkdir(parents=True, exist_ok=True)
    if request.slurm:
        request.slurm.write_text(slurm.array(request, len(runs)))
        file = shlex.quote(str(request.slurm))
        terminal.OUT.print(f'{len(runs)} runs in {request.slurm}: type sbatch {file}')
        return 0
    return train(request, runs)


def plan_runs(request: Namespace) -> list[Run]:
    """The runs that a command line asks for.

    Raises:
        ConfigError: a recipe or setting does not exist, there is no run, or two are the same.
    """
    if request.jobs < 1:
        raise ConfigError(f'--jobs is {request.jobs}, allowed: 1 or more')
    if not request.config:
        raise ConfigError('no recipe given: type --config=configs/small.py, for example')
    runs = plan.plan(
        plan.find_recipes(request.config),
        plan.points(plan.axes(request.grid)),
        dict(map(plan.setting, request.set)),
        plan.read_list(request.list) if request.list else [{}],
        request.folder,
    )
    if request.only is None:
        return runs
    if not 0 <= request.only < len(runs):
        raise ConfigError(f'--only is {request.only}, allowed: 0 to {len(runs) - 1}')
    return [runs[request.only]]


def show_plan(request: Namespace, runs: Sequence[Run]) -> None:
    """Prints what would be run, or the file that would be written."""
    if request.slurm:
        terminal.OUT.print(slurm.array(request, len(runs)))
        return
    if request.gpus:
        gpus = request.gpus.replace(',', ' or ')
        terminal.OUT.print(f'# each with CUDA_VISIBLE_DEVICES={gpus}: the first that is free')
    for one in runs:
        done = processes.is_done(one)
        terminal.OUT.print(f'# {one.name}: finished before' if done else shlex.join(one.command))


def train(request: Namespace, runs: Sequence[Run]) -> int:
    """Trains runs, then writes the table of all; returns the exit status."""
    slots: list[dict[str, str]] = [{}] * request.jobs
    if request.gpus:
        slots = [{'CUDA_VISIBLE_DEVICES': gpu} for gpu in request.gpus.split(',')]
    outcomes = processes.run_all(runs, slots)
    if request.only is None:
        shown = [Shown(one.name, one.folder, one.varied, outcomes[one.name]) for one in runs]
        write_table(request, shown)
    if not set(outcomes.values()) <= {'done', 'failed'}:
        terminal.OUT.print('stopped; type the same command again to continue')
    if 'failed' in outcomes.values():
        return 1
    return 0 if set(outcomes.values()) <= {'done'} else slurm.STOPPED


def compare(request: Namespace) -> int:
    """Writes the table of runs that exist; returns the exit status.

    Raises:
        ConfigError: a folder is not the workdir of a run.
    """
    for folder in request.compare:
        if not (folder / 'metrics.jsonl').exists():
            raise ConfigError(f'{folder} is not the workdir of a run: it has no metrics.jsonl')
    write_table(request, [Shown(str(folder), folder) for folder in request.compare])
    return 0


def write_table(request: Namespace, shown: Sequence[Shown]) -> None:
    """Writes table and plot into the folder of the sweep, and prints the table."""
    columns = request.columns.split(',') if request.columns else None
    terminal.OUT.print('\n' + table.write(shown, request.metric, columns, request.folder))
