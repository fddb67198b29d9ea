"""One HTML page about runs, which needs no network: curves, text, settings, results of tasks.

A run writes its own at its end, into its workdir. This command writes it again, also while the run
goes on, or puts several runs next to each other; a folder of workdirs, as a sweep leaves it, stands
for all runs in it.

Examples:
    python -m electra_jax.report --workdir=runs/mine
    python -m electra_jax.report --workdir runs/one runs/two --output=compared.html
    python -m electra_jax.report --workdir runs/seed0 runs/seed1 --save_reference=normal.json
"""

import argparse
import pathlib
import sys
from collections.abc import Sequence

from electra_jax.core.errors import UserError
from electra_jax.runtime import early, interrupt


def parse(words: Sequence[str]) -> argparse.Namespace:
    """Reads the command line."""
    parser = argparse.ArgumentParser(
        prog='python -m electra_jax.report', description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )  # fmt: skip
    add = parser.add_argument
    add('--workdir', nargs='+', action='extend', required=True,
        help='of one run or several, or a folder of workdirs')  # fmt: skip
    add('--output', help='default: report.html in the (first) workdir')
    add(
        '--reference', metavar='FILE',
        help='curves that are normal, drawn behind; default: those of config.log.reference',
    )  # fmt: skip
    add(
        '--save_reference', metavar='FILE', type=pathlib.Path,
        help='write the curves of these runs as such a file, and no page',
    )  # fmt: skip
    return parser.parse_args(words)


if __name__ == '__main__':
    interrupt.while_importing()
    arguments = parse(sys.argv[1:])
    early.loading()

    from electra_jax.report import job  # after --help, which needs no other package

    try:
        job.run(arguments)
    except (UserError, OSError) as error:
        sys.exit(f'error: {error}')
