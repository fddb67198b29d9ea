"""A sweep from its command line, which `__main__` explains, to its table."""

import os
import shlex
import sys
from argparse import Namespace
from collections.abc import Sequence

from electra_jax.config.recipe import parse_setting
from electra_jax.core.complaints import counted
from electra_jax.core.errors import ConfigError
from electra_jax.runtime import interrupt, terminal
from electra_jax.sweep import earlier, plan, processes, speedrun, study, table
from electra_jax.sweep.plan import Planned
from electra_jax.sweep.shown import Shown
from electra_jax.train import metric_lines

STOPPED = 3  # exit status of a sweep that SIGTERM has asked to stop, and that has saved

SLURM_TEMPLATE = """\
#!/usr/bin/env bash
# {runs}, one for each array task. Name partition, time and devices when you submit it:
#   sbatch --partition=NAME --time=HH:MM:SS --gpus=1 {file}
# Build the corpus before (python -m electra_jax.prepare): tasks that start together cannot.
# Afterwards this makes the table: {command}
#SBATCH --job-name={job}
#SBATCH --array=0-{last}{at_once}
#SBATCH --ntasks=1
#SBATCH --cpus-per-task=4
#SBATCH --output={output}
#SBATCH --open-mode=append
#SBATCH --requeue
# Three minutes before the time limit the run is asked to save.
#SBATCH --signal=TERM@180
set -euo pipefail
cd {here}
# Since Slurm 22.05 srun does not read this from the job's options.
export SRUN_CPUS_PER_TASK="${{SLURM_CPUS_PER_TASK:-4}}"
status=0
srun {command} --only="$SLURM_ARRAY_TASK_ID" || status=$?
# Status {STOPPED}: saved before its end. A job that was cancelled is no longer RUNNING.
if ((status == {STOPPED})) && [[ $(squeue -h -j "$SLURM_JOB_ID" -o %T) == RUNNING ]]; then
  scontrol requeue "$SLURM_JOB_ID"
fi
exit "$status"
"""


def run(request: Namespace) -> int:
    """Trains the runs of a sweep, or compares those that exist; returns the exit status."""
    if request.study:
        controls = dict(parse_control(text) for text in request.control)
        asked = {'metric': request.metric, 'baseline': request.baseline}
        typed = {name: value for name, value in asked.items() if value}
        rule = study.Rule(controls=controls)._replace(**typed)
        terminal.OUT.print(study.write(request.study, rule))
        return 0
    if request.speedrun:
        return record(request)
    for name, of in (('baseline', 'study'), ('control', 'study'), ('target', 'speedrun')):
        if getattr(request, name):
            raise ConfigError(f'--{name} is of --{of}=FOLDER alone: leave it out')
    if request.compare:
        return compare(request)
    runs = plan_runs(request)
    earlier.check(runs, request.folder)
    array = slurm_array(request, len(runs)) if request.slurm else None
    if request.dry_run:
        terminal.OUT.print(array or shown_plan(request, runs))
        return 0
    request.folder.mkdir(parents=True, exist_ok=True)
    if array is None:
        return train(request, runs)
    request.slurm.write_text(array)
    file = shlex.quote(str(request.slurm))
    terminal.OUT.print(f'{counted(len(runs), "runs")} in {request.slurm}: type sbatch {file}')
    return 0


def parse_control(text: str) -> tuple[str, str]:
    """``('mlm_loss', 'mlm')`` from ``mlm_loss=mlm``."""
    arm, equals, control = text.partition('=')
    if not (arm and equals and control):
        raise ConfigError(f'--control is {text!r}, allowed: ARM=ARM, such as masks_loss=mlm_loss')
    return arm, control


