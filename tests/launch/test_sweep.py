"""Sweeps: what runs they plan, and how they start, stop, skip and report them.

The fast tests stand a few lines of Python in for the main job; those marked slow train with it.
"""

import csv
import fcntl
import json
import os
import pathlib
import shlex
import signal
import subprocess
import sys
import threading
import time

import pytest

from electra_jax.core.errors import ConfigError
from tests.support.recipes import ENVIRONMENT, LAUNCH, ROOT, write_recipe

import processes  # isort: skip  (launch/ is on the path from here on)
import results  # isort: skip
import sweep  # isort: skip

# Trains like the main job as far as a sweep can see: files, last words, exit status, SIGTERM.
STAND_IN = """
import json, os, pathlib, signal, sys, time
folder, behaviour, steps = pathlib.Path(sys.argv[1]), sys.argv[2], int(sys.argv[3])
print('begun', os.environ.get('CUDA_VISIBLE_DEVICES'), flush=True)
if behaviour == 'fail':
    sys.exit('error: config.seed is -1, allowed: 0 to 4294967295')
signal.signal(signal.SIGTERM, lambda *_: print('stopped by SIGTERM') or sys.exit(0))
about = {'config': {'total_steps': steps, 'batch_size': 4, 'data': {'row_length': 16}},
         'flops_per_token': {'mfu': 1e6, 'paper': 2e6}}
(folder / 'config.json').write_text(json.dumps(about))
with (folder / 'metrics.jsonl').open('w') as file:
    for step in range(1, steps + 1):
        line = {'step': step, 'train/loss': 8.0 / step, 'speed/steps_per_second': 4.0}
        file.write(json.dumps(line) + '\\n')
    file.write(json.dumps({'step': steps, 'eval/disc_auc': 0.75}) + '\\n')
if behaviour == 'hang' and not (folder / 'go').exists():
    time.sleep(60)
print('done')
"""


class StandIn(processes.Run):
    """A run of the stand-in; its behaviour is the setting 'seed'."""

    @property
    def command(self):
        behaviour = self.settings.get('seed', 'train')
        return [sys.executable, '-c', STAND_IN, str(self.folder), behaviour, '4']


def stand_ins(folder, behaviours):
    recipe = folder / 'recipe.py'
    recipe.write_text('# a recipe\n')
    return [
        StandIn(f'run{i}', str(recipe), {'seed': seed}, {'seed': seed}, folder / f'run{i}')
        for i, seed in enumerate(behaviours)
    ]


@pytest.fixture(autouse=True)
def quick_polls(monkeypatch):
    monkeypatch.setattr(processes, 'POLL_SECONDS', 0.02)


# ---- what to run


def plan(*words):
    return sweep.planned(sweep.parse(words))


def test_a_grid_is_every_value_with_every_other():
    runs = plan(
        '--config=configs/quickstart.py', '--grid', 'optimizer.learning_rate=1e-3,2e-3',
        'seed=0,1', '--set', 'total_steps=200',
    )  # fmt: skip
    assert [run.name for run in runs] == [
        'learning_rate=1e-3-seed=0', 'learning_rate=1e-3-seed=1',
        'learning_rate=2e-3-seed=0', 'learning_rate=2e-3-seed=1',
    ]  # fmt: skip
    assert runs[2].command[1:] == [
        '-m', 'electra_jax.main', '--config=configs/quickstart.py',
        '--workdir=runs/sweeps/quickstart/learning_rate=2e-3-seed=0',
        '--config.total_steps=200', '--config.optimizer.learning_rate=2e-3', '--config.seed=0',
    ]  # fmt: skip


@pytest.mark.parametrize('words', [['--config=configs/corpus/*.py'], None])
def test_recipes_are_an_axis_whether_the_shell_expands_them_or_not(words):
    files = sorted(str(p.relative_to(ROOT)) for p in (ROOT / 'configs' / 'corpus').glob('*.py'))
    runs = plan(*(words or ['--config', *files]))
    assert [run.recipe for run in runs] == files
    assert [run.name for run in runs] == [pathlib.Path(file).stem for file in files]
    assert runs[0].folder.parent == pathlib.Path('runs/sweeps/recipes')


def test_recipes_of_one_name_keep_apart(tmp_path):
    for folder in ('a', 'b'):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / 'x.py').write_text('')
    names = [run.name for run in plan('--config', f'{tmp_path}/a/x.py', f'{tmp_path}/b/x.py')]
    assert len(set(names)) == 2 and all('/' not in name for name in names)


def test_a_setting_may_be_named_by_its_last_word():
    [run] = plan('--config=configs/small.py', '--grid', 'learning_rate=1e-3')
    assert run.settings == {'optimizer.learning_rate': '1e-3'}


