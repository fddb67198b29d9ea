"""The command `python -m electra_jax.sweep`, with a stand-in and with the main job."""

import csv
import json
import os
import shlex
import signal
import subprocess
import sys
import time

import pytest

from electra_jax.sweep import job, processes
from electra_jax.sweep.__main__ import parse
from electra_jax.train import metric_lines
from tests.support.recipes import ENVIRONMENT, ROOT, write_recipe
from tests.support.sweep_runs import STAND_IN, stand_ins

COMMAND = [sys.executable, '-m', 'electra_jax.sweep']


def sweep(*words, **changes):
    return subprocess.run(
        [*COMMAND, *words],
        capture_output=True, text=True, cwd=ROOT, env={**ENVIRONMENT, **changes}, timeout=300,
    )  # fmt: skip


def test_help():
    done = sweep('--help')
    assert done.returncode == 0 and 'python -m electra_jax.sweep --config=' in done.stdout
    assert '--metric' in done.stdout


def test_runs_that_exist_are_compared(tmp_path):
    runs = stand_ins(tmp_path, ['1', '2'])
    processes.run_all(runs, [{}, {}], poll_seconds=0.02)
    folders = [str(run.folder) for run in runs]
    done = sweep('--compare', *folders, '--folder', f'{tmp_path}/out', '--columns=eval/disc_auc')
    assert done.returncode == 0, done.stderr
    assert f'| {folders[1]} | 0.75 |' in (tmp_path / 'out' / 'table.md').read_text()
    done = sweep('--compare', str(tmp_path), '--folder', f'{tmp_path}/out')
    assert done.returncode == 1 and f'{tmp_path} is not the workdir of a run' in done.stderr


def test_a_mistake_is_reported_without_a_traceback():
    done = sweep('--config=configs/small.py', '--grid=sede=1')
    assert done.returncode == 1
    loading, message = done.stderr.splitlines()
    assert loading == 'loading the program...'
    assert message.startswith("error: sede is not a setting; did you mean 'seed'")


def test_dry_run_prints_the_commands_and_writes_nothing(tmp_path):
    words = ['--config=configs/small.py', '--grid=seed=0,1', f'--folder={tmp_path}/sweep']
    done = sweep(*words, '--dry-run')
    lines = [shlex.split(line)[1:] for line in done.stdout.splitlines()]
    assert [line[-1] for line in lines] == ['--config.seed=0', '--config.seed=1'], done.stderr
    assert not (tmp_path / 'sweep').exists()


def test_dry_run_shows_what_would_happen_and_no_more(tmp_path, monkeypatch, capsys):
    runs = stand_ins(tmp_path, ['train', 'train2'])
    processes.run_all(runs[:1], [{}], poll_seconds=0.02)
    monkeypatch.setattr(job, 'plan_runs', lambda request: runs)
    capsys.readouterr()
    words = ['--config=x', f'--folder={tmp_path}/out', '--dry-run']
    assert job.run(parse([*words, '--gpus=0,3'])) == 0
    output = capsys.readouterr().out
    assert '# run0: finished before' in output and 'CUDA_VISIBLE_DEVICES=0 or 3' in output
    assert output.count(STAND_IN[:30]) == 1 and 'train2' in output
    assert job.run(parse([*words, f'--slurm={tmp_path}/a.sbatch'])) == 0
    assert '#SBATCH --array=0-1' in capsys.readouterr().out
    assert not (tmp_path / 'a.sbatch').exists() and not (tmp_path / 'out').exists()


