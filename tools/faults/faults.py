"""The faults: each starts the run, injects itself at a random moment, and watches how it ends.

A function here leaves the workdir as the fault left it; the round continues from there
(`Round.finish`). What should not have happened goes into `Round.complaints`.
"""

import contextlib
import functools
import os
import pathlib
import re
import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Sequence

from tools.faults import namespaces, network, setting, soak
from tools.faults.processes import DEADLINE, Hang, Mark, Missed, Process
from tools.faults.rounds import Round, is_saving

KILL, TERM, INT = signal.SIGKILL, signal.SIGTERM, signal.SIGINT
# Exit statuses allowed to a run that was asked to stop while it had nothing to save.
_NOTHING_LOST = (0, 1, 128 + INT, -TERM)
# JAX looks for a signal once a second: two processes that get one while they train must still be
# training some seconds later.
_SLOW_STEP = 0.2
_NOTICE_STEPS = 15
_LITTLE_ROOM = 100_000  # bytes: less than any checkpoint takes on a tmpfs
_HOST_SECONDS = 60.0  # in which a host has to notice that another is gone


def kill_at(phase: str, run: Round) -> None:
    """kill -9 in a phase."""
    process = run.start({'FAULTS_NO_CACHE': '1'} if phase == 'compiling' else None)
    run.send_and_wait(process, run.moment(process, phase), KILL)
    run.note_checkpoints()


def kill_preparing(run: Round) -> None:
    """kill -9 while the corpus is being built: of the main process or of all processes."""
    run.words = [f'--config.data.path={run.folder / "corpus"}']
    process = run.start()
    when = run.moment(process, 'preparing')
    if run.draw.random() < 0.5:
        run.send_and_wait(process, when, KILL)
    else:
        run.notes.append(f'all processes killed at {when}')
        os.killpg(process.pid, KILL)
        process.wait()
    run.note_checkpoints()


def kill_anywhere(run: Round) -> None:
    """kill -9 at any moment from the first to the last of a run."""
    process = run.start()
    run.send_and_wait(process, run.any_moment(process), KILL)
    run.note_checkpoints()


def kill_often(run: Round) -> None:
    """The same several times in a row: each start is killed, too."""
    for _ in range(run.draw.randint(2, 3)):
        try:
            kill_anywhere(run)
        except Missed:
            if not run.notes:
                raise
            return


def ask(number: int, run: Round) -> None:
    """One signal that asks the run to end, at any moment."""
    process = run.start()
    status = run.send_and_wait(process, run.any_moment(process), number)
    _stopped_well(run, process, status)


def two_signals(run: Round) -> None:
    """Two signals shortly one after the other, while training."""
    process = run.start()
    numbers = run.draw.choice([(TERM, TERM), (INT, INT), (TERM, INT), (INT, TERM), (TERM, KILL)])
    when = run.moment(process, 'compiled', span='training')
    status = run.send_and_wait(
        process, when, *numbers, gap=run.draw.uniform(0.001, run.spans['saving'])
    )
    if KILL in numbers:
        run.note_checkpoints()
    else:
        _stopped_well(run, process, status, at_once=numbers == (INT, INT))


def _stopped_well(run: Round, process: Process, status: int, at_once: bool = False) -> None:
    whole = run.note_checkpoints()
    run.expect_clear_end(process)
    complaint = None if at_once else wrong_end(process.seen, process.output(), status)
    if complaint is not None or status not in _NOTHING_LOST:
        run.complaints.append(complaint or f'asked twice to stop, it ended with status {status}')
    for line in process.output().splitlines():
        saved = re.match(r'stopped by \w+ at step (\d+), saved', line)
        if saved and int(saved[1]) not in whole:
            run.complaints.append(f'it printed {line!r}, but the whole checkpoints are {whole}')


def wrong_end(seen: Sequence[Mark], output: str, status: int) -> str | None:
    """What is wrong with the end of a run that was asked to stop, or None.

    Args:
        seen: the marks of the run: between the end of compilation and the save of the last step
            there is something to lose.
        output: everything that the run printed.
        status: its exit status.
    """
    trained = any(mark.name == 'compiled' for mark in seen)
    last_saves = [number for number, mark in enumerate(seen) if is_saving(setting.STEPS)(mark)]
    over = last_saves and any(mark.name == 'saved' for mark in seen[last_saves[0] :])
    if trained and not over:
        stopped = re.search(r'^stopped by (\w+)', output, re.MULTILINE)
        wanted = 128 + INT if stopped and stopped[1] == INT.name else 0
        well = stopped is not None and status == wanted
    else:
        well = status in _NOTHING_LOST
    if well:
        return None
    last = (output.strip().splitlines() or ['nothing'])[-1][:200]
    when = 'while it trained' if trained else 'before it trained'
    return f'asked to stop {when}, it ended with status {status} and printed: {last}'


