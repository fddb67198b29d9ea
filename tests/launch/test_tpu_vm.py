"""TPU VMs: the exact gcloud commands, and the worker's side."""

import os
import shlex
import shutil
import subprocess
import time

import pytest

from tests.support.recipes import LAUNCH, ROOT

PLACE = ['--name=n', '--zone=us-central1-a']
MAKE = ['--type=v5litepod-8', '--runtime=v2-alpha-tpuv5-lite']
BARE = {k: v for k, v in os.environ.items() if not k.startswith('TPU_VM_')}

IS_SHALLOW = ['git', '-C', str(ROOT), 'rev-parse', '--is-shallow-repository']
pytestmark = pytest.mark.skipif(
    subprocess.run(IS_SHALLOW, capture_output=True, text=True).stdout.strip() != 'false',
    reason='tpu_vm.sh copies the newest commit of a whole clone, which this is not',
)


def tpu_vm(*words, **environment):
    return subprocess.run(
        ['bash', LAUNCH / 'tpu_vm.sh', *words],
        capture_output=True, text=True, env={**BARE, **environment}, timeout=30,
    )  # fmt: skip


def planned(*words, **environment):
    """The commands that a dry run prints, each as its words."""
    done = tpu_vm(*words, **environment)
    assert done.returncode == 0, done.stderr
    return [shlex.split(line) for line in done.stdout.splitlines()]


def dry(command, *words, arguments=()):
    return planned(command, *PLACE, *words, '--dry-run', '--', *arguments)


VM = ['gcloud', 'compute', 'tpus', 'tpu-vm']
ZONE = '--zone=us-central1-a'


def test_create():
    assert dry('create', *MAKE, '--spot', '--project=p', '--extra=--network=mine') == [
        [*VM, 'create', ZONE, '--project=p', 'n', '--accelerator-type=v5litepod-8',
         '--version=v2-alpha-tpuv5-lite', '--network=mine', '--spot'],
    ]  # fmt: skip
    assert '--on-demand' not in dry('create', *MAKE, '--on-demand')[0]


def test_names_may_come_from_the_environment():
    names = {'TPU_VM_NAME': 'e', 'TPU_VM_ZONE': 'z', 'TPU_VM_TYPE': 't', 'TPU_VM_RUNTIME': 'r'}
    assert planned('create', '--reserved', '--dry-run', **names) == [
        [*VM, 'create', '--zone=z', 'e', '--accelerator-type=t', '--version=r', '--reserved']
    ]


def test_setup_copies_the_commit_to_every_worker_and_installs_it():
    bundle, copy, install = dry('setup', '--bucket=b')
    assert bundle[:2] == ['git', '-C'] and bundle[3:5] == ['bundle', 'create']
    assert copy == [*VM, 'scp', ZONE, bundle[6], 'n:electra_jax.bundle', '--worker=all']
    assert install[:-1] == [*VM, 'ssh', ZONE, 'n', '--worker=all']
    assert install[-1].endswith(" && bash electra_jax/launch/on_worker.sh setup 'b'")


def test_two_setups_at_a_time_have_bundles_of_their_own(tmp_path):
    words = ['setup', *PLACE, '--dry-run']
    bundles = {planned(*words, TMPDIR=str(tmp_path))[0][6] for _ in range(2)}
    assert len(bundles) == 2 and all(str(tmp_path) in bundle for bundle in bundles)
    assert list(tmp_path.iterdir()) == []


def test_a_shallow_clone_is_refused(tmp_path):
    once = {'capture_output': True, 'check': True}
    subprocess.run(['git', 'clone', '-q', '--depth=1', f'file://{ROOT}', tmp_path / 'c'], **once)
    for folder in ('plain', 'c'):
        shutil.copytree(LAUNCH, tmp_path / folder / 'launch', dirs_exist_ok=True)
        done = subprocess.run(
            ['bash', tmp_path / folder / 'launch' / 'tpu_vm.sh', 'setup', *PLACE, '--dry-run'],
            capture_output=True, text=True, env=BARE, timeout=30,
        )  # fmt: skip
        assert done.returncode == 2 and 'fetch --unshallow' in done.stderr and done.stdout == ''


def test_run_keeps_every_word_whole_on_its_way_through_two_shells(tmp_path):
    arguments = ['--config=configs/small.py', "--workdir=it's here", '--config.seed=1']
    [[*start, command]] = dry('run', arguments=arguments)
    assert start == [*VM, 'ssh', ZONE, 'n', '--worker=all']

    def on_a_worker():
        return subprocess.run(
            ['bash', '-c', command.removeprefix('--command=')],
            capture_output=True, text=True, cwd=tmp_path,
        )  # fmt: skip

    done = on_a_worker()
    assert done.returncode == 2 and 'setup comes before run' in done.stderr
    (tmp_path / 'electra_jax' / 'launch').mkdir(parents=True)
    (tmp_path / 'electra_jax' / 'launch' / 'on_worker.sh').write_text(
        'printf "%s\\n" "$ELECTRA_SCRIPT" "$@"\n'
    )
    again = f'launch/tpu_vm.sh run --name=n {ZONE} --'
    assert on_a_worker().stdout.splitlines() == [again, 'run', *arguments]


def test_the_other_commands():
    worker = '--command=bash electra_jax/launch/on_worker.sh'
    ssh = [*VM, 'ssh', ZONE, 'n']
    assert dry('logs', '--worker=2')[0][:-1] == [*ssh, '--worker=2']
    assert dry('stop') == [[*ssh, '--worker=all', f'{worker} stop']]
    assert dry('status')[1] == [*ssh, '--worker=all', f'{worker} status']
    assert dry('ssh') == [[*ssh, '--worker=0']]
    assert dry('ssh', arguments=['-L', '6006:localhost:6006']) == [
        [*ssh, '--worker=0', '--', '-L', '6006:localhost:6006']
    ]
    assert dry('delete') == [[*VM, 'delete', ZONE, 'n']]


