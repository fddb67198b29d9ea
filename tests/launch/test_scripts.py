"""The other scripts of the launch folder: what they run and print, and that they are sound."""

import json
import os
import pathlib
import re
import shlex
import shutil
import signal
import subprocess
import sys
import time
import tomllib

import pytest

from electra_jax.config.recipe import load
from electra_jax.train import workdir
from tests.support.corpora import WORDS
from tests.support.recipes import ENVIRONMENT, LAUNCH, ROOT, write_recipe

SCRIPTS = sorted(
    [
        *LAUNCH.glob('*.sh'),
        *ROOT.glob('benchmarks/*.sh'),
        LAUNCH / 'slurm.sbatch',
        ROOT / '.ci' / 'run',
    ]
)
HELP = {
    'tpu_vm.sh': '--on-demand', 'on_worker.sh': 'setup [BUCKET]', 'stoppable.sh': 'status 75',
    'gpu.sh': 'XLA_PYTHON_CLIENT_MEM_FRACTION', 'slurm.sbatch': '--ntasks-per-node',
    'objectives.sh': 'STEPS=1000', 'study.sh': 'SEEDS=0,1,2', 'speedrun.sh': 'MINUTES=15',
}  # fmt: skip


@pytest.mark.parametrize('path', SCRIPTS, ids=lambda path: path.name)
def test_shellcheck_finds_nothing(path):
    if not shutil.which('shellcheck'):
        pytest.skip('needs shellcheck (in the test extra)')
    done = subprocess.run(['shellcheck', '-x', path], capture_output=True, text=True, cwd=ROOT)
    assert done.returncode == 0, done.stdout


@pytest.mark.parametrize('name', HELP)
def test_help(name):
    done = subprocess.run(['bash', LAUNCH / name, '--help'], capture_output=True, text=True)
    assert done.returncode == 0 and HELP[name] in done.stdout, done.stderr
    assert 'set -' not in done.stdout and '#SBATCH' not in done.stdout


@pytest.fixture
def copy(tmp_path):
    """The launch folder where nothing is installed, and a folder of tools first on the path."""
    shutil.copytree(LAUNCH, tmp_path / 'launch')
    (tmp_path / 'launch' / 'venv.sh').write_text('use_venv() { echo "installed [$1]"; }\n')
    (tmp_path / 'bin').mkdir()
    return tmp_path


def tool(copy, name, body):
    path = copy / 'bin' / name
    path.write_text(f'#!/bin/bash\n{body}\n')
    path.chmod(0o755)


def script(copy, name, *words, **changes):
    environment = {**ENVIRONMENT, 'PATH': f'{copy}/bin:{os.environ["PATH"]}', **changes}
    environment.pop('CUDA_VISIBLE_DEVICES' if 'CUDA_VISIBLE_DEVICES' not in changes else '', None)
    if 'XLA_FLAGS' not in changes:
        environment.pop('XLA_FLAGS')
    return subprocess.run(
        ['bash', copy / 'launch' / name, *words],
        capture_output=True, text=True, cwd=copy, env=environment, timeout=300,
    )  # fmt: skip


# ---- venv.sh


