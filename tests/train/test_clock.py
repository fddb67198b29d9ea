"""Where a run's time goes: phases, speed, and goodput over all starts."""

import json
import subprocess
import sys
import time

import pytest
from etils import epath

from electra_jax.train import clock as clocks
from electra_jax.train.clock import Clock, Start, StepWork
from tests.support.clocks import FakeClock


def test_each_second_belongs_to_one_phase():
    now = FakeClock()
    clock = Clock(now=now, age=3.0)
    now.now += 2
    clock.enter(clocks.TRAINING)
    clock.begin_step(1)
    now.now += 10
    with clock.during(clocks.EVALUATING):
        now.now += 4
    now.now += 1
    assert clock.seconds(clocks.STARTING) == 5 and clock.seconds(clocks.TRAINING) == 11
    assert clock.seconds(clocks.EVALUATING) == 4 and clock.total == 20
    assert clock.goodput()['speed/goodput'] == 11 / 20


def test_the_slowest_step_is_one_without_an_interruption():
    now = FakeClock()
    clock = Clock(now=now)
    clock.enter(clocks.TRAINING)
    for number, seconds in enumerate((1, 5, 2)):
        clock.begin_step(number)
        now.now += seconds
    with clock.during(clocks.SAVING):
        now.now += 100
    clock.begin_step(4)
    now.now += 1
    clock.begin_step(5)
    assert clock.slowest_step == 5


def test_a_process_knows_its_age():
    program = 'from electra_jax.train import clock; import time; time.sleep(0.5); '
    program += 'print(clock.process_age())'
    began = time.monotonic()
    done = subprocess.run([sys.executable, '-c', program], capture_output=True, text=True)
    assert 0.5 < float(done.stdout) < time.monotonic() - began + 0.1


def test_waits_are_shares_of_the_time_between_two_readings():
    now = FakeClock()
    clock = Clock(now=now)
    work = StepWork(tokens=10, flops_per_token=2.0, peak_flops=200.0)
    clock.enter(clocks.COMPILING)
    with clock.waiting(clocks.DEVICE):
        now.now += 50.0  # the first step, which is compiled
    clock.end_step()
    for _ in range(2):
        with clock.waiting(clocks.INPUT):
            now.now += 1.0
        with clock.waiting(clocks.DEVICE):
            now.now += 2.0
        now.now += 1.0  # the host's own work
        clock.end_step()
    with clock.during(clocks.SAVING), clock.waiting(clocks.DEVICE):
        now.now += 30.0
    assert clock.speed(work) == {
        'speed/steps_per_second': pytest.approx(0.25),
        'speed/tokens_per_second': pytest.approx(2.5),
        'speed/mfu': pytest.approx(0.025),
        'speed/input_share': pytest.approx(0.25),
        'speed/device_share': pytest.approx(0.5),
    }
    now.now += 1.0
    clock.end_step()
    assert clock.speed(work)['speed/input_share'] == 0.0
    assert clock.speed(work) == {}


def test_a_step_that_its_call_computed_was_waited_for_there():
    now = FakeClock()
    clock = Clock(now=now)
    clock.enter(clocks.COMPILING)
    clock.begin_step(1)
    now.now += 50.0
    clock.computed_step()  # it was compiled, too
    clock.end_step()
    clock.begin_step(2)
    now.now += 3.0
    clock.computed_step()
    now.now += 1.0  # the host's own work
    clock.end_step()
    speed = clock.speed(StepWork(tokens=10))
    assert speed['speed/device_share'] == pytest.approx(0.75)
    assert speed['speed/input_share'] == 0.0


def test_goodput_counts_a_step_once_however_often_it_was_done():
    alone = [Start(0, 100, 100.0, 80.0)]
    assert clocks.goodput(alone) == pytest.approx(0.8)
    # The second start begins at 60: 40 of the first one's steps were lost.
    assert clocks.goodput([*alone, Start(60, 100, 50.0, 30.0)]) == pytest.approx(78 / 150)
    # A third one that begins before both.
    twice = [*alone, Start(60, 100, 50.0, 40.0), Start(10, 20, 10.0, 5.0)]
    assert clocks.goodput(twice) == pytest.approx((8 + 0 + 5) / 160)
    assert clocks.goodput([Start(0, 0, 10.0, 0.0)]) == 0