@pytest.mark.parametrize(
    ('words', 'message'),
    [
        (['create', '--zone=z'], 'needs --name=... (or TPU_VM_NAME)'),
        (['create', *PLACE, '--spot'], 'needs --type'),
        (['create', *PLACE, *MAKE], '--spot, --reserved or --on-demand'),
        (['create', *PLACE, *MAKE, '--spot', '--on-demand'], 'only one of them'),
        (['run', *PLACE], 'name the recipe'),
        (['make', *PLACE], 'make is not a command'),
        (['create', '--zones=z'], '--zones=z is not an option'),
    ],
)
def test_what_is_missing_is_reported_before_anything_costs_money(words, message):
    done = tpu_vm(*words, '--dry-run')
    assert done.returncode == 2 and message in done.stderr and done.stdout == ''


# ---- on the worker


@pytest.fixture
def worker(tmp_path):
    """A worker's home with the scripts, where the main job is a few lines of shell."""
    shutil.copytree(LAUNCH, tmp_path / 'electra_jax' / 'launch')
    scripts = tmp_path / 'electra_jax' / 'launch'
    (scripts / 'venv.sh').write_text('use_venv() { echo "installed [$1]"; }\n')
    tools = tmp_path / 'bin'
    tools.mkdir()
    (tools / 'python').write_text(
        '#!/bin/bash\necho "$ELECTRA_JAX_HOSTS" "$@"\n'
        'trap "echo stopped by SIGTERM; exit 0" TERM\n'
        'until [[ -f $HOME/enough ]]; do sleep 0.05; done\n'
    )
    (tools / 'python').chmod(0o755)
    environment = {**BARE, 'HOME': str(tmp_path), 'PATH': f'{tools}:{os.environ["PATH"]}'}
    environment.pop('ELECTRA_JAX_HOSTS', None)

    def call(*words):
        done = subprocess.run(
            ['bash', scripts / 'on_worker.sh', *words],
            capture_output=True, text=True, env=environment, timeout=30,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        return done.stdout

    yield call, tmp_path
    (tmp_path / 'enough').write_text('')


def wait_for(call, state):
    for _ in range(200):
        if call('status').splitlines()[0] == f'training: {state}':
            return
        time.sleep(0.05)
    raise AssertionError(call('status'))


def test_training_runs_in_the_background_once(worker):
    call, home = worker
    assert call('status') == 'training: not running\n'
    call('run', '--config=a b.py')
    assert 'already' in call('run', '--config=a b.py')
    wait_for(call, 'running')
    (home / 'enough').write_text('')
    wait_for(call, 'not running')
    log = (home / 'electra_training' / 'log.txt').read_text()
    assert log == 'auto -m electra_jax.main --config=a b.py\n'
    call('run', '--config=b.py')  # continues
    wait_for(call, 'not running')
    assert call('status').endswith('auto -m electra_jax.main --config=b.py\n')


def test_a_run_that_is_asked_to_stop_saves(worker):
    call, _ = worker
    call('run', '--config=c.py')
    while 'auto' not in call('status'):  # until the stand-in has its trap
        time.sleep(0.05)
    time.sleep(0.2)
    call('stop')
    wait_for(call, 'not running')
    assert call('status').endswith('stopped by SIGTERM\n')
    call('stop')


def test_setup_installs_and_the_bundle_becomes_a_checkout(worker):
    call, home = worker
    assert 'installed [tpu]' in call('setup')
    (home / 'bin' / 'gcsfuse').write_text('#!/bin/bash\necho "$@"\n')
    (home / 'bin' / 'gcsfuse').chmod(0o755)
    # Another machine's lock must be read again, which a cache of metadata would prevent.
    assert '--metadata-cache-ttl-secs=0' in call('setup', 'my-bucket')
    commands = dry('setup')
    bundle, install = commands[0], commands[2][-1]
    bundle[6] = str(home / 'electra_jax.bundle')
    subprocess.run(bundle, check=True)
    target = home / 'fresh'
    target.mkdir()
    (home / 'electra_jax.bundle').rename(target / 'electra_jax.bundle')
    checkout = install.removeprefix('--command=').rpartition(' && ')[0]
    for _ in range(2):  # and again, with what is there
        subprocess.run(['bash', '-ec', checkout], check=True, cwd=target)
    assert (target / 'electra_jax' / 'setup.py').read_text()
    heads = [
        subprocess.run(['git', '-C', where, 'rev-parse', 'HEAD'], capture_output=True).stdout
        for where in (ROOT, target / 'electra_jax')
    ]
    assert heads[0] == heads[1] != b''


@pytest.mark.parametrize(
    ('answer', 'words', 'expected'),
    [
        ('exit 0', [], None),
        ('exit 1', [], None),
        ('echo mine', [], '--project=mine'),
        ('exit 1', ['--project=p'], '--project=p'),
    ],
)
def test_a_project_is_there_before_anything_is_asked_of_gcloud(tmp_path, answer, words, expected):
    gcloud = tmp_path / 'gcloud'
    gcloud.write_text(f'#!/bin/bash\n[[ $1 != config ]] || {{ {answer}; exit; }}\necho "$@"\n')
    gcloud.chmod(0o755)
    done = tpu_vm('delete', *PLACE, *words, PATH=f'{tmp_path}:{os.environ["PATH"]}')
    if expected is None:
        assert done.returncode == 2 and '--project=PROJECT' in done.stderr and not done.stdout
    else:
        assert expected in done.stdout
