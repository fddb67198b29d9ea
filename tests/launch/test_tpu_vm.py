"""TPU VMs: the exact gcloud commands, what `watch` makes of preemption, and the worker's side."""

import os
import shlex
import shutil
import signal
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
    done = tpu_vm(*words, '--dry-run', **environment)
    assert done.returncode == 0, done.stderr
    return [shlex.split(line) for line in done.stdout.splitlines()]


def dry(command, *words, arguments=()):
    done = tpu_vm(command, *PLACE, *words, '--dry-run', '--', *arguments)
    assert done.returncode == 0, done.stderr
    return [shlex.split(line) for line in done.stdout.splitlines()]


VM = ['gcloud', 'compute', 'tpus', 'tpu-vm']
QUEUE = ['gcloud', 'compute', 'tpus', 'queued-resources']
ZONE = '--zone=us-central1-a'


def test_create():
    assert dry('create', *MAKE, '--spot', '--project=p', '--extra=--network=mine') == [
        [*VM, 'create', 'n', ZONE, '--project=p', '--accelerator-type=v5litepod-8',
         '--version=v2-alpha-tpuv5-lite', '--spot', '--network=mine'],
    ]  # fmt: skip
    assert '--on-demand' not in dry('create', *MAKE, '--on-demand')[0]


def test_create_by_a_queued_resource_and_wait():
    assert dry('create', *MAKE, '--spot', '--queued') == [
        [*QUEUE, 'create', 'n', ZONE, '--node-id=n', '--accelerator-type=v5litepod-8',
         '--runtime-version=v2-alpha-tpuv5-lite', '--spot'],
        [*QUEUE, 'describe', 'n', ZONE, '--format=value(state.state)'],
    ]  # fmt: skip


def test_names_may_come_from_the_environment():
    names = {'TPU_VM_NAME': 'e', 'TPU_VM_ZONE': 'z', 'TPU_VM_TYPE': 't', 'TPU_VM_RUNTIME': 'r'}
    assert planned('create', '--reserved', **names) == [
        [*VM, 'create', 'e', '--zone=z', '--accelerator-type=t', '--version=r', '--reserved']
    ]


def test_setup_copies_the_commit_to_every_worker_and_installs_it():
    bundle, copy, install = dry('setup', '--bucket=b')
    assert bundle[:2] == ['git', '-C'] and bundle[3:5] == ['bundle', 'create']
    assert copy == [*VM, 'scp', bundle[6], 'n:electra_jax.bundle', ZONE, '--worker=all']
    assert install[:-1] == [*VM, 'ssh', 'n', ZONE, '--worker=all']
    assert install[-1].endswith(" && bash electra_jax/launch/on_worker.sh setup 'b'")


def test_two_setups_at_a_time_have_bundles_of_their_own(tmp_path):
    bundles = {planned('setup', *PLACE, TMPDIR=str(tmp_path))[0][6] for _ in range(2)}
    assert len(bundles) == 2 and all(str(tmp_path) in bundle for bundle in bundles)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize('command', ['setup', 'watch'])
def test_a_shallow_clone_is_refused_before_anything_costs_money(tmp_path, command):
    once = {'capture_output': True, 'check': True}
    subprocess.run(['git', 'clone', '-q', '--depth=1', f'file://{ROOT}', tmp_path / 'c'], **once)
    for folder in ('plain', 'c'):
        shutil.copytree(LAUNCH, tmp_path / folder / 'launch', dirs_exist_ok=True)
    messages = {'plain': 'is not a git checkout', 'c': 'fetch --unshallow'}
    for folder, message in messages.items():
        done = subprocess.run(
            ['bash', tmp_path / folder / 'launch' / 'tpu_vm.sh', command, *PLACE, *MAKE, '--spot',
             '--dry-run', '--', '--config=c.py'],
            capture_output=True, text=True, env=BARE, timeout=30,
        )  # fmt: skip
        assert done.returncode == 2 and message in done.stderr and done.stdout == ''


def test_run_keeps_every_word_whole_on_its_way_through_two_shells():
    arguments = ['--config=configs/small.py', "--workdir=it's here", '--config.seed=1']
    [[*start, command]] = dry('run', arguments=arguments)
    assert start == [*VM, 'ssh', 'n', ZONE, '--worker=all']
    remote = shlex.split(command.removeprefix('--command='))
    assert remote == ['bash', 'electra_jax/launch/on_worker.sh', 'start', *arguments]


