"""The file that shows that a process lives and who owns a workdir; the end of a step that hangs."""

import contextlib
import json
import os
import subprocess
import sys
import threading
import time

import pytest
from etils import epath

from electra_jax.core import errors
from electra_jax.core.errors import CheckpointError
from electra_jax.train import clock as clocks
from electra_jax.train import heartbeat
from electra_jax.train.clock import Clock
from electra_jax.train.heartbeat import Heartbeat, Waits
from tests.support.clocks import FakeClock

SHORT = Waits(beat=0.02, stale=0.5, poll=0.05, settle=0.01)
FILE = 'heartbeat.json'
BY_HAND = SHORT._replace(beat=1e6)  # the test beats


def test_the_file_is_refreshed_in_every_phase(tmp_path, monkeypatch):
    monkeypatch.setattr(time, 'time', lambda: -5.0)  # written, never used
    clock = Clock()
    beating = Heartbeat(epath.Path(tmp_path) / 'run', clock, waits=SHORT)
    path = tmp_path / 'run' / 'heartbeat.json'

    def wait_for(**expected):
        until = time.monotonic() + 30
        while time.monotonic() < until:
            found = json.loads(path.read_text())
            if expected.items() <= found.items():
                return found
            time.sleep(0.01)
        pytest.fail(f'{found} is not {expected}')

    found = wait_for(phase='starting', step=None)
    assert found['pid'] == os.getpid() and found['host'] and found['process'] == 0
    assert found['time'] == -5.0
    clock.enter(clocks.COMPILING)
    clock.begin_step(1)
    wait_for(phase='compiling', step=1)
    with clock.during(clocks.SAVING):
        wait_for(phase='saving', step=1)
    clock.enter(clocks.ENDING)
    beating.close()
    last = json.loads(path.read_text())
    assert last['phase'] == 'ending' and last['beat'] > 3
    time.sleep(0.1)
    assert json.loads(path.read_text()) == last


def test_a_disk_that_cannot_be_written_does_not_stop_the_heart(tmp_path, capfd, monkeypatch):
    def full():
        raise OSError(28, 'No space left on device')

    clock, reached = Clock(), []
    monkeypatch.setattr(clock, 'write', full)
    monkeypatch.setattr(Heartbeat, '_check_step', lambda self: reached.append(1))
    Heartbeat(epath.Path(tmp_path), clock, waits=BY_HAND).close()
    assert len(reached) == 2
    assert capfd.readouterr().err.count('No space left') == 1


@pytest.fixture
def stalled(tmp_path, monkeypatch):
    """A function: the last message of a process that does nothing for some seconds in a phase."""

    def end(message):
        raise SystemExit(message)

    monkeypatch.setattr(errors, 'end_now', end)
    now = FakeClock()
    clock = Clock(now=now)
    beating = Heartbeat(epath.Path(tmp_path), clock, step_timeout=60.0, waits=BY_HAND)

    def silent(phase, seconds):
        clock.enter(phase)
        clock.begin_step((clock.step or 0) + 1)
        beating.beat()
        now.now += seconds
        try:
            beating.beat()
        except SystemExit as ended:
            return str(ended)

    silent.clock = clock
    return silent


def test_a_step_that_does_not_finish_ends_the_process(stalled, capfd):
    assert stalled('training', 59) is None
    assert 'step 2 has not finished for 60 s' in stalled('training', 61)
    assert 'test_heartbeat.py' in capfd.readouterr().err  # where each thread was


@pytest.mark.parametrize('phase', ['starting', 'compiling', 'evaluating', 'saving', 'ending'])
def test_phases_that_may_take_long_are_left_alone(stalled, phase):
    assert stalled(phase, 1e5) is None


def test_slow_steps_do_not_count_as_hanging(stalled):
    stalled.clock.slowest_step = 30.0
    assert stalled('training', 299) is None
    assert 'step 2' in stalled('training', 301)


@pytest.fixture
def workdir(tmp_path):
    return epath.Path(tmp_path) / 'run'


