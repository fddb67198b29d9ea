"""Many runs of the main job by one command: a grid, a list, or several recipes; then a table.

Typed again, it skips the runs that are finished and continues the others. The exit status is 0
when all are done, 1 when one failed, 3 when SIGTERM stopped it, 130 when Ctrl-C did; with
--speedrun 3 where the run has not ended.

Examples:
    python -m electra_jax.sweep --config=configs/quickstart.py --set total_steps=200 \\
      --grid optimizer.learning_rate=1e-3,2e-3 seed=0,1
    python -m electra_jax.sweep --config 'configs/objectives/*.py' --jobs=2
    python -m electra_jax.sweep --compare runs/one runs/two
"""

import argparse
import functools
import pathlib
import sys
from collections.abc import Sequence

from electra_jax.core.errors import UserError
from electra_jax.runtime import early, interrupt, usage


def parse(words: Sequence[str]) -> argparse.Namespace:
    """Reads the command line."""
    parser = argparse.ArgumentParser(
        prog='python -m electra_jax.sweep', description=__doc__,
        epilog=usage.settings_text(how='--set NAME=VALUE'),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )  # fmt: skip
    add = parser.add_argument
    several = functools.partial(add, nargs='+', action='extend', default=[])
    several('--config', help='recipes, also globs: one axis of the sweep')
    several('--grid', metavar='KEY=A,B', help='every value with every other')
    several('--set', metavar='KEY=VALUE', help='the same in every run')
    add('--list', metavar='FILE', help='one run per line: KEY=VALUE ...')
    several('--compare', type=pathlib.Path, metavar='WORKDIR',
        help='only make the table of runs that exist')  # fmt: skip
    add('--study', type=pathlib.Path, metavar='FOLDER',
        help='only make the table of a study, of its records: docs/study.md')  # fmt: skip
    add('--baseline', metavar='ARM',
        help='of a study: what each arm is compared with; default: electra')  # fmt: skip
    several('--control', metavar='ARM=ARM', help='of a study: what an arm must beat, too, to win')
    add('--speedrun', type=pathlib.Path, metavar='WORKDIR',
        help='only write the record of what minutes of training gave: docs/study.md')  # fmt: skip
    add('--target', metavar='METRIC=VALUE',
        help='of a speedrun: when was it first reached? Such as eval/mlm_loss=4.5')  # fmt: skip
    add('--folder', type=pathlib.Path, help='default: runs/sweeps/RECIPE, or runs/compared')
    add('--jobs', type=int, default=1, help='runs at the same time')
    add('--gpus', help='such as 0,1,2,3: one run on each of them at the same time')
    add('--slurm', type=pathlib.Path, metavar='FILE', help='write an sbatch array, run nothing')
    add('--only', type=int, metavar='N', help='only run N (from 0), without a table')
    add(
        '--metric',
        help='that ranks the runs and is plotted, such as eval/disc_auc; default: the '
        "median of fine-tuning's headline, or eval/mlm_loss",
    )
    add('--columns', help='further metrics to print, with commas; default: some that differ')
    add('--dry-run', action='store_true', help='print the commands, run nothing')
    args = parser.parse_args(words)
    if args.folder is None and args.compare:
        args.folder = pathlib.Path('runs/compared')
    elif args.folder is None:
        stem = pathlib.Path(args.config[0]).stem if len(args.config) == 1 else '*'
        args.folder = pathlib.Path('runs/sweeps', 'recipes' if '*' in stem else stem)
    return args


if __name__ == '__main__':
    interrupt.while_importing()
    arguments = parse(sys.argv[1:])
    early.loading()

    from electra_jax.sweep import job  # after --help, which needs no other package

    try:
        sys.exit(job.run(arguments))
    except (UserError, OSError) as error:
        sys.exit(f'error: {error}')