def test_the_other_commands():
    worker = 'bash electra_jax/launch/on_worker.sh'
    assert dry('logs', '--worker=2') == [
        [*VM, 'ssh', 'n', ZONE, '--worker=2', f'--command={worker} log']
    ]
    assert dry('stop') == [[*VM, 'ssh', 'n', ZONE, '--worker=all', f'--command={worker} stop']]
    assert dry('status')[1][-1].endswith('bash launch/on_worker.sh state')
    assert dry('ssh', arguments=['-L', '6006:localhost:6006']) == [
        [*VM, 'ssh', 'n', ZONE, '--worker=0', '--', '-L', '6006:localhost:6006']
    ]
    assert dry('delete') == [[*VM, 'delete', 'n', ZONE]]
    assert dry('delete', '--queued', '--yes') == [
        [*QUEUE, 'delete', 'n', ZONE, '--force', '--quiet']
    ]


def test_watch_creates_sets_up_runs_and_looks():
    found = dry('watch', *MAKE, '--spot', arguments=['--config=c.py'])
    heads = [words[3:5] if words[0] == 'gcloud' else words[:1] for words in found]
    vm = 'tpu-vm'
    assert heads == [
        [vm, 'create'], ['git'], [vm, 'scp'], [vm, 'ssh'], [vm, 'ssh'], [vm, 'describe'],
    ]  # fmt: skip


@pytest.mark.parametrize(
    ('words', 'message'),
    [
        (['create', '--zone=z'], 'needs --name=... (or TPU_VM_NAME)'),
        (['create', *PLACE, '--spot'], 'needs --type'),
        (['create', *PLACE, *MAKE], 'say how it is paid for'),
        (['create', *PLACE, *MAKE, '--spot', '--on-demand'], 'only one of them'),
        (['create', *PLACE, *MAKE, '--preemptible', '--queued'], 'know --spot'),
        (['run', *PLACE], 'name the recipe'),
        (['make', *PLACE], 'make is not a command'),
        (['create', '--zones=z'], '--zones=z is not understood'),
    ],
)
def test_what_is_missing_is_said_before_anything_costs_money(words, message):
    done = tpu_vm(*words, '--dry-run')
    assert done.returncode == 2 and message in done.stderr and done.stdout == ''


# ---- watch, with a gcloud that plays a part

# What it says of the VM, of training (workers between commas), of the next create, scp and so on
# are the next lines of files; what is asked is written down.
GCLOUD = """#!/bin/bash
next() { head -n 1 "$PLAY/$1"; [[ $(wc -l < "$PLAY/$1") -le 1 ]] || sed -i 1d "$PLAY/$1"; }
case "$*" in
  *describe*)
    if [[ $* == *queued-resources* ]]; then state=$(next queue); else state=$(next vm); fi
    case $state in
      absent) echo 'ERROR: NOT_FOUND: no such node' >&2; exit 1 ;;
      offline) echo 'ERROR: no route to host' >&2; exit 1 ;;
    esac
    echo "$state" ;;
  *'on_worker.sh state'*)
    said=$(next training)
    tr , '\\n' <<< "${said//silence,/}"
    [[ $said != *silence* ]] || exit 255 ;;
  *) echo "$*" | cut -d ' ' -f 3,4 >> "$PLAY/asked"
     [[ ! -f $PLAY/$4 ]] || [[ $(next "$4") == ok ]] ;;
esac
"""


def play(tmp_path, vm, training, *words, create=('ok',), scp=('ok',), queue=(), command='watch'):
    parts = {'vm': vm, 'training': training, 'create': create, 'scp': scp, 'queue': queue}
    for name, lines in parts.items():
        (tmp_path / name).write_text(''.join(f'{line}\n' for line in lines))
    (tmp_path / 'asked').write_text('')
    (tmp_path / 'gcloud').write_text(GCLOUD)
    (tmp_path / 'gcloud').chmod(0o755)
    done = tpu_vm(
        command, *PLACE, *MAKE, '--spot', '--poll=0', *words, '--', '--config=c.py',
        PLAY=str(tmp_path), PATH=f'{tmp_path}:{os.environ["PATH"]}', TMPDIR=str(tmp_path),
    )  # fmt: skip
    asked = (tmp_path / 'asked').read_text().splitlines()
    return done, [line.split()[1] for line in asked]


BEGIN = ['create', 'scp', 'ssh', 'ssh']
NONE, RUNNING, STOPPED, INTERRUPTED, DONE = (
    f'training: {word}' for word in ('none', 'running', 'stopped', 'interrupted', 'done')
)


