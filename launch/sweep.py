"""Many runs of the main job by one command: a grid, a list, or several recipes; then a table.

    python launch/sweep.py --config=configs/quickstart.py --set total_steps=200 \\
      --grid optimizer.learning_rate=1e-3,2e-3 --grid seed=0,1

Typed again it skips the runs that are finished and goes on with the others.
"""

import argparse
import glob
import hashlib
import itertools
import os
import pathlib
import re
import shlex
import sys
from collections.abc import Mapping, Sequence

import results
from processes import Run, console, is_done, run_all

from electra_jax.config import recipe as recipe_files
from electra_jax.core.errors import ConfigError, UserError

STOPPED = 3  # exit status: asked to stop, and saved


def setting(text: str) -> tuple[str, str]:
    """``('seed', '0')`` of ``seed=0``, ``config.seed=0`` or ``--config.seed=0``.

    Raises:
        ConfigError: it is not of that form, or there is no one such setting.
    """
    name, is_whole, value = text.removeprefix('--').removeprefix('config.').partition('=')
    if not is_whole:
        raise ConfigError(f'{text!r} is not understood: settings look like KEY=VALUE')
    return recipe_files.setting_name(name), value


def read_list(path: str) -> list[dict[str, str]]:
    """The settings of each run from a file with one run a line; # begins a comment.

    Raises:
        ConfigError: naming the line.
    """
    found = []
    for number, line in enumerate(pathlib.Path(path).read_text().splitlines(), 1):
        try:
            words = shlex.split(line, comments=True)
            if words:
                found.append(dict(setting(word) for word in words))
        except (ConfigError, ValueError) as error:
            raise ConfigError(f'{path}:{number}: {error}') from error
    if not found:
        raise ConfigError(f'{path} names no run: a line such as seed=0 model.size=tiny is one')
    return found


def find_recipes(patterns: Sequence[str]) -> list[str]:
    """The recipe files that the --config values name, globs included.

    Raises:
        ConfigError: one of them names no file.
    """
    found = []
    for pattern in patterns:
        files = sorted(glob.glob(pattern))
        if not files:
            raise ConfigError(f'no such recipe: {pattern}; those that come along are in configs/')
        found += files
    return list(dict.fromkeys(found))


def plan(
    recipes: Sequence[str],
    grid: Mapping[str, Sequence[str]],
    fixed: Mapping[str, str],
    lines: Sequence[Mapping[str, str]],
    folder: pathlib.Path,
) -> list[Run]:
    """Every recipe with every line of the list and every point of the grid.

    Raises:
        ConfigError: two runs would be the same.
    """
    runs: dict[str, Run] = {}
    for recipe, line, point in itertools.product(
        recipes, lines or [{}], itertools.product(*grid.values())
    ):
        varied = {**line, **dict(zip(grid, point, strict=True))}
        name = run_name(recipe, recipes, varied)
        if name in runs:
            raise ConfigError(f'two runs are called {name}: each must differ from the others')
        runs[name] = Run(name, recipe, {**fixed, **varied}, varied, folder / name)
    return list(runs.values())


def run_name(recipe: str, recipes: Sequence[str], varied: Mapping[str, str]) -> str:
    """A folder name that says what differs: ``small-learning_rate=1e-3-seed=0``."""
    stem = pathlib.Path(recipe).stem
    if sum(pathlib.Path(other).stem == stem for other in recipes) > 1:
        stem = recipe.removesuffix('.py').strip('/')
    last = [key.rpartition('.')[2] for key in varied]
    parts = [
        f'{short if last.count(short) == 1 else key}={value}'
        for short, (key, value) in zip(last, varied.items(), strict=True)
    ]
    name = '-'.join(([stem] if len(recipes) > 1 or not parts else []) + parts)
    safe = re.sub(r'[^\w.=+-]+', '_', name)
    if safe == name and len(safe) <= 120:
        return safe
    return f'{safe[:110]}-{hashlib.sha256(name.encode()).hexdigest()[:8]}'


SLURM = """\
#!/usr/bin/env bash
# {count} runs, an array task each. Give partition, time and devices when submitting:
#   sbatch --partition=NAME --time=HH:MM:SS --gpus=1 {file}
# Build the corpus before (python -m electra_jax.prepare): tasks that start together cannot.
# Then this makes the table: {command}
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
# Since Slurm 22.05 srun does not take this from the job's options.
export SRUN_CPUS_PER_TASK="${{SLURM_CPUS_PER_TASK:-4}}"
status=0
srun {command} --only="$SLURM_ARRAY_TASK_ID" || status=$?
# Status {STOPPED}: saved, but not at its end. A job that was cancelled is not RUNNING any more.
if ((status == {STOPPED})) && [[ $(squeue -h -j "$SLURM_JOB_ID" -o %T) == RUNNING ]]; then
  scontrol requeue "$SLURM_JOB_ID"
fi
exit "$status"
"""