def test_a_half_made_venv_is_made_again(tmp_path):
    (tmp_path / 'launch').mkdir()
    shutil.copy(LAUNCH / 'venv.sh', tmp_path / 'launch')
    (tmp_path / 'pyproject.toml').write_text('')
    broken = tmp_path / '.venv' / 'bin'
    broken.mkdir(parents=True)
    # As python3 -m venv leaves it where there is no ensurepip: a Python without pip.
    (broken / 'python').write_text('#!/bin/bash\nexit 1\n')
    (broken / 'python').chmod(0o755)
    made = '#!/bin/bash\\n[[ $* == *version ]] || echo "$@"\\n'
    fake = tmp_path / 'fake'
    fake.write_text(
        '#!/bin/bash\n[[ $2 == venv ]] || exit 0\n'
        f'echo "$@"; touch {broken}/activate\n'
        f"printf '{made}' > {broken}/python; chmod +x {broken}/python\n"
    )
    fake.chmod(0o755)
    for times in (1, 0):
        done = subprocess.run(
            ['bash', '-euc', 'source launch/venv.sh; use_venv ""'],
            capture_output=True, text=True, cwd=tmp_path, env={**os.environ, 'PYTHON': str(fake)},
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        assert done.stdout.count(f'-m venv --clear {tmp_path}/.venv') == times
        assert done.stdout.count('-m pip install') == times


# ---- h200.sh


def test_benchmarks_go_on_after_a_failure_and_skip_what_this_revision_has(tmp_path):
    fake = tmp_path / 'python'
    fake.write_text(
        '#!/bin/bash\nfolder=${3#--folder=}; mkdir -p "$folder"\n'
        '[[ $folder != *base-length* ]] || exit 1\n'
        'echo "{\\"revision\\": $REVISION}" > "$folder/a-record.json"\n'
    )
    fake.chmod(0o755)

    def measured_before(revision):
        done = subprocess.run(
            ['bash', ROOT / 'benchmarks' / 'h200.sh', tmp_path / 'out'],
            capture_output=True, text=True,
            env={**os.environ, 'TINY': '1', 'PYTHON': str(fake), 'REVISION': json.dumps(revision)},
        )  # fmt: skip
        assert done.returncode == 1
        assert done.stderr.splitlines()[-1] == 'failed: base-length-16 base-length-32'
        return done.stderr.count('measured before')

    assert measured_before('another') == 0
    assert measured_before(workdir.revision()) == 0
    assert measured_before(workdir.revision()) == 6


# ---- gpu.sh

MEMORY = 'XLA_PYTHON_CLIENT_MEM_FRACTION=0.92'
LATENCY = '--xla_gpu_enable_latency_hiding_scheduler=true'


@pytest.mark.parametrize(
    ('gpus', 'changes', 'expected'),
    [
        (1, {}, (1, [MEMORY])),
        (4, {}, (4, [MEMORY, f'XLA_FLAGS={LATENCY}'])),
        (4, {'CUDA_VISIBLE_DEVICES': '2'}, (1, [MEMORY])),
        (
            2, {'XLA_FLAGS': '--mine', 'XLA_PYTHON_CLIENT_MEM_FRACTION': '.5'},
            (2, ['XLA_PYTHON_CLIENT_MEM_FRACTION=.5', 'XLA_FLAGS=--mine']),
        ),
    ],
)  # fmt: skip
def test_gpu_dry_run(copy, gpus, changes, expected):
    tool(copy, 'nvidia-smi', f'for i in $(seq {gpus}); do echo "GPU $i: NVIDIA"; done')
    done = script(copy, 'gpu.sh', '--config=c.py', '--dry-run', 'a b', **changes)
    head, *lines, command = done.stdout.splitlines()
    count, exports = expected
    assert head == f'# GPUs: {count}'
    assert [shlex.split(line) for line in lines] == [
        ['cd', str(copy)], ['source', 'launch/venv.sh'], ['use_venv', 'gpu'],
        *(['export', word] for word in exports),
        ['export', f"ELECTRA_SCRIPT='{copy}/launch/gpu.sh'"],
    ]  # fmt: skip
    assert shlex.split(command) == [
        'exec', 'python', '-m', 'electra_jax.main', '--config=c.py', 'a b'
    ]  # fmt: skip


def test_gpu_trains_with_its_extra(copy):
    tool(copy, 'nvidia-smi', 'echo "GPU 0: NVIDIA"')
    tool(copy, 'python', 'echo "$@"; echo "$XLA_PYTHON_CLIENT_MEM_FRACTION"')
    done = script(copy, 'gpu.sh', '--config=c.py')
    assert done.stdout == 'installed [gpu]\n-m electra_jax.main --config=c.py\n0.92\n'


@pytest.mark.parametrize('name', ['quickstart.sh', 'gpu.sh'])
def test_the_command_to_type_again_is_the_script(copy, name):
    tool(copy, 'nvidia-smi', 'echo "GPU 0: NVIDIA"')
    again = 'from electra_jax.runtime import cli; print(cli.same_command())'
    tool(copy, 'python', f'PYTHONPATH={ROOT} {sys.executable} -c "{again}" "${{@:3}}"')
    done = script(copy, name, '--config.seed=3')
    assert done.stdout.splitlines()[-1] == f'{copy}/launch/{name} --config.seed=3', done.stderr


def test_gpu_dry_run_needs_no_gpu(copy):
    tool(copy, 'nvidia-smi', 'exit 9')
    done = script(copy, 'gpu.sh', '--config=c.py', '--dry-run')
    assert done.returncode == 0 and 'finds no NVIDIA GPU' in done.stdout
    assert done.stdout.splitlines()[-1].endswith("'--config=c.py'")


def test_without_a_gpu_it_says_where_to_go(copy):
    tool(copy, 'nvidia-smi', 'exit 9')
    done = script(copy, 'gpu.sh', '--config=c.py')
    assert done.returncode == 1 and './launch/quickstart.sh' in done.stderr


@pytest.mark.parametrize('flag', [LATENCY])
def test_xla_knows_the_flag(flag):
    # An unknown one ends the process.
    subprocess.run(
        [sys.executable, '-c', 'import jax; jax.devices()'],
        check=True, env={**ENVIRONMENT, 'XLA_FLAGS': flag},
    )  # fmt: skip


# ---- stoppable.sh and slurm.sbatch


@pytest.mark.parametrize('number', [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
@pytest.mark.parametrize(
    ('body', 'signalled', 'status'),
    [
        ('exit 0', False, 0),
        ('exit 7', False, 7),
        ('trap "sleep 0.1; exit 0" TERM; touch ready; sleep 9 & wait', True, 75),
        ('trap "sleep 0.1; exit 130" TERM; touch ready; sleep 9 & wait', True, 75),
        ('trap "exit 7" TERM; touch ready; sleep 9 & wait', True, 7),
        ('trap "exit 3" TERM; touch ready; sleep 9 & wait', True, 75),  # a sweep
        ('touch ready; exec sleep 9', True, 75),  # killed, as while a command loads
        ('trap "" TERM; touch ready; sleep 0.5; kill -KILL $$', True, 128 + signal.SIGKILL),
        ('kill -TERM $$', False, 128 + signal.SIGTERM),  # by another
    ],
)
def test_stoppable(tmp_path, body, signalled, status, number):
    process = subprocess.Popen(['bash', LAUNCH / 'stoppable.sh', 'bash', '-c', body], cwd=tmp_path)
    if signalled:
        while not (tmp_path / 'ready').exists():
            time.sleep(0.01)
        process.send_signal(number)
    assert process.wait(timeout=10) == status


def test_stoppable_passes_on_what_came_before_it_knew_its_child(tmp_path):
    slow = (LAUNCH / 'steps.sh').read_text().replace('running=$!', 'sleep 0.5\n  running=$!')
    (tmp_path / 'steps.sh').write_text(slow)
    shutil.copy(LAUNCH / 'stoppable.sh', tmp_path)
    body = 'kill -TERM $PPID; exec sleep 9'
    done = subprocess.run(['bash', tmp_path / 'stoppable.sh', 'bash', '-c', body], timeout=8)
    assert done.returncode == 75


@pytest.mark.parametrize('status', [0, 7, 127])
def test_stoppable_knows_the_status_of_what_ends_before_it_looks(tmp_path, status):
    (tmp_path / 'slowly').write_text("set -T; trap 'sleep 0.05' DEBUG\n")
    command = ['bash', LAUNCH / 'stoppable.sh', 'sh', '-c', f'exit {status}']
    environment = {**os.environ, 'BASH_ENV': str(tmp_path / 'slowly')}
    assert subprocess.run(command, env=environment).returncode == status


def test_slurm_has_a_task_for_each_gpu_and_signals_before_the_end():
    options = re.findall(r'^#SBATCH --(\S+)', (LAUNCH / 'slurm.sbatch').read_text(), re.MULTILINE)
    values = dict(option.partition('=')[::2] for option in options)
    assert values['ntasks-per-node'] == values['gpus-per-node']
    assert 'gpus-per-task' not in values and 'requeue' in values
    assert values['signal'] == 'TERM@300' and values['open-mode'] == 'append'


@pytest.mark.parametrize('at', [0, 2])
def test_slurm_dry_run_prints_all_it_would_do(at):
    words = ['--config=c.py', 'a b']
    words.insert(at, '--dry-run')
    done = subprocess.run(['bash', LAUNCH / 'slurm.sbatch', *words], capture_output=True, text=True)
    lines = [shlex.split(line) for line in done.stdout.splitlines()]
    assert lines[0] == ['cd', str(pathlib.Path.cwd())]
    assert lines[1:3] == [['source', 'launch/venv.sh'], ['use_venv', 'gpu']]
    assert ['export', 'SRUN_CPUS_PER_TASK=4'] in lines
    assert ['export', 'ELECTRA_SCRIPT=sbatch OPTIONS launch/slurm.sbatch'] in lines
    assert lines[-2] == [
        'srun', 'launch/stoppable.sh', 'python', '-m', 'electra_jax.main', '--config=c.py', 'a b'
    ]  # fmt: skip
    assert 'scontrol requeue' in done.stdout.splitlines()[-1]


@pytest.mark.parametrize(
    ('status', 'state', 'again'),
    [
        (0, 'RUNNING', False),
        (1, 'RUNNING', False),
        (75, 'RUNNING', True),
        (75, 'COMPLETING', False),
    ],
)
def test_slurm_requeues_what_was_stopped_but_not_what_was_cancelled(copy, status, state, again):
    tool(copy, 'srun', f'echo "$SRUN_CPUS_PER_TASK: $@"; exit {status}')
    tool(copy, 'squeue', f'echo {state}')
    tool(copy, 'scontrol', 'echo "$@"')
    environment = {
        'SLURM_SUBMIT_DIR': str(copy), 'SLURM_JOB_ID': '77', 'SLURM_CPUS_PER_TASK': '6',
    }  # fmt: skip
    done = script(copy, 'slurm.sbatch', '--config=c.py', **environment)
    assert done.returncode == status
    installed, ran, *rest = done.stdout.splitlines()
    assert installed == 'installed [gpu]'
    assert ran == '6: launch/stoppable.sh python -m electra_jax.main --config=c.py'
    assert rest == (['requeue 77'] if again else [])


# ---- study.sh


def test_what_is_typed_reaches_the_part_of_a_study_that_it_names(copy):
    tool(copy, 'python', 'echo "$@" >> calls')
    (copy / 'runs/study/pretrain/electra-seed=0/checkpoints').mkdir(parents=True)
    done = script(
        copy, 'study.sh', '--jobs=2', '--set=total_steps=9', '--metric=eval/disc_auc', TASKS='tasks'
    )
    calls = (copy / 'calls').read_text().splitlines()
    assert done.returncode == 0 and len(calls) == 4, done.stderr
    training, averaging, tuning, table = calls
    assert '/pretrain --jobs=2 --set=total_steps=9' in training and '--metric' not in training
    assert 'electra_jax.convert' in averaging and '--jobs' not in averaging
    assert tuning.endswith('/finetune --jobs=2') and 'total_steps' not in tuning
    assert table.endswith(' --metric=eval/disc_auc') and '--jobs' not in table


@pytest.mark.parametrize(
    ('word', 'message'),
    [
        ('--set=task.epochs=5', "TASK_SET='task.epochs=5'"),
        ('--folder=elsewhere', '--folder=elsewhere is not understood, allowed: --jobs=N'),
        ('seed=3', 'seed=3 is not understood'),
    ],
)
def test_what_no_part_of_a_study_has_is_refused(copy, word, message):
    tool(copy, 'python', 'touch called')
    done = script(copy, 'study.sh', word)
    assert done.returncode == 1 and message in done.stderr
    assert 'installed' not in done.stdout and not (copy / 'called').exists()


# ---- speedrun.sh


@pytest.mark.parametrize(
    ('changes', 'words', 'message'),
    [
        ({}, (), "no corpus in corpora/speedrun: type SOURCE='text:FILES/*.txt'"),
        ({'CORPUS': 'made/elsewhere'}, (), 'no corpus in made/elsewhere'),
        ({'SOURCE': 'text:x', 'TASKS': 'nowhere'}, (), 'nowhere has no folder of CoLA'),
        (
            {'SOURCE': 'text:x', 'TASK_NAMES': 'cola'},
            (),
            "TASK_NAMES is 'cola', but nothing is fine",
        ),
        ({'SOURCE': 'text:x', 'TASK_SET': 'a=1'}, (), 'type TASKS=FOLDER, that holds the files'),
        ({'SOURCE': 'text:x'}, ('--minutes=3',), '--minutes=3 is not understood, allowed: --work'),
    ],
)
def test_a_speedrun_that_cannot_begin_is_refused_before_anything_is_installed(
    copy, changes, words, message
):
    tool(copy, 'python', 'touch called')
    done = script(copy, 'speedrun.sh', *words, **changes)
    assert done.returncode == 1 and message in done.stderr
    assert 'installed' not in done.stdout and not (copy / 'called').exists()


def test_a_speedrun_fine_tunes_on_the_tasks_that_are_there_and_keeps_its_record(copy):
    tool(copy, 'python', 'echo "$@" >> calls; [[ $* != *task.py* ]]')
    for name in ('CoLA', 'SST-2', 'QNLI'):
        (copy / 'tasks' / name).mkdir(parents=True)
    changes = {'SOURCE': 'text:x', 'TASKS': 'tasks', 'TARGET': 'eval/mlm_loss=4.5'}
    done = script(copy, 'speedrun.sh', '--workdir=runs/x', '--config.seed=3', **changes)
    assert done.returncode == 1  # as fine-tuning, after which the record is written all the same
    record = '-m electra_jax.sweep --speedrun=runs/x --target=eval/mlm_loss=4.5'
    words = (
        '--config=configs/own.py --config.minutes=15 --config.data.path=corpora/speedrun '
        '--config.data.source=text:x --config.seed=3'
    )
    assert (copy / 'calls').read_text().splitlines() == [
        f'{record} --dry-run',
        f'-m electra_jax.prepare {words}',
        f'-m electra_jax.main {words} --workdir=runs/x',
        record,
        '-m electra_jax.sweep --config=configs/finetune/task.py --grid task.name=cola,sst2 --set '
        'init_from=runs/x data.path=tasks trials=3 task.save=none --folder=runs/x/finetune',
        record,
    ]


def test_a_speedrun_whose_training_was_stopped_alone_fine_tunes_nothing(copy):
    tool(copy, 'python', 'echo "$@" >> calls; [[ $* != *speedrun=* || $* == *dry* ]] || exit 3')
    done = script(copy, 'speedrun.sh', SOURCE='text:x', TASKS='tasks', TASK_NAMES='cola')
    assert done.returncode == 75 and len((copy / 'calls').read_text().splitlines()) == 4


def test_messages_of_a_speedrun_tell_to_type_the_script_again(copy):
    again = 'from electra_jax.runtime import cli; print(cli.same_command())'
    tool(
        copy, 'python',
        f'[[ $2 != *main ]] || PYTHONPATH={ROOT} {sys.executable} -c "{again}" "${{@:3}}"',
    )  # fmt: skip
    done = script(copy, 'speedrun.sh', SOURCE='text:x', TASKS='a b', TASK_NAMES='cola')
    (line,) = (line for line in done.stdout.splitlines() if 'speedrun.sh' in line)
    assert shlex.split(line) == [
        'env', 'TASKS=a b', 'TASK_NAMES=cola', f'{copy}/launch/speedrun.sh',
        '--config=configs/own.py', '--config.minutes=15', '--config.data.path=corpora/speedrun',
        '--config.data.source=text:x', '--workdir=runs/speedrun',
    ]  # fmt: skip


def test_a_speedrun_that_is_stopped_while_a_corpus_is_built_goes_on(copy):
    tool(
        copy, 'python',
        f'[[ $2 != *prepare ]] || exec {sys.executable} "$@"\necho "$@" >> calls',
    )  # fmt: skip
    recipe = write_recipe(copy, documents=20_000)
    environment = {
        **ENVIRONMENT, 'PATH': f'{copy}/bin:{os.environ["PATH"]}', 'RECIPE': str(recipe),
        'SOURCE': f'text:{copy}/text.txt', 'CORPUS': 'corpus',
    }  # fmt: skip
    statuses = []
    for is_stopped in (True, False):
        running = subprocess.Popen(
            ['bash', copy / 'launch' / 'speedrun.sh'], cwd=copy, env=environment
        )
        while is_stopped and not (copy / 'corpus' / 'building.json').exists():
            assert running.poll() is None
            time.sleep(0.005)
        if is_stopped:
            running.send_signal(signal.SIGTERM)
        statuses.append(running.wait(timeout=120))
        assert (copy / 'corpus' / 'corpus.json').exists() != is_stopped
        assert ('electra_jax.main' in (copy / 'calls').read_text()) != is_stopped
    assert statuses == [75, 0]


@pytest.fixture
def speedrun(copy):
    """What starts a speedrun of seconds, and its workdir."""
    (copy / 'configs').symlink_to(ROOT / 'configs')
    tool(copy, 'python', f'exec {sys.executable} "$@"')
    recipe = write_recipe(
        copy, checkpoint={'every_steps': 200}, eval={'every_steps': 100, 'rows': 8},
        log={'every_steps': 50},
    )  # fmt: skip
    for name, row in (('CoLA', 'x\t{}\t\t{}'), ('SST-2', '{1}\t{0}')):
        (copy / 'tasks' / name).mkdir(parents=True)
        head = 'sentence\tlabel\n' * (name == 'SST-2')
        for split, rows in (('train', 32), ('dev', 8)):
            lines = [row.format(i % 2, WORDS[i % 2]) for i in range(rows)]
            (copy / 'tasks' / name / f'{split}.tsv').write_text(head + '\n'.join(lines) + '\n')
    environment = {
        **ENVIRONMENT, 'PATH': f'{copy}/bin:{os.environ["PATH"]}', 'RECIPE': str(recipe),
        'SOURCE': f'text:{copy}/text.txt', 'CORPUS': 'corpora/tiny', 'MINUTES': '0.1',
    }  # fmt: skip

    def start(**changes):
        return subprocess.Popen(
            ['bash', copy / 'launch' / 'speedrun.sh', '--workdir=run'],
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, cwd=copy,
            env={**environment, **changes},
        )  # fmt: skip

    return start, copy / 'run'


@pytest.mark.slow
def test_a_speedrun_leads_from_text_to_a_table_of_tasks(speedrun):
    start, folder = speedrun
    changes = {
        'TASKS': 'tasks', 'TRIALS': '2', 'TASK_SET': 'task.epochs=1',
        'TARGET': 'eval/mlm_loss=100',
    }  # fmt: skip
    running = start(**changes)
    output = running.communicate(timeout=500)[0]
    assert running.returncode == 0, output
    record = json.loads((folder / 'speedrun.json').read_text())
    assert record['missing'] in ([], ['program revision'], ['program electra_jax'])
    assert record['minutes']['budget'] == 0.1 and record['minutes']['starts'] == 1
    assert list(record['tasks']) == ['cola', 'sst2']
    assert list(record['tasks']['cola']['seeds']) == ['0', '1']
    assert record['target']['reached'] and record['target']['step'] == record['curve'][0]['step']
    assert record['curve'][-1]['step'] == record['steps'] > 0 < record['petaflop']
    text = (folder / 'speedrun.md').read_text()
    assert text in output and '| sst2 | dev/accuracy | ' in text


@pytest.mark.slow
def test_a_speedrun_goes_on_after_a_stop_in_the_middle_of_training(speedrun):
    start, folder = speedrun
    running = start(MINUTES='0.5')
    metrics = folder / 'metrics.jsonl'
    while running.poll() is None and not (metrics.exists() and metrics.read_text()):
        time.sleep(0.05)
    running.send_signal(signal.SIGTERM)
    output = running.communicate(timeout=120)[0]
    assert running.returncode == 75 and 'stopped by SIGTERM at step ' in output, output
    assert not (folder / 'speedrun.json').exists()
    again = start(MINUTES='0.5')
    output = again.communicate(timeout=500)[0]
    assert again.returncode == 0 and 'continuing from step ' in output, output
    record = json.loads((folder / 'speedrun.json').read_text())
    minutes = record['minutes']
    assert minutes['starts'] == 2 and minutes['budget'] == 0.5
    first, second = json.loads((folder / 'goodput.json').read_text())['starts']
    assert minutes['used'] == pytest.approx((first['timed'] + second['timed']) / 60)
    seconds = [point['seconds'] for point in record['curve']]
    assert seconds == sorted(seconds) and seconds[-1] <= 60 * minutes['used']
    assert 'fine-tuned scores' in record['missing']


# ---- objectives.sh


def test_objectives_sweeps_over_the_folder(copy):
    recipes = copy / 'configs' / 'objectives'
    recipes.mkdir(parents=True)
    for name in ('electra', 'mlm'):
        (recipes / f'{name}.py').write_text('')
    tool(copy, 'python', 'printf "%s\\n" "$@"')
    done = script(copy, 'objectives.sh', '--jobs=2', STEPS='50')
    assert done.stdout.splitlines() == [
        'installed []', '-m', 'electra_jax.sweep', '--folder=runs/sweeps/objectives', '--config',
        'configs/objectives/electra.py', 'configs/objectives/mlm.py', '--set', 'total_steps=50',
        'log.every_steps=10', 'checkpoint.every_steps=50',
        '--columns=eval/mlm_loss,eval/disc_auc', '--jobs=2',
    ]  # fmt: skip


@pytest.mark.parametrize('there', [False, True])
def test_objectives_trains_what_starts_from_another_after_it(copy, there):
    recipes = copy / 'configs' / 'objectives'
    recipes.mkdir(parents=True)
    for name in ('untied', 'untied_frozen'):
        (recipes / f'{name}.py').write_text('')
    tool(copy, 'python', 'echo "$@"')
    if there:
        (copy / 'runs' / 'sweeps' / 'objectives' / 'untied' / 'checkpoints').mkdir(parents=True)
    done = script(copy, 'objectives.sh', '--jobs=2')
    _, first, *second = done.stdout.splitlines()
    assert done.returncode == 0 and 'untied.py' in first and 'frozen' not in first
    if there:
        assert len(second) == 1 and 'untied.py configs/objectives/untied_frozen.py' in second[0]
    else:
        assert second == [] and 'starts from runs/sweeps/objectives/untied' in done.stderr


@pytest.mark.parametrize('words', [['--folder=it\'s "\\ here/'], ['--folder', 'it\'s "\\ here/']])
def test_objectives_in_another_folder_start_from_the_run_there(copy, words):
    recipes = copy / 'configs' / 'objectives'
    recipes.mkdir(parents=True)
    (recipes / 'untied.py').write_text('')
    text = "from electra_jax.config.recipe import recipe\nget_config = lambda: recipe({'seed': 3, "
    (recipes / 'untied_frozen.py').write_text(
        text + "'init_from': 'runs/sweeps/objectives/untied'})"
    )
    tool(copy, 'python', 'printf "%s\n" "$@"')
    (copy / 'runs' / 'sweeps' / 'objectives' / 'untied' / 'checkpoints').mkdir(parents=True)
    folder = words[-1].removeprefix('--folder=').removesuffix('/')
    done = script(copy, 'objectives.sh', *words)
    assert f'starts from {folder}/untied' in done.stderr  # the usual folder is not looked at
    (copy / folder / 'untied' / 'checkpoints').mkdir(parents=True)
    done = script(copy, 'objectives.sh', *words)
    assert done.returncode == 0 and f'{folder}/untied_frozen.py' in done.stdout
    settings = load(copy / folder / 'untied_frozen.py')
    assert (settings.init_from, settings.seed) == (f'{folder}/untied', 3)


def test_objectives_without_recipes_says_how_to_name_them(copy):
    done = script(copy, 'objectives.sh', RECIPES='nowhere')
    assert done.returncode == 1 and 'no recipes in nowhere' in done.stderr


@pytest.mark.parametrize(
    ('name', 'whole_group', 'number'),
    [
        ('objectives.sh', False, signal.SIGTERM),
        ('objectives.sh', False, signal.SIGINT),
        ('objectives.sh', True, signal.SIGTERM),
        ('objectives.sh', True, signal.SIGINT),
        ('study.sh', False, signal.SIGTERM),
        ('study.sh', True, signal.SIGINT),
        ('speedrun.sh', False, signal.SIGHUP),
        ('speedrun.sh', True, signal.SIGINT),
    ],
)
def test_a_script_of_several_steps_hands_a_signal_on_once(copy, name, number, whole_group):
    recipes = copy / 'configs' / 'objectives'
    recipes.mkdir(parents=True)
    (recipes / 'mlm.py').write_text('')
    there = copy / 'corpora' / 'speedrun'
    there.mkdir(parents=True)
    (there / 'corpus.json').write_text('{}')
    slow = 'trap "echo got" TERM INT; touch ready; until [[ -e end ]]; do sleep .05; done; exit 3'
    tool(copy, 'python', slow)
    running = subprocess.Popen(
        ['bash', copy / 'launch' / name],
        stdout=subprocess.PIPE, text=True, cwd=copy, start_new_session=True,
        env={**ENVIRONMENT, 'PATH': f'{copy}/bin:{os.environ["PATH"]}'},
    )  # fmt: skip
    try:
        while not (copy / 'ready').exists():
            time.sleep(0.01)
        # A terminal's Ctrl-C goes to all processes of the group.
        (os.killpg if whole_group else os.kill)(running.pid, number)
        time.sleep(0.5)
        assert running.poll() is None
        (copy / 'end').touch()
        assert running.communicate(timeout=20)[0].splitlines()[1:] == ['got']
        assert running.returncode == 75
    finally:
        (copy / 'end').touch()


@pytest.mark.slow
def test_objectives_leaves_a_table(copy, tmp_path):
    recipes = tmp_path / 'recipes'
    recipes.mkdir()
    write_recipe(recipes, 'one')
    write_recipe(recipes, 'two')
    tool(copy, 'python', f'exec {sys.executable} "$@"')
    done = script(
        copy, 'objectives.sh', f'--folder={tmp_path}/out', RECIPES=str(recipes), STEPS='20'
    )
    assert done.returncode == 0, done.stdout + done.stderr
    table = (tmp_path / 'out' / 'table.md').read_text()
    assert re.search(r'\| one \| \d', table) and '| two | ' in table
    assert 'eval/disc_auc' in table and 'ms/step' in table
    assert (tmp_path / 'out' / 'plot.png').exists()


# ---- Kubernetes and Docker


@pytest.fixture
def jobs():
    yaml = pytest.importorskip('yaml')
    content = yaml.safe_load_all((LAUNCH / 'gke_job.yaml').read_text())
    return {job['metadata']['name']: job for job in content if job}


def pods(job):
    assert (job['apiVersion'], job['kind']) == ('jobset.x-k8s.io/v1alpha2', 'JobSet')
    [replicated] = job['spec']['replicatedJobs']
    spec = replicated['template']['spec']
    pod = spec['template']['spec']
    [container] = pod['containers']
    return replicated['name'], spec, pod, container


@pytest.mark.parametrize('name', ['electra-tpu', 'electra-gpu'])
def test_kubernetes_jobs_save_when_asked_and_start_again(jobs, name):
    _, spec, pod, container = pods(jobs[name])
    assert jobs[name]['spec']['failurePolicy']['maxRestarts'] > 0
    # A pod that was stopped ends with status 75: all of them are to start again together.
    assert spec['backoffLimit'] == 0 and pod['restartPolicy'] == 'Never'
    assert pod['terminationGracePeriodSeconds'] >= 120
    assert 'command' not in container  # the image's entry point passes SIGTERM on
    config, path, workdir = container['args']
    assert (ROOT / config.removeprefix('--config=')).exists()
    mounted = container['volumeMounts'][0]['mountPath']
    assert path.startswith(f'--config.data.path={mounted}/') and f'--workdir={mounted}/' in workdir
    [before] = pod['initContainers']  # the volume is root's, the image's user is not
    assert workdir.startswith('--workdir=/files/runs/') and before['image'] == container['image']
    assert before['command'][-1] == 'mkdir -p /files/runs && chown 1000:1000 /files/runs'
    assert before['securityContext'] == {'runAsUser': 0}
    assert before['volumeMounts'] == container['volumeMounts'][:1]
    assert {v['name'] for v in pod['volumes']} == {m['name'] for m in container['volumeMounts']}


def test_kubernetes_tpu_slice_fits_its_topology(jobs):
    _, spec, pod, container = pods(jobs['electra-tpu'])
    rows, columns = pod['nodeSelector']['cloud.google.com/gke-tpu-topology'].split('x')
    chips = container['resources']['limits']['google.com/tpu']
    assert spec['parallelism'] == spec['completions'] == int(rows) * int(columns) // chips
    assert {'name': 'ELECTRA_JAX_HOSTS', 'value': 'auto'} in container['env']


def test_kubernetes_gpu_nodes_meet_at_the_first(jobs):
    name, spec, _, container = pods(jobs['electra-gpu'])
    env = {one['name']: one for one in container['env']}
    port = container['ports'][0]['containerPort']
    meeting = f'electra-gpu-{name}-0-0.electra-gpu:{port}'
    assert env['JAX_COORDINATOR_ADDRESS']['value'] == meeting
    assert int(env['JAX_NUM_PROCESSES']['value']) == spec['parallelism'] == spec['completions']
    assert spec['completionMode'] == 'Indexed'
    assert 'job-completion-index' in str(env['JAX_PROCESS_ID']['valueFrom'])
    assert container['resources']['limits'] == {'nvidia.com/gpu': 8}


def test_docker_copies_what_is_there_and_offers_extras_that_exist():
    text = (LAUNCH / 'Dockerfile').read_text()
    sources = [word for line in re.findall(r'^COPY (.*)$', text, re.MULTILINE)
               for word in line.split()[:-1]]  # fmt: skip
    kept = (LAUNCH / 'Dockerfile.dockerignore').read_text().splitlines()
    for source in sources:
        assert (ROOT / source).exists() and f'!{source}' in kept, source
    entry = re.search(r'^ENTRYPOINT (\[.*\])$', text, re.MULTILINE)[1]
    assert entry == '["launch/stoppable.sh", "python", "-m", "electra_jax.main"]'
    # Folders that docker makes are root's, and the image's user has a number of its own.
    assert '#   mkdir -p corpora runs\n' in text and '--user "$(id -u):$(id -g)"' in text
    assert '--uid 1000' in text
    project = tomllib.loads((ROOT / 'pyproject.toml').read_text())['project']
    extras = project['optional-dependencies']
    for device in ('gpu', 'tpu'):
        assert f'{device}|' in text or f'|{device}' in text
        # An extra may be another one of ours: 'electra_jax[cuda12]'.
        ours = [re.fullmatch(r'electra_jax\[(\w+)\]', package) for package in extras[device]]
        packages = [*extras[device], *(one for name in ours if name for one in extras[name[1]])]
        assert any(package.startswith('jax[') for package in packages)


# ---- the guide


def test_every_script_is_in_the_guide():
    guide = (LAUNCH / 'README.md').read_text()
    files = [p.name for p in LAUNCH.iterdir() if p.is_file() and p.name != 'README.md']
    missing = [name for name in files if name not in guide and 'dockerignore' not in name]
    assert missing == []


def test_flags_in_the_guide_exist():
    guide = (LAUNCH / 'README.md').read_text()
    known = subprocess.run(
        ['bash', LAUNCH / 'tpu_vm.sh', '--help'], capture_output=True, text=True
    ).stdout
    lines = [line for line in guide.replace('\\\n', ' ').splitlines() if 'tpu_vm.sh ' in line]
    used = {flag for line in lines for flag in re.findall(r' (--[a-z-]+)', line.split(' -- ')[0])}
    assert used and all(flag in known for flag in used), used
    assert pathlib.Path(ROOT / 'configs' / 'small.py').exists()
