"""A sweep as a Slurm job array."""

import os
import shlex
import sys
from argparse import Namespace

STOPPED = 3  # exit status of a sweep that was asked to stop and has saved

TEMPLATE = """\
#!/usr/bin/env bash
# {count} runs, one for each array task. Name partition, time and devices when you submit it:
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


def array(request: Namespace, count: int) -> str:
    """The text of an sbatch file that trains the `count` runs of a command line as an array."""
    words = [
        f'--{name}={value}'
        for name in ('config', 'grid', 'set')
        for value in getattr(request, name)
    ]
    words += [f'--folder={request.folder}', f'--metric={request.metric}']
    words += [f'--list={request.list}'] if request.list else []
    words += [f'--columns={request.columns}'] if request.columns is not None else []
    command = [sys.executable, '-m', 'electra_jax.sweep', *words]
    return TEMPLATE.format(
        count=count, last=count - 1, at_once=f'%{request.jobs}' if request.jobs > 1 else '',
        file=shlex.quote(str(request.slurm)), job=shlex.quote(request.folder.name),
        output=shlex.quote(f'{request.folder.absolute()}/slurm-%A_%a.out'),
        here=shlex.quote(os.getcwd()), command=shlex.join(command), STOPPED=STOPPED,
    )  # fmt: skip