def slurm_text(args: argparse.Namespace, count: int) -> str:
    """An sbatch file that trains the `count` runs of this command line as an array."""
    words = [
        f'--{name}={value}' for name in ('config', 'grid', 'set') for value in vars(args)[name]
    ]
    words += [
        f'--{name}={value}'
        for name in ('list', 'folder', 'metric', 'columns')
        if (value := vars(args)[name]) is not None
    ]
    command = shlex.join([sys.executable, os.path.abspath(__file__), *words])
    return SLURM.format(
        count=count, last=count - 1, at_once=f'%{args.jobs}' if args.jobs > 1 else '',
        file=shlex.quote(args.slurm), job=shlex.quote(args.folder.name),
        output=shlex.quote(f'{args.folder.absolute()}/slurm-%A_%a.out'),
        here=shlex.quote(os.getcwd()), command=command, STOPPED=STOPPED,
    )  # fmt: skip


def parse(words: Sequence[str]) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    several = {'nargs': '+', 'action': 'extend', 'default': []}
    parser.add_argument('--config', **several, required=True, help='recipes, globs too: one axis')
    parser.add_argument('--grid', **several, metavar='KEY=A,B', help='every value with every other')
    parser.add_argument('--set', **several, metavar='KEY=VALUE', help='the same in every run')
    parser.add_argument('--list', metavar='FILE', help='a run a line: KEY=VALUE ...')
    parser.add_argument('--folder', type=pathlib.Path, help='default: runs/sweeps/RECIPE')
    parser.add_argument('--jobs', type=int, default=1, help='runs at the same time')
    parser.add_argument('--gpus', help='such as 0,1,2,3: a run on each of them at the same time')
    parser.add_argument('--slurm', metavar='FILE', help='write an sbatch array instead of running')
    parser.add_argument(
        '--only', type=int, metavar='N', help='only run N (from 0), without a table'
    )
    parser.add_argument('--metric', default='train/loss', help='of the plot and the first columns')
    parser.add_argument('--columns', help='further metrics, with commas; default: held-out ones')
    parser.add_argument('--dry-run', action='store_true', help='print the commands, run nothing')
    args = parser.parse_args(words)
    if args.jobs < 1:
        parser.error(f'--jobs is {args.jobs}: at least 1')
    if args.folder is None:
        stem = pathlib.Path(args.config[0]).stem if len(args.config) == 1 else 'recipes'
        args.folder = pathlib.Path('runs/sweeps', stem if '*' not in stem else 'recipes')
    return args


def planned(args: argparse.Namespace) -> list[Run]:
    """The runs that a command line asks for.

    Raises:
        ConfigError: of a recipe or setting that does not exist, or an empty or doubled run.
    """
    grid = {}
    for text in args.grid:
        key, values = setting(text)
        if key in grid:
            raise ConfigError(f'--grid names {key} twice: give all values at once, with commas')
        grid[key] = values.split(',')
    fixed, lines = dict(map(setting, args.set)), read_list(args.list) if args.list else [{}]
    runs = plan(find_recipes(args.config), grid, fixed, lines, args.folder)
    if args.only is not None and not 0 <= args.only < len(runs):
        raise ConfigError(f'--only is {args.only}, allowed: 0 to {len(runs) - 1}')
    return runs if args.only is None else runs[args.only : args.only + 1]


def show_plan(args: argparse.Namespace, runs: Sequence[Run]) -> None:
    """Prints what would be run, or the file that would be written."""
    if args.slurm:
        console.print(slurm_text(args, len(runs)))
        return
    if args.gpus:
        gpus = args.gpus.replace(',', ' or ')
        console.print(f'# each with CUDA_VISIBLE_DEVICES={gpus}, whichever is free')
    for run in runs:
        done = is_done(run)
        console.print(f'# {run.name}: finished before' if done else shlex.join(run.command))


def main(words: Sequence[str]) -> int:
    """Does what the command line says; returns the exit status."""
    args = parse(words)
    runs = planned(args)
    if args.dry_run:
        show_plan(args, runs)
        return 0
    args.folder.mkdir(parents=True, exist_ok=True)
    if args.slurm:
        pathlib.Path(args.slurm).write_text(slurm_text(args, len(runs)))
        console.print(f'{len(runs)} runs in {args.slurm}: type sbatch {shlex.quote(args.slurm)}')
        return 0
    slots = [{}] * args.jobs
    if args.gpus:
        slots = [{'CUDA_VISIBLE_DEVICES': gpu} for gpu in args.gpus.split(',')]
    outcomes = run_all(runs, slots)
    if args.only is None:
        shown = [results.Shown(r.name, r.folder, r.varied, outcomes[r.name]) for r in runs]
        columns = args.columns.split(',') if args.columns else None
        console.print('\n' + results.write(shown, args.metric, columns, args.folder))
    ends = set(outcomes.values())
    if ends & {'stopped', 'waiting'}:
        console.print('stopped; type the same command again and it goes on')
    return 1 if 'failed' in ends else STOPPED if ends & {'stopped', 'waiting'} else 0


if __name__ == '__main__':
    try:
        sys.exit(main(sys.argv[1:]))
    except (UserError, OSError) as error:
        sys.exit(f'error: {error}')