def plan_runs(request: Namespace) -> list[Planned]:
    """The runs that a command line asks for."""
    if request.jobs < 1:
        raise ConfigError(f'--jobs is {request.jobs}, allowed: 1 or more')
    if not request.config:
        raise ConfigError('no recipe is given: type --config=configs/small.py, for example')
    runs = plan.plan(
        plan.find_recipes(request.config),
        plan.points(plan.axes(request.grid)),
        dict(map(parse_setting, request.set)),
        plan.read_list(request.list) if request.list else [{}],
        request.folder,
    )
    if request.only is None:
        return runs
    if not 0 <= request.only < len(runs):
        raise ConfigError(f'--only is {request.only}, allowed: 0 to {len(runs) - 1}')
    return [runs[request.only]]


def shown_plan(request: Namespace, runs: Sequence[Planned]) -> str:
    """What would be run, a command a line."""
    lines = []
    if request.gpus:
        gpus = request.gpus.replace(',', ' or ')
        lines.append(f'# each with CUDA_VISIBLE_DEVICES={gpus}: the first that is free')
    for one in runs:
        done = processes.is_done(one)
        lines.append(f'# {one.name}: finished before' if done else shlex.join(one.command))
    return '\n'.join(lines)


def train(request: Namespace, runs: Sequence[Planned]) -> int:
    """Trains runs, then writes the table of all; returns the exit status."""
    slots: list[dict[str, str]] = [{}] * request.jobs
    if request.gpus:
        slots = [{'CUDA_VISIBLE_DEVICES': gpu} for gpu in request.gpus.split(',')]
    outcomes = processes.run_all(runs, slots)
    if request.only is None:
        recipes = list(dict.fromkeys(one.recipe for one in runs))
        shown = [
            Shown(one.name, one.folder, one.varied, outcomes[one.name], one.setting(recipes))
            for one in runs
        ]
        write_table(request, shown)
    if not set(outcomes.values()) <= {'done', 'failed'}:
        terminal.OUT.print('stopped; type the same command again to continue')
    if 'failed' in outcomes.values():
        return 1
    return 0 if set(outcomes.values()) <= {'done'} else interrupt.status() or STOPPED


def compare(request: Namespace) -> int:
    """Writes the table of runs that exist; returns the exit status."""
    for folder in request.compare:
        if not (folder / metric_lines.FILE).exists():
            raise ConfigError(
                f'{folder} is not the workdir of a run: it has no {metric_lines.FILE}'
            )
    write_table(request, [Shown(str(folder), folder) for folder in request.compare])
    return 0


def record(request: Namespace) -> int:
    """Writes the record of a speedrun; returns the exit status."""
    target = None if request.target is None else speedrun.parse_target(request.target)
    if request.dry_run:
        terminal.OUT.print(f'record: {request.speedrun / speedrun.FILE}')
        return 0
    text, is_over = speedrun.write(request.speedrun, target)
    terminal.OUT.print(text)
    return 0 if is_over else STOPPED


def write_table(request: Namespace, shown: Sequence[Shown]) -> None:
    """Writes table and plot into the folder of the sweep, and prints the table."""
    columns = request.columns.split(',') if request.columns else None
    terminal.OUT.print('\n' + table.write(shown, request.metric, columns, request.folder))


def slurm_array(request: Namespace, count: int) -> str:
    """The text of an sbatch file that trains the `count` runs of a command line as an array."""
    command = [sys.executable, '-m', 'electra_jax.sweep']
    for name in ('config', 'grid', 'set', 'list', 'folder', 'metric', 'columns'):
        value = getattr(request, name)
        values = value if isinstance(value, list) else [value]
        command += [f'--{name}={one}' for one in values if one is not None]
    return SLURM_TEMPLATE.format(
        runs=counted(count, 'runs'), last=count - 1,
        at_once=f'%{request.jobs}' if request.jobs > 1 else '',
        file=shlex.quote(str(request.slurm)), job=shlex.quote(request.folder.name),
        output=shlex.quote(f'{request.folder.absolute()}/slurm-%A_%a.out'),
        here=shlex.quote(os.getcwd()), command=shlex.join(command), STOPPED=STOPPED,
    )  # fmt: skip