def test_a_list_gives_a_run_a_line(tmp_path):
    lines = tmp_path / 'runs.txt'
    lines.write_text('# rate and seed\n--config.seed=3 model.size=tiny\n\nseed=4\n')
    runs = plan('--config=configs/small.py', f'--list={lines}')
    assert [run.settings for run in runs] == [{'seed': '3', 'model.size': 'tiny'}, {'seed': '4'}]
    assert [run.name for run in runs] == ['seed=3-size=tiny', 'seed=4']


def test_long_and_odd_values_become_folder_names(tmp_path):
    text = f'data.source=text:{"/very/long" * 30}'
    [run] = plan('--config=configs/small.py', '--grid', text)
    assert len(run.name) <= 120 and '/' not in run.name
    [other] = plan('--config=configs/small.py', '--grid', text + '/other')
    assert other.name != run.name


@pytest.mark.parametrize(
    ('words', 'message'),
    [
        (['--grid', 'optimizer.learning_rat=1'], "did you mean 'optimizer.learning_rate'"),
        (['--set', 'seed'], 'settings look like KEY=VALUE'),
        (['--grid', 'seed=0,0'], 'two runs are called seed=0'),
        (['--grid', 'seed=0', 'seed=1'], 'names seed twice'),
        (['--grid', 'seed=0,1', '--only=2'], 'allowed: 0 to 1'),
        (['--config=configs/none*.py'], 'no such recipe: configs/none'),
    ],
)
def test_what_cannot_be_is_refused_before_anything_runs(words, message):
    with pytest.raises(ConfigError, match=message):
        plan('--config=configs/small.py', *words)


def test_a_bad_line_of_a_list_is_named(tmp_path):
    lines = tmp_path / 'runs.txt'
    lines.write_text('seed=1\nsede=2\n')
    with pytest.raises(ConfigError, match=r"runs.txt:2: sede is not .* mean 'seed'"):
        plan('--config=configs/small.py', f'--list={lines}')


# ---- running


def test_a_failed_run_is_shown_and_does_not_stop_the_others(tmp_path, capsys):
    outcomes = processes.run_all(stand_ins(tmp_path, ['train', 'fail', 'train2']), [{}])
    assert outcomes == {'run0': 'done', 'run1': 'failed', 'run2': 'done'}
    said = capsys.readouterr().out
    assert 'failed run1 (exit status 1)' in said and '    error: config.seed is -1' in said


def test_typed_again_it_skips_what_is_finished_only(tmp_path, capsys):
    runs = stand_ins(tmp_path, ['train', 'fail'])
    processes.run_all(runs, [{}])
    runs[1] = StandIn(*runs[1][:2], {'seed': 'mended'}, *runs[1][3:])
    capsys.readouterr()
    assert set(processes.run_all(runs, [{}]).values()) == {'done'}
    said = capsys.readouterr().out
    assert '1 of them finished before' in said and 'started run0' not in said
    pathlib.Path(runs[0].recipe).write_text('# another recipe\n')
    processes.run_all(runs, [{}])
    assert 'started run0' in capsys.readouterr().out


def test_runs_share_the_slots_and_each_has_its_gpu(tmp_path):
    runs = stand_ins(tmp_path, ['hang', 'hang'])
    threading.Thread(target=release, args=(runs,)).start()
    slots = [{'CUDA_VISIBLE_DEVICES': '0'}, {'CUDA_VISIBLE_DEVICES': '5'}]
    outcomes = processes.run_all(runs, slots)
    # Had they not run side by side, nothing would ever have stopped the first one.
    assert outcomes == {'run0': 'stopped', 'run1': 'stopped'}
    logs = [(run.folder / 'log.txt').read_text() for run in runs]
    assert 'begun 0' in logs[0] and 'begun 5' in logs[1]


def release(runs):
    """Asks the sweep, which is this process, to stop once all runs are under way."""
    while not all((run.folder / 'metrics.jsonl').exists() for run in runs):
        time.sleep(0.02)
    time.sleep(0.2)
    os.kill(os.getpid(), signal.SIGTERM)


def test_asked_to_stop_it_lets_runs_save_and_leaves_the_rest_for_the_next_time(tmp_path):
    runs = stand_ins(tmp_path, ['hang', 'train'])
    threading.Thread(target=release, args=(runs[:1],)).start()
    assert processes.run_all(runs, [{}]) == {'run0': 'stopped', 'run1': 'waiting'}
    (runs[0].folder / 'go').write_text('')
    assert set(processes.run_all(runs, [{}]).values()) == {'done'}