def full_disk(hosts: int, run: Round) -> None:
    """No space is left while saving: the workdir has a file system of a few megabytes."""
    run.hosts = hosts
    run.workdir = run.folder / 'disk' / 'run'
    disk = run.workdir.parent
    disk.mkdir()
    # Python's os has no mount; only root may.
    subprocess.run(
        ['mount', '-t', 'tmpfs', '-o', 'size=16m', 'tmpfs', str(disk)],
        check=True,
        capture_output=True,
    )
    run.cleanup.append(lambda: subprocess.run(['umount', str(disk)], check=True))
    if run.draw.random() < 0.5:
        run.words = ['--config.checkpoint.on_error=stop']
    processes = run.start_hosts()
    first = processes[0]
    when = run.moment(first, 'saving')
    left = run.draw.randint(0, _LITTLE_ROOM)
    run.notes.append(f'{left} bytes left at {when}')
    ballast = disk / 'ballast'
    _fill(disk, ballast, left)
    first.marks()
    too_late = any(map(is_saving(setting.STEPS), first.seen))
    began = time.monotonic()
    while None in [process.status() for process in processes]:
        _fill(disk, ballast, left)  # also the room of checkpoints that were deleted
        if time.monotonic() - began > DEADLINE:
            raise Hang(f'still running on a full disk: {first.log}')
        time.sleep(0.01)
    statuses = [process.wait() for process in processes]
    ballast.unlink()
    run.note_checkpoints()
    if too_late and not any(statuses):
        raise Missed('all was saved before the disk was full')
    if statuses != [1] * hosts:
        run.complaints.append(f'on a full disk it ended with {statuses}')
    for process in processes:
        run.expect_clear_end(process)
        if 'error: ' not in process.output():
            run.complaints.append(f'on a full disk {process.log.name} has no clear end')


def _fill(disk: pathlib.Path, ballast: pathlib.Path, left: int) -> None:
    space = os.statvfs(disk)
    free = space.f_bavail * space.f_frsize - left
    if free > 0:
        # The run may take that room first.
        with contextlib.suppress(OSError), ballast.open('ab') as file:
            file.write(bytes(free))


def damage_checkpoints(kind: str, how_many: int, run: Round) -> None:
    """The newest checkpoints are damaged between two starts: the one before must be used."""
    process = run.start()
    process.wait_for(is_saving(setting.SAVE_EVERY * (how_many + 1)))
    run.send_and_wait(process, run.moment(process, 'saving'), KILL)
    whole = run.note_checkpoints()
    if len(whole) <= how_many:
        raise Missed('too few checkpoints to damage')
    for step in whole[-how_many:]:
        run.notes.append(_damage(run, run.workdir / 'checkpoints' / str(step), kind))
    run.kept = whole[-how_many - 1]
    after = run.start()
    when = run.any_moment(after)
    # In half of the rounds it is killed, too: continuing from the older one must itself be safe.
    if run.draw.random() < 0.5:
        run.send_and_wait(after, when, KILL)
    else:
        after.wait()
        output = after.output()
        if f'continuing from step {whole[-1]}' not in output and 'damaged' not in output:
            run.complaints.append('it continued from an older checkpoint and did not report why')


def _damage(run: Round, folder: pathlib.Path, kind: str) -> str:
    """Damages one file below `folder`; returns a description of the damage."""
    paths = sorted(path for path in folder.rglob('*') if path.is_file() and path.stat().st_size)
    path = run.draw.choice(paths)
    name = path.relative_to(run.folder)
    size = path.stat().st_size
    if kind == 'missing':
        path.unlink()
        return f'{name} deleted'
    if kind == 'truncated':
        length = run.draw.randrange(size)
        os.truncate(path, length)
        return f'{name} cut from {size} to {length} bytes'
    content = bytearray(path.read_bytes())
    position, bit = run.draw.randrange(size), run.draw.randrange(8)
    content[position] ^= 1 << bit
    path.write_bytes(content)
    return f'{name} bit {bit} of byte {position} of {size} flipped'