def owned_by(workdir, **changes):
    """Writes the file of another owner."""
    workdir.mkdir(parents=True, exist_ok=True)
    owner = {'owner': 'theirs', 'beat': 0, **heartbeat._identity(), **changes}
    (workdir / FILE).write_text(json.dumps(owner))


def owns(workdir, waits=BY_HAND):
    """A context in which this process owns the workdir."""
    return contextlib.closing(Heartbeat(workdir, Clock(), waits=waits))


def owner_of(workdir):
    return json.loads((workdir / FILE).read_text())['owner']


def test_a_living_process_of_this_machine_keeps_its_workdir(workdir):
    with owns(workdir):
        text = (workdir / FILE).read_text()
        with pytest.raises(CheckpointError, match=f'process {os.getpid()} on'):
            Heartbeat(workdir, Clock(), waits=BY_HAND)
        assert (workdir / FILE).read_text() == text
    assert owner_of(workdir) is None
    with owns(workdir):
        pass


def test_an_error_frees_the_workdir_too(workdir):
    with pytest.raises(KeyError), heartbeat.watched(workdir, None):
        raise KeyError
    assert owner_of(workdir) is None


def test_a_dead_process_of_this_machine_counts_as_dead_at_once(workdir):
    waits = BY_HAND._replace(stale=1e6)
    child = subprocess.Popen([sys.executable, '-c', 'pass'])
    child.wait()
    owned_by(workdir, pid=child.pid)
    with owns(workdir, waits):
        pass
    # The same number, but a process that began at another time: numbers come back.
    owned_by(workdir, began='1')
    with owns(workdir, waits):
        pass
    # The same machine before it was rebooted.
    owned_by(workdir, machine='another-boot pid:[1]')
    with owns(workdir, waits):
        pass


ELSEWHERE = {'host': 'elsewhere', 'machine': 'other pid:[1]'}


def test_another_machine_is_dead_when_its_file_stands_still(workdir):
    owned_by(workdir, **ELSEWHERE)
    with owns(workdir):
        assert owner_of(workdir) != 'theirs'


def test_another_machine_that_still_writes_keeps_its_workdir(workdir):
    owned_by(workdir, **ELSEWHERE)
    stop = threading.Event()

    def beat():
        number = 0
        while not stop.wait(0.1):
            number += 1
            owned_by(workdir, beat=number, **ELSEWHERE)

    thread = threading.Thread(target=beat)
    thread.start()
    try:
        with pytest.raises(CheckpointError, match=r'process .* on elsewhere'):
            Heartbeat(workdir, Clock(), waits=BY_HAND)
    finally:
        stop.set()
        thread.join()


def test_of_two_processes_that_write_at_once_the_later_one_is_the_owner(workdir):
    def another_comes(seconds):
        owned_by(workdir, pid=4711)

    with pytest.raises(CheckpointError, match='process 4711'):
        Heartbeat(workdir, Clock(), waits=BY_HAND._replace(sleep=another_comes))


def test_an_owner_whose_workdir_was_taken_ends_and_leaves_the_file_alone(workdir, monkeypatch):
    mine = Heartbeat(workdir, Clock(), waits=BY_HAND)
    before = json.loads((workdir / FILE).read_text())['beat']
    mine.beat()
    assert json.loads((workdir / FILE).read_text())['beat'] == before + 1
    owned_by(workdir, pid=4711)
    text = (workdir / FILE).read_text()

    def end(message):
        raise SystemExit(message)

    monkeypatch.setattr(errors, 'end_now', end)
    with pytest.raises(SystemExit, match='process 4711'):
        mine.beat()
    with pytest.raises(SystemExit, match='process 4711'):
        mine.close()
    assert (workdir / FILE).read_text() == text


@pytest.mark.parametrize('text', ['', '{"torn', '[]'])
def test_a_torn_file_belongs_to_nobody(workdir, text):
    workdir.mkdir()
    (workdir / FILE).write_text(text)
    with owns(workdir):
        pass