def test_a_run_left_over_from_a_killed_sweep_is_waited_for(tmp_path, capsys):
    runs = stand_ins(tmp_path, ['train'])
    runs[0].folder.mkdir()
    lock = (runs[0].folder / 'sweep.lock').open('w')
    fcntl.flock(lock, fcntl.LOCK_EX)
    threading.Timer(0.3, lock.close).start()
    began = time.monotonic()
    assert processes.run_all(runs, [{}]) == {'run0': 'done'}
    assert time.monotonic() - began > 0.3
    assert 'waiting: other processes are at' in capsys.readouterr().out


# ---- table and plot


@pytest.fixture
def finished(tmp_path):
    runs = stand_ins(tmp_path, ['1', '2'])
    processes.run_all(runs, [{}, {}])
    return [results.Shown(run.name, run.folder, run.varied, 'done') for run in runs]


def test_the_table_has_first_and_last_loss_held_out_metrics_time_and_operations(finished, tmp_path):
    said = results.write(finished, 'train/loss', None, tmp_path / 'out')
    head, _, first, _ = (tmp_path / 'out' / 'table.md').read_text().splitlines()
    assert head == (
        '| run | outcome | step | train/loss first | train/loss last | eval/disc_auc | ms/step '
        '| GFLOP/step | GFLOP/step (paper) |'
    )
    # 4 rows of 16 tokens: 64 times the operations of a token.
    assert first == '| run0 | done | 4 | 8 | 2 | 0.75 | 250 | 0.064 | 0.128 |'
    with (tmp_path / 'out' / 'table.csv').open() as file:
        rows = list(csv.DictReader(file))
    assert [row['seed'] for row in rows] == ['1', '2'] and float(rows[1]['train/loss last']) == 2.0
    assert first in said


def test_columns_may_be_chosen_and_a_run_that_never_began_has_empty_cells(finished, tmp_path):
    runs = [*finished, results.Shown('none', tmp_path / 'none', {}, 'waiting')]
    names, rows = results.table(runs, 'eval/disc_auc', ['train/loss'])
    assert rows[0]['eval/disc_auc last'] == 0.75 and rows[0]['train/loss'] == 2.0
    assert results.markdown(names, rows).splitlines()[-1] == '| none | waiting |' + '  |' * 7


def test_fine_tuning_shows_the_spread_of_its_headline(tmp_path):
    headline = {
        'metric': 'dev/matthews', 'median': 0.125, 'mean': 0.12, 'standard_deviation': 0.01,
        'lowest': 0.1, 'highest': 0.15, 'trials': 5,
    }  # fmt: skip
    (tmp_path / 'results.json').write_text(json.dumps({'task': 'cola', 'headline': headline}))
    row = results.summary(results.Shown('cola', tmp_path, outcome='done'), 'train/loss', None)
    assert row == {
        'run': 'cola', 'outcome': 'done', 'metric': 'dev/matthews', 'median': 0.125, 'mean': 0.12,
        'standard deviation': 0.01, 'trials': 5,
    }  # fmt: skip


def test_a_line_that_is_still_being_written_is_left_out(finished):
    path = finished[0].folder / 'metrics.jsonl'
    path.write_text(path.read_text() + '{"step": 9, "train/lo')
    assert [line['step'] for line in results.read_metrics(finished[0].folder)] == [1, 2, 3, 4, 4]
    assert results.last_step(finished[0].folder) == 9


def test_a_line_that_was_torn_in_the_middle_is_left_out(finished):
    path = finished[0].folder / 'metrics.jsonl'
    path.write_text('{"step": 1, "tr\n' + path.read_text())
    assert [line['step'] for line in results.read_metrics(finished[0].folder)] == [1, 2, 3, 4, 4]


def test_the_plot_is_a_picture(finished, tmp_path):
    pytest.importorskip('matplotlib', reason='draws with it')
    assert results.plot(finished, 'train/loss', tmp_path / 'p.png').endswith('p.png')
    assert (tmp_path / 'p.png').read_bytes()[:4] == b'\x89PNG'


def test_without_matplotlib_the_table_still_comes(finished, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, 'matplotlib', None)
    said = results.write(finished, 'train/loss', None, tmp_path / 'out')
    assert 'pip install matplotlib' in said and (tmp_path / 'out' / 'table.md').exists()
    assert not (tmp_path / 'out' / 'plot.png').exists()


# ---- the command


def script(name, *words, **changes):
    return subprocess.run(
        [sys.executable, LAUNCH / name, *words],
        capture_output=True, text=True, cwd=ROOT, env={**ENVIRONMENT, **changes}, timeout=300,
    )  # fmt: skip


@pytest.mark.parametrize('name', ['sweep.py', 'results.py'])
def test_help(name):
    done = script(name, '--help')
    assert done.returncode == 0 and f'python launch/{name}' in done.stdout
    assert '--metric' in done.stdout


