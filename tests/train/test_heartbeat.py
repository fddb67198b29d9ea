"""The file that shows that a process lives, and the end of a process whose step hangs."""

import json
import os
import time

import pytest
from etils import epath

from electra_jax.core import errors
from electra_jax.train import clock as clocks
from electra_jax.train import heartbeat
from electra_jax.train.clock import Clock
from tests.support.clocks import FakeClock


def test_the_file_is_refreshed_in_every_phase(tmp_path, monkeypatch):
    monkeypatch.setattr(time, 'time', lambda: -5.0)  # written, never used
    clock, beats = Clock(), []
    beating = heartbeat.Heartbeat(
        epath.Path(tmp_path) / 'run', clock, also=[lambda: beats.append(1)], beat_seconds=0.02
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
    clock.enter(clocks.COMPILING)
    clock.begin_step(1)
    wait_for(phase='compiling', step=1)
    with clock.during(clocks.SAVING):
        wait_for(phase='saving', step=1)
    clock.enter(clocks.ENDING)
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
        epath.Path(tmp_path), Clock(), also=[full, lambda: reached.append(1)]
    )
    beating.close()
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
    beating = heartbeat.Heartbeat(epath.Path(tmp_path), clock, step_timeout=60.0, beat_seconds=1e6)

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