def test_a_slurm_array_runs_each_run_once_and_is_requeued_only_if_stopped(tmp_path):
    file = tmp_path / 'array.sbatch'
    words = ['--config=configs/small.py', '--grid=seed=0,1,2', f'--folder={tmp_path}/my sweep']
    done = sweep(*words, '--jobs=2', f'--slurm={file}')
    assert done.returncode == 0 and f'type sbatch {file}' in done.stdout, done.stderr
    text = file.read_text()
    assert '#SBATCH --array=0-2%2\n' in text and '#SBATCH --signal=TERM@180\n' in text
    assert '--jobs' not in text and '--slurm' not in text
    # sbatch reads these lines, by the shell's rules of quotation.
    options = shlex.split(
        ' '.join(line.removeprefix('#SBATCH') for line in text.splitlines() if '#SBATCH' in line)
    )
    assert f'--output={tmp_path}/my sweep/slurm-%A_%a.out' in options
    assert '--job-name=my sweep' in options and '--cpus-per-task=4' in options
    tools = tmp_path / 'bin'
    tools.mkdir()
    for name, body in {
        'srun': 'printf "%s\\n" "$@" > "$WROTE.srun"; exit $((STATUS + SRUN_CPUS_PER_TASK - 6))',
        'squeue': 'echo "$STATE"',
        'scontrol': 'echo "$@" > "$WROTE.scontrol"',
    }.items():
        (tools / name).write_text(f'#!/bin/bash\n{body}\n')
        (tools / name).chmod(0o755)
    for number, (status, state, again) in enumerate(
        [(0, 'RUNNING', False), (1, 'RUNNING', False), (3, 'RUNNING', True), (3, 'FAILED', False)]
    ):
        wrote = tmp_path / f'case{number}'
        environment = {
            **ENVIRONMENT, 'PATH': f'{tools}:{os.environ["PATH"]}', 'SLURM_ARRAY_TASK_ID': '1',
            'SLURM_JOB_ID': '77', 'SLURM_CPUS_PER_TASK': '6', 'STATUS': str(status),
            'STATE': state, 'WROTE': str(wrote),
        }  # fmt: skip
        assert subprocess.run(['bash', file], env=environment).returncode == status
        assert wrote.with_suffix('.scontrol').exists() == again
        command = wrote.with_suffix('.srun').read_text().splitlines()
    assert command[-1] == '--only=1' and f'--folder={tmp_path}/my sweep' in command
    [run] = job.plan_runs(parse(command[3:]))
    assert run.name == 'seed=1' and run.folder == tmp_path / 'my sweep' / 'seed=1'


def test_only_one_run_and_no_table(tmp_path, monkeypatch):
    monkeypatch.setattr(job, 'plan_runs', lambda request: stand_ins(tmp_path, ['fail']))
    assert job.run(parse(['--config=x', f'--folder={tmp_path}', '--only=0'])) == 1
    assert not (tmp_path / 'table.md').exists()


# ---- with the main job


@pytest.mark.slow
def test_two_recipes_become_a_table_and_a_killed_sweep_goes_on(tmp_path):
    for name in ('one', 'two'):
        write_recipe(tmp_path, name, total_steps=6)
    words = [
        '--config', f'{tmp_path}/one.py', f'{tmp_path}/two.py', '--set', 'seed=1',
        '--folder', f'{tmp_path}/sweep',
    ]  # fmt: skip
    process = subprocess.Popen(
        [*COMMAND, *words], cwd=ROOT, env=ENVIRONMENT, text=True,
        stdout=subprocess.PIPE,
    )  # fmt: skip
    first = tmp_path / 'sweep' / 'one'
    while metric_lines.last_step(first) < 2:
        assert process.poll() is None
        time.sleep(0.1)
    process.send_signal(signal.SIGKILL)
    process.wait()
    done = sweep(*words)
    assert done.returncode == 0, done.stdout + done.stderr
    rows = list(csv.DictReader((tmp_path / 'sweep' / 'table.csv').open()))
    assert [row['outcome'] for row in rows] == ['done', 'done']
    assert all(float(row['eval/disc_auc']) > 0 and row['step'] == '6' for row in rows)
    # Of one seed and one recipe but for the name: a run that was continued ends the same.
    assert rows[0]['train/loss'] == rows[1]['train/loss']
    assert json.loads((first / 'sweep.json').read_text())['outcome'] == 'done'
    again = sweep(*words)
    assert '2 of them finished before' in again.stdout and 'started' not in again.stdout


@pytest.mark.slow
def test_a_run_with_a_bad_setting_fails_alone(tmp_path):
    recipe = write_recipe(tmp_path)
    words = ['--config', str(recipe), '--grid', 'optimizer.clip_norm=-1,1']
    done = sweep(*words, '--folder', f'{tmp_path}/sweep', '--jobs', '2')
    assert done.returncode == 1
    assert 'failed clip_norm=-1' in done.stdout and 'config.optimizer.clip_norm is' in done.stdout
    assert 'done clip_norm=1' in done.stdout