def test_a_mistake_is_told_without_a_traceback():
    done = script('sweep.py', '--config=configs/small.py', '--grid=sede=1')
    assert done.returncode == 1
    assert done.stderr == "error: sede is not a setting; did you mean 'seed'?\n"


def test_dry_run_prints_the_commands_and_writes_nothing(tmp_path):
    words = ['--config=configs/small.py', '--grid=seed=0,1', f'--folder={tmp_path}/sweep']
    done = script('sweep.py', *words, '--dry-run')
    lines = [shlex.split(line)[1:] for line in done.stdout.splitlines()]
    assert [line[-1] for line in lines] == ['--config.seed=0', '--config.seed=1'], done.stderr
    assert not (tmp_path / 'sweep').exists()


def test_dry_run_shows_what_would_happen_and_no_more(tmp_path, monkeypatch, capsys):
    runs = stand_ins(tmp_path, ['train', 'train2'])
    processes.run_all(runs[:1], [{}])
    monkeypatch.setattr(sweep, 'planned', lambda args: runs)
    capsys.readouterr()
    words = ['--config=x', f'--folder={tmp_path}/out', '--dry-run']
    assert sweep.main([*words, '--gpus=0,3']) == 0
    said = capsys.readouterr().out
    assert '# run0: finished before' in said and 'CUDA_VISIBLE_DEVICES=0 or 3' in said
    assert said.count(STAND_IN[:30]) == 1 and 'train2' in said
    assert sweep.main([*words, f'--slurm={tmp_path}/a.sbatch']) == 0
    assert '#SBATCH --array=0-1' in capsys.readouterr().out
    assert not (tmp_path / 'a.sbatch').exists() and not (tmp_path / 'out').exists()


def test_a_slurm_array_runs_each_run_once_and_is_requeued_only_if_stopped(tmp_path):
    file = tmp_path / 'array.sbatch'
    words = ['--config=configs/small.py', '--grid=seed=0,1,2', f'--folder={tmp_path}/my sweep']
    done = script('sweep.py', *words, '--jobs=2', f'--slurm={file}')
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
    [run] = plan(*command[2:])
    assert run.name == 'seed=1' and run.folder == tmp_path / 'my sweep' / 'seed=1'


def test_only_one_run_and_no_table(tmp_path, monkeypatch):
    monkeypatch.setattr(sweep, 'planned', lambda args: stand_ins(tmp_path, ['fail']))
    assert sweep.main(['--config=x', f'--folder={tmp_path}', '--only=0']) == 1
    assert not (tmp_path / 'table.md').exists()


# ---- with the main job


@pytest.mark.slow
def test_two_recipes_become_a_table_and_a_killed_sweep_goes_on(tmp_path):
    for name in ('one', 'two'):
        write_recipe(tmp_path, name, steps=6)
    words = [
        '--config', f'{tmp_path}/one.py', f'{tmp_path}/two.py', '--set', 'seed=1',
        '--folder', f'{tmp_path}/sweep',
    ]  # fmt: skip
    process = subprocess.Popen(
        [sys.executable, LAUNCH / 'sweep.py', *words], cwd=ROOT, env=ENVIRONMENT, text=True,
        stdout=subprocess.PIPE,
    )  # fmt: skip
    first = tmp_path / 'sweep' / 'one'
    while results.last_step(first) < 2:
        assert process.poll() is None
        time.sleep(0.1)
    process.send_signal(signal.SIGKILL)
    process.wait()
    done = script('sweep.py', *words)
    assert done.returncode == 0, done.stdout + done.stderr
    rows = list(csv.DictReader((tmp_path / 'sweep' / 'table.csv').open()))
    assert [row['outcome'] for row in rows] == ['done', 'done']
    assert all(float(row['eval/disc_auc']) > 0 and row['step'] == '6' for row in rows)
    # Of one seed and one recipe but for the name: a run that was taken up again ends the same.
    assert rows[0]['train/loss last'] == rows[1]['train/loss last']
    assert json.loads((first / 'sweep.json').read_text())['outcome'] == 'done'
    again = script('sweep.py', *words)
    assert '2 of them finished before' in again.stdout and 'started' not in again.stdout


@pytest.mark.slow
def test_a_run_with_a_bad_setting_fails_alone(tmp_path):
    recipe = write_recipe(tmp_path)
    words = ['--config', str(recipe), '--grid', 'optimizer.clip_norm=-1,1']
    done = script('sweep.py', *words, '--folder', f'{tmp_path}/sweep', '--jobs', '2')
    assert done.returncode == 1
    assert 'failed clip_norm=-1' in done.stdout and 'config.optimizer.clip_norm is' in done.stdout
    assert 'done clip_norm=1' in done.stdout