def test_watch_goes_on_after_a_preemption_and_ends_with_the_run(tmp_path):
    done, asked = play(
        tmp_path, ['absent', 'READY', 'READY', 'PREEMPTED', 'READY'],
        [NONE, RUNNING, NONE, RUNNING, DONE],
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert asked == [*BEGIN, 'delete', *BEGIN]
    assert 'costs money until' in done.stdout


def test_watch_tries_again_where_there_is_no_capacity_after_a_preemption(tmp_path):
    done, asked = play(
        tmp_path, ['READY', 'PREEMPTED', 'absent', 'absent', 'READY'], [RUNNING, NONE, DONE],
        create=['no', 'no', 'ok'],
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert asked == ['delete', 'create', 'create', *BEGIN]


def test_watch_gives_up_where_the_vm_cannot_be_made_in_the_first_place(tmp_path):
    done, asked = play(tmp_path, ['absent'], [NONE], create=['no'])
    assert done.returncode == 2 and 'could not be made' in done.stderr and asked == ['create']


def test_watch_stays_with_a_vm_that_is_there_though_its_creation_failed(tmp_path):
    done, asked = play(tmp_path, ['absent', 'READY'], [NONE, DONE], create=['no'])
    assert done.returncode == 0 and asked == BEGIN, done.stderr


def test_watch_tries_again_where_a_new_vm_does_not_take_the_copy_yet(tmp_path):
    done, asked = play(
        tmp_path, ['absent', 'READY'], ['silence,', NONE, NONE, DONE], scp=['no', 'ok']
    )
    assert done.returncode == 0 and asked == ['create', 'scp', *BEGIN[1:]], done.stderr


@pytest.mark.parametrize('word', [RUNNING, DONE, STOPPED, INTERRUPTED, NONE])
def test_watch_does_nothing_where_a_worker_is_silent(tmp_path, word):
    done, asked = play(tmp_path, ['READY'], [f'silence,{word}', f'{DONE},{DONE}'])
    assert done.returncode == 0 and asked == [], done.stderr
    assert 'not every worker answers' in done.stdout


@pytest.mark.parametrize(
    ('workers', 'asked'),
    [
        (f'{INTERRUPTED},{RUNNING}', []),  # the others end after the same step
        (f'{STOPPED},{RUNNING}', []),
        (f'{INTERRUPTED},{INTERRUPTED}', BEGIN[1:]),
        (f'{INTERRUPTED},{DONE}', BEGIN[1:]),
    ],
)
def test_watch_goes_on_where_the_machine_asked_a_worker_to_stop(tmp_path, workers, asked):
    done, found = play(tmp_path, ['READY'], [workers, f'{DONE},{DONE}'])
    assert done.returncode == 0 and found == asked, done.stderr


def test_watch_ends_where_a_person_stopped_the_run(tmp_path):
    done, asked = play(tmp_path, ['READY'], [f'{STOPPED},{STOPPED}'])
    assert done.returncode == 0 and 'training is stopped' in done.stdout and asked == []


@pytest.mark.parametrize(
    ('words', 'message'),
    [
        (['--', '--config=c.py'], 'say how it is paid for'),
        (['--spot'], 'name the recipe'),
    ],
)
def test_watch_asks_for_what_it_needs_before_it_makes_a_vm(words, message):
    done = tpu_vm('watch', *PLACE, *MAKE, '--dry-run', *words)
    assert done.returncode == 2 and message in done.stderr and done.stdout == ''


def test_watch_takes_silence_for_silence_not_for_a_preemption(tmp_path):
    done, asked = play(tmp_path, ['READY', 'offline', 'READY'], [RUNNING, DONE])
    assert done.returncode == 0 and asked == [], done.stderr


def test_watch_does_not_make_anew_what_someone_deleted(tmp_path):
    done, asked = play(tmp_path, ['READY', 'absent'], [RUNNING])
    assert done.returncode == 2 and 'gone, and not by preemption' in done.stderr and asked == []


def test_watch_starts_failed_training_again_but_not_forever(tmp_path):
    failed = 'training: failed, exit status 1'
    done, asked = play(tmp_path, ['READY'], [failed, failed, failed], '--retries=1')
    assert done.returncode == 2 and 'training failed 2 times' in done.stderr
    assert asked == ['ssh', 'ssh', 'ssh']  # an end to all, one more start, the end of the log


def test_watch_follows_a_queued_resource(tmp_path):
    queue = ['WAITING_FOR_RESOURCES', 'SUSPENDED', 'WAITING_FOR_RESOURCES', 'ACTIVE']
    done, asked = play(tmp_path, ['READY'], [NONE, DONE], '--queued', queue=queue)
    assert done.returncode == 0, done.stderr
    assert asked == ['delete', *BEGIN]


@pytest.mark.parametrize('state', ['SUSPENDED', 'FAILED', 'absent'])
def test_watch_asks_again_where_a_queued_resource_is_lost_while_it_waits(tmp_path, state):
    queue = ['ACTIVE', 'SUSPENDED', 'WAITING_FOR_RESOURCES', state, 'ACTIVE']
    done, asked = play(tmp_path, ['READY'], [RUNNING, NONE, DONE], '--queued', queue=queue)
    assert done.returncode == 0, done.stderr
    again = ['create'] if state == 'absent' else ['delete', 'create']
    assert asked == ['delete', 'create', *again, *BEGIN[1:]]


@pytest.mark.parametrize('state', ['SUSPENDED', 'FAILED', 'absent'])
def test_create_says_where_a_queued_resource_is_lost_while_it_waits(tmp_path, state):
    queue = ['WAITING_FOR_RESOURCES', state]
    done, asked = play(tmp_path, [], [], '--queued', queue=queue, command='create')
    assert done.returncode == 2 and 'delete it and ask again' in done.stderr
    assert asked == ['create']


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
        '#!/bin/bash\necho $$ > "$HOME/program"\necho "$ELECTRA_JAX_HOSTS" "$@"\n'
        'trap "echo stopped by SIGTERM; exit 0" TERM\n'
        '[[ $4 != --fail ]] || exit 3\nuntil [[ -f $HOME/enough ]]; do sleep 0.05; done\n'
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
        if call('state') == f'training: {state}\n':
            return
        time.sleep(0.05)
    raise AssertionError(call('state') + call('tail'))


def test_training_runs_in_the_background_once(worker):
    call, home = worker
    assert call('state') == 'training: none\n'
    call('start', '--config=a b.py')
    assert 'already' in call('start', '--config=a b.py')
    wait_for(call, 'running')
    (home / 'enough').write_text('')
    wait_for(call, 'done')
    assert 'auto -m electra_jax.main --config=a b.py\n' in call('tail')


def test_a_run_that_was_asked_to_stop_is_not_done(worker):
    call, _ = worker
    call('start', '--config=c.py')
    wait_for(call, 'running')
    time.sleep(0.2)  # until the stand-in has its trap
    call('stop')
    wait_for(call, 'stopped')
    assert 'stopped by SIGTERM' in call('tail')


@pytest.mark.parametrize('told', ['by its machine', 'by a peer'])
def test_a_run_that_nobody_stopped_by_hand_is_interrupted(worker, told):
    call, home = worker
    call('start', '--config=c.py')
    wait_for(call, 'running')
    time.sleep(0.2)
    child = (home / 'electra_training' / 'child').read_text().strip()
    if told == 'by a peer':  # JAX tells the program alone, which then ends with status 0
        child = (home / 'program').read_text().strip()
    os.kill(int(child), signal.SIGTERM)
    wait_for(call, 'interrupted')
    call('start', '--config=c.py')
    wait_for(call, 'running')
    (home / 'enough').write_text('')
    wait_for(call, 'done')  # what an earlier start said in the log is past


def test_a_start_that_cannot_be_written_down_ends(worker):
    call, home = worker
    (home / 'bin' / 'setsid').write_text('#!/bin/bash\necho no room\nexit 1\n')
    (home / 'bin' / 'setsid').chmod(0o755)
    with pytest.raises(AssertionError, match='training could not be started'):
        call('start', '--config=c.py')


def test_a_worker_without_a_checkout_has_no_training(worker):
    _, home = worker
    ask = dry('status')[1][-1].removeprefix('--command=')
    for folder in (home, home / 'bin'):  # with a checkout, and without one
        done = subprocess.run(
            ['bash', '-c', ask], capture_output=True, text=True, cwd=folder,
            env={**BARE, 'HOME': str(home)},
        )  # fmt: skip
        assert (done.returncode, done.stdout) == (0, 'training: none\n')


def test_what_does_not_hear_is_ended(worker):
    call, _ = worker
    call('start', '--config=c.py')
    wait_for(call, 'running')
    call('kill')
    wait_for(call, 'none')


def test_a_failure_keeps_its_exit_status(worker):
    call, _ = worker
    call('start', '--config=c.py', '--fail')
    wait_for(call, 'failed, exit status 3')


def test_a_machine_that_was_started_again_has_no_training(worker):
    call, home = worker
    call('start', '--config=c.py')
    (home / 'electra_training' / 'boot').write_text('another')
    assert call('state') == 'training: none\n'


def test_setup_installs_and_the_bundle_becomes_a_checkout(worker):
    call, home = worker
    assert 'installed [tpu]' in call('setup')
    (home / 'bin' / 'gcsfuse').write_text('#!/bin/bash\necho "$@"\n')
    (home / 'bin' / 'gcsfuse').chmod(0o755)
    # Another machine's lock must be read anew, which a cache of metadata would not.
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