def test_the_time_of_a_start_is_also_counted_from_when_its_text_was_there(tmp_path):
    workdir, now = epath.Path(tmp_path), FakeClock()
    clock = Clock(workdir, now, age=9.0)
    clock.timed_from = now() - 2.0
    clock.start_from(0)
    now.now += 5.0
    clock.write()
    starts = clocks.read(workdir)
    assert starts == [Start(0, 0, 14.0, 0.0, 7.0)]
    # A start of an earlier version counts whole.
    assert clocks.timed([*starts, Start(0, 9, 20.0, 8.0)]) == 27.0


def test_goodput_is_kept_over_starts(tmp_path):
    workdir, now = epath.Path(tmp_path), FakeClock()
    for first in (0, 4):
        clock = Clock(workdir, now, age=3.0)
        clock.write()  # training has not begun: there is nothing to write
        clock.start_from(first)
        clock.enter(clocks.TRAINING)
        clock.begin_step(first + 5)
        now.now += 7
        clock.write()
    # 3 s of age and 7 s of training each; of the first 5 steps 4 were kept.
    assert clock.starts() == [Start(0, 5, 10.0, 7.0), Start(4, 9, 10.0, 7.0)]
    assert clock.goodput() == {
        'speed/goodput': pytest.approx(0.7),
        'speed/run_goodput': pytest.approx(7 * 1.8 / 20),
    }
    assert '63.0%' in clock.goodput_line() and '2 starts' in clock.goodput_line()
    now.now += 7
    clock.write()  # what the line was about is final
    assert clocks.read(workdir) == [Start(0, 5, 10.0, 7.0), Start(4, 9, 10.0, 7.0)]
    assert json.loads((workdir / clocks.FILE).read_text())['starts'][0] == {
        'first': 0, 'last': 5, 'seconds': 10.0, 'training': 7.0, 'timed': None,
    }  # fmt: skip
    (workdir / clocks.FILE).write_text('{"torn')
    assert len(Clock(workdir).starts()) == 1


def test_the_time_left_follows_the_usual_step_and_the_pauses():
    now = FakeClock()
    clock = Clock(now=now, age=0.0)
    assert clock.seconds_left(10) is None
    clock.start_from(0)
    clock.enter(clocks.COMPILING)
    for number, seconds in enumerate((50.0, 2.0, 40.0, 2.0, 2.0, 2.0), 1):  # two of them compile
        clock.begin_step(number)
        now.now += seconds
        clock.end_step()
    assert clock.step_seconds() == 2.0 and clock.seconds_left(10) == 20.0
    with clock.during(clocks.EVALUATING):
        now.now += 3.0
    assert clock.seconds_left(12) == 12 * 2.0 + 2 * 3.0
    with clock.during(clocks.EVALUATING):
        now.now += 1.0  # the first one compiled
    assert clock.seconds_left(12) == 12 * 2.0 + 2 * 2 * 1.0


def test_the_time_left_has_the_programs_that_are_not_compiled_yet():
    now = FakeClock()
    clock = Clock(now=now, age=0.0)
    clock.start_from(0)
    clock.enter(clocks.COMPILING)
    for number, seconds in enumerate((30.0, 1.0, 1.0, 4.0), 1):
        clock.count_programs(1, of=3)
        clock.begin_step(number)
        now.now += seconds
        clock.end_step()
    # Steps of several shapes differ: their mean counts, and not the median.
    assert clock.step_seconds() == 2.0 and clock.seconds_left(10) == 10 * 2.0 + 2 * 30.0
    clock.count_programs(3, of=3)
    assert clock.seconds_left(10) == 20.0