def damage_shard(kind: str, run: Round) -> None:
    """A shard is damaged between two starts: it must be refused, by name, before training."""
    corpus = run.folder / 'corpus'
    shutil.copytree(run.setting.corpus, corpus)
    run.words = [f'--config.data.path={corpus}']
    process = run.start()
    run.send_and_wait(process, run.any_moment(process), KILL)
    run.note_checkpoints()
    shard = run.draw.choice(sorted(corpus.glob('*.array_record')))
    whole = shard.read_bytes()
    if kind == 'missing':
        shard.unlink()
    elif kind == 'truncated':
        os.truncate(shard, run.draw.randrange(len(whole)))
    else:
        flipped = bytearray(whole)
        flipped[run.draw.randrange(len(whole))] ^= 1
        shard.write_bytes(flipped)
    run.notes.append(f'{shard.name} {kind}')
    refused = run.start()
    status = refused.wait()
    run.expect_clear_end(refused)
    if status != 1 or shard.name not in refused.output():
        run.complaints.append(f'a shard was {kind}: status {status}, or the shard was not named')
    if any(mark.name == 'compiling' for mark in refused.seen):
        run.complaints.append(f'training began although a shard was {kind}')
    run.note_checkpoints()
    shard.write_bytes(whole)


def reader_fails(run: Round) -> None:
    """Reading a batch fails in a thread of the loader."""
    process = run.start({'FAULTS_READ_ERROR': str(run.draw.randint(1, setting.STEPS + 4))})
    status = process.wait()
    run.notes.append(f'a read failed, status {status}')
    run.expect_clear_end(process)
    _finished_or_reported(run, process, status)


def reader_dies(run: Round) -> None:
    """A thread of the loader ends."""
    process = run.start()
    status = run.send_and_wait(process, run.moment(process, 'stepping'), signal.SIGUSR1)
    run.notes.append(f'status {status}')
    run.expect_clear_end(process)
    _finished_or_reported(run, process, status)


def _finished_or_reported(run: Round, process: Process, status: int) -> None:
    """A fault in the loader either changes nothing or ends the run with a message."""
    wanted = {0: 'done: ', 1: 'error: '}.get(status)
    if wanted is None or wanted not in process.output():
        run.complaints.append(f'a fault in the loader: status {status}, and no message')
    run.note_checkpoints()


def builder_dies(run: Round) -> None:
    """A worker process of the corpus builder is killed."""
    run.words = [f'--config.data.path={run.folder / "corpus"}']
    process = run.start()
    process.wait_for(lambda mark: mark.name == 'preparing')
    workers: list[int] = []
    until = time.monotonic() + 4 * run.spans['preparing']
    while not workers:
        process.sleep(0.01)
        if time.monotonic() > until:
            raise Missed('no worker was seen')
        workers = [
            child for child in soak.process_tree(process.pid)[1:] if 'spawn_main' in _command(child)
        ]
    process.sleep(run.draw.uniform(0, run.spans['preparing'] / 2))
    try:
        os.kill(run.draw.choice(workers), KILL)
    except ProcessLookupError:
        raise Missed('the worker has ended') from None
    status = process.wait()
    run.notes.append(f'a builder was killed, status {status}')
    run.expect_clear_end(process)
    if status not in (0, 1) or (
        status == 1 and 'a builder process was killed' not in process.output()
    ):
        run.complaints.append(f'a builder was killed: status {status}')


def _command(process: int) -> str:
    try:
        return pathlib.Path(f'/proc/{process}/cmdline').read_text()
    except OSError:
        return ''


def host_vanishes(run: Round) -> None:
    """One process of two is killed: the other one must soon report it and end."""
    run.hosts = 2
    hosts = run.start_hosts()
    lost = run.draw.randrange(2)
    phase = run.draw.choice(['compiling', 'stepping', 'saving', 'evaluating'])
    when = run.moment(hosts[lost], phase)
    run.notes.append(f'process {lost} killed at {when}')
    hosts[lost].send(KILL)
    began = time.monotonic()
    left = hosts[1 - lost]
    status = left.wait()
    took = time.monotonic() - began
    run.notes.append(f'the other ended after {took:.0f} s with status {status}')
    if took > _HOST_SECONDS:
        run.complaints.append(f'the other process took {took:.0f} s to end')
    if 'error: ' not in left.output():
        run.complaints.append(f'the other process ended without a clear message, status {status}')
    run.note_checkpoints()


