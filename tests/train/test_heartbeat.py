"""Where the time went, and the file that says that a process lives."""

import json
import os
import subprocess
import sys
import time

import pytest
from etils import epath

from electra_jax.runtime import distributed
from electra_jax.train import goodput, heartbeat, phases
from electra_jax.train.goodput import Account, Start


class Clock:
    """A clock that moves when it is told to."""

    def __init__(self, monkeypatch):
        self.now = 1000.0
        monkeypatch.setattr(time, 'monotonic', lambda: self.now)
        monkeypatch.setattr(phases, 'process_age', lambda: 3.0)


@pytest.fixture
def clock(monkeypatch):
    return Clock(monkeypatch)


def test_each_second_belongs_to_one_phase(clock):
    spent = phases.Phases()
    clock.now += 2
    spent.enter(phases.TRAINING)
    clock.now += 10
    with spent.during(phases.EVALUATING):
        clock.now += 4
    clock.now += 1
    assert spent.seconds(phases.STARTING) == 5 and spent.seconds(phases.TRAINING) == 11
    assert spent.seconds(phases.EVALUATING) == 4 and spent.total == 20
    assert spent.goodput == 11 / 20


def test_the_slowest_step_is_one_without_an_interruption(clock):
    spent = phases.Phases()
    spent.enter(phases.TRAINING)
    for number, seconds in enumerate((1, 5, 2)):
        spent.begin_step(number)
        clock.now += seconds
    with spent.during(phases.SAVING):
        clock.now += 100
    spent.begin_step(4)
    clock.now += 1
    spent.begin_step(5)
    assert spent.slowest_step == 5


def test_a_process_knows_its_age():
    program = 'from electra_jax.train import phases; import time; time.sleep(0.5); '
    program += 'print(phases.process_age())'
    began = time.monotonic()
    said = subprocess.run([sys.executable, '-c', program], capture_output=True, text=True)
    assert 0.5 < float(said.stdout) < time.monotonic() - began + 0.1


def test_goodput_counts_a_step_once_however_often_it_was_taken():
    alone = [Start(0, 100, 100.0, 80.0)]
    assert goodput.goodput(alone) == pytest.approx(0.8)
    # The second start begins at 60: 40 of the first one's steps were lost.
    assert goodput.goodput([*alone, Start(60, 100, 50.0, 30.0)]) == pytest.approx(78 / 150)
    # A third one that begins before both.
    twice = [*alone, Start(60, 100, 50.0, 40.0), Start(10, 20, 10.0, 5.0)]
    assert goodput.goodput(twice) == pytest.approx((8 + 0 + 5) / 160)
    assert goodput.goodput([Start(0, 0, 10.0, 0.0)]) == 0


def test_the_account_is_kept_over_starts(tmp_path, clock):
    workdir = epath.Path(tmp_path)
    for first in (0, 4):
        spent = phases.Phases()
        account = Account(workdir, spent)
        account.write()  # nothing is known of this start yet
        account.begin(first)
        spent.enter(phases.TRAINING)
        spent.begin_step(first + 5)
        clock.now += 7
        account.write()
    # 3 s of age and 7 s of training each; of the first 5 steps 4 were kept.
    assert account.starts() == [Start(0, 5, 10.0, 7.0), Start(4, 9, 10.0, 7.0)]
    assert account.metrics() == {
        'speed/goodput': pytest.approx(0.7),
        'speed/run_goodput': pytest.approx(7 * 1.8 / 20),
    }
    assert account.line().endswith('63.0% over 2 starts')
    (workdir / goodput.FILE).write_text('{"torn')
    assert Account(workdir, spent).starts()[0].last == 9


def test_the_file_is_refreshed_in_every_phase(tmp_path, monkeypatch):
    monkeypatch.setattr(heartbeat, 'BEAT_SECONDS', 0.02)
    monkeypatch.setattr(time, 'time', lambda: -5.0)  # said, never used
    spent, beats = phases.Phases(), []
    beating = heartbeat.Heartbeat(
        epath.Path(tmp_path) / 'run', spent, also=[lambda: beats.append(1)]
    )
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
    spent.enter(phases.COMPILING)
    spent.begin_step(1)
    wait_for(phase='compiling', step=1)
    with spent.during(phases.SAVING):
        wait_for(phase='saving', step=1)
    spent.enter(phases.ENDING)
    beating.close()
    assert json.loads(path.read_text())['phase'] == 'ending'
    count = len(beats)
    time.sleep(0.1)
    assert count == len(beats) > 3


def test_a_disk_that_cannot_be_written_does_not_stop_the_heart(tmp_path, capfd):
    def full():
        raise OSError(28, 'No space left on device')

    reached = []
    beating = heartbeat.Heartbeat(
        epath.Path(tmp_path), phases.Phases(), also=[full, lambda: reached.append(1)]
    )
    beating.close()
    assert len(reached) == 2
    assert capfd.readouterr().err.count('No space left') == 1


@pytest.fixture
def stalled(tmp_path, monkeypatch, clock):
    """A function: what a process that is silent for some seconds in a phase says at its end."""

    def end(message):
        raise SystemExit(message)

    monkeypatch.setattr(distributed, 'end_now', end)
    spent = phases.Phases()
    beating = heartbeat.Heartbeat(epath.Path(tmp_path), spent, step_timeout=60.0)
    beating._stop.set()  # the test is what beats
    beating._thread.join()

    def silent(phase, seconds):
        spent.enter(phase)
        spent.begin_step((spent.step or 0) + 1)
        beating._beat()
        clock.now += seconds
        try:
            beating._beat()
        except SystemExit as ended:
            return str(ended)

    silent.spent = spent
    return silent


def test_a_step_that_does_not_finish_ends_the_process(stalled, capfd):
    assert stalled('training', 59) is None
    assert 'step 2 has not finished for 60 s' in stalled('training', 61)
    assert 'test_heartbeat.py' in capfd.readouterr().err  # where each thread was


@pytest.mark.parametrize('phase', ['starting', 'compiling', 'evaluating', 'saving', 'ending'])
def test_what_takes_its_time_is_left_alone(stalled, phase):
    assert stalled(phase, 1e5) is None


def test_slow_steps_are_no_hanging_ones(stalled):
    stalled.spent.slowest_step = 30.0
    assert stalled('training', 299) is None
    assert 'step 2' in stalled('training', 301)