def host_preempted(run: Round) -> None:
    """One process of two gets SIGTERM: both save after the same step and end."""
    run.hosts = 2
    hosts = run.start_hosts({'FAULTS_STEP_SECONDS': str(_SLOW_STEP)})
    preempted = run.draw.randrange(2)
    when = run.moment(hosts[preempted], 'stepping')
    hosts[preempted].send(TERM)
    run.notes.append(f'SIGTERM to process {preempted} at {when}')
    hosts[preempted].marks()
    steps = 1 + sum(mark.name == 'stepping' for mark in hosts[preempted].seen)
    statuses = [host.wait() for host in hosts]
    if statuses != [0, 0]:
        run.complaints.append(f'asked to stop, the processes ended with {statuses}')
    stopped = [
        [line for line in host.output().splitlines() if line.startswith('stopped by')]
        for host in hosts
    ]
    if stopped[0] != stopped[1]:
        run.complaints.append(f'the processes stopped differently: {stopped}')
    if not stopped[0] and steps <= setting.STEPS - _NOTICE_STEPS:
        run.complaints.append(f'asked to stop in step {steps}, they trained to the end')
    run.note_checkpoints()


def clock_jumps(run: Round) -> None:
    """The wall clock jumps by seconds to years, forwards or back, during training."""
    date = run.folder / 'date'
    date.write_text('0')
    process = run.start({'FAULTS_CLOCK': str(date)})
    for _ in range(run.draw.randint(1, 3)):
        try:
            when = run.moment(process, 'compiled', span='training')
        except Missed:
            break
        jump = run.draw.choice([3600, -3600, 90_000, -90_000, 315_000_000, -5])
        date.write_text(str(jump))
        run.notes.append(f'{jump:+} s at {when}')
    status = process.wait()
    if status != 0:
        run.complaints.append(f'the clock jumped: status {status}')
    run.expect_clear_end(process)
    run.note_checkpoints()


def second_run(run: Round) -> None:
    """The same command is started twice: the second is refused, the first is not disturbed."""
    first = run.start()
    when = run.any_moment(first)
    second = run.start()
    status = second.wait()
    run.notes.append(f'started again at {when}: status {status}')
    if status == 0 and first.status() is None:
        run.complaints.append('the second run succeeded while the first one was running')
    if status != 0 and 'is being written by' not in second.output():
        run.complaints.append(f'the second run ended with status {status} and did not report why')
    run.expect_clear_end(second)
    if first.wait() != 0 and status != 0:
        run.complaints.append(f'the first run ended with status {first.status()}')
    run.note_checkpoints()


def _needs_mount() -> str | None:
    return None if os.geteuid() == 0 else 'mounting a small file system needs root'


def unable(name: str) -> str | None:
    """Why a fault cannot be injected on this machine; None: it can."""
    if name in network.FAULTS:
        return namespaces.unable()
    return _needs_mount() if name.startswith('full disk') else None


def _kills() -> dict[str, Callable[[Round], None]]:
    phases = ('compiling', 'stepping', 'saving', 'evaluating')
    return {f'kill -9 while {phase}': functools.partial(kill_at, phase) for phase in phases}


FAULTS: dict[str, Callable[[Round], None]] = {
    **_kills(),
    'kill -9 while preparing': kill_preparing,
    'kill -9 at any moment': kill_anywhere,
    'kill -9 several times': kill_often,
    'SIGTERM': functools.partial(ask, TERM),
    'SIGINT': functools.partial(ask, INT),
    'two signals': two_signals,
    'full disk while saving': functools.partial(full_disk, 1),
    'full disk while two processes save': functools.partial(full_disk, 2),
    'checkpoint truncated': functools.partial(damage_checkpoints, 'truncated', 1),
    'checkpoint with a flipped bit': functools.partial(damage_checkpoints, 'flipped', 1),
    'checkpoint file missing': functools.partial(damage_checkpoints, 'missing', 1),
    'two newest checkpoints damaged': functools.partial(damage_checkpoints, 'flipped', 2),
    'shard torn': functools.partial(damage_shard, 'truncated'),
    'shard missing': functools.partial(damage_shard, 'missing'),
    'shard with a flipped bit': functools.partial(damage_shard, 'flipped'),
    'read error in a loader thread': reader_fails,
    'loader thread dies': reader_dies,
    'corpus builder process dies': builder_dies,
    'one of two processes vanishes': host_vanishes,
    'one of two processes preempted': host_preempted,
    **network.FAULTS,
    'clock jumps': clock_jumps,
    'second run in the same workdir': second_run,
}


def chosen(names: Sequence[str] | None) -> list[str]:
    """The faults whose names contain one of `names`, or all; exits where there is none."""
    matching = [name for name in FAULTS if names is None or any(part in name for part in names)]
    if not matching:
        raise SystemExit(f'no fault has such a name; the faults are: {", ".join(FAULTS)}')
    return matching
