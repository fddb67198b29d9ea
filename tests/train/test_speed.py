"""Speed of a run, and what it waits for."""

import pytest

from electra_jax.train import phases as p
from electra_jax.train import speed


@pytest.fixture
def clock(monkeypatch):
    now = [100.0]
    monkeypatch.setattr(p.time, 'monotonic', lambda: now[0])
    return now


def pass_time(clock, seconds):
    clock[0] += seconds


def test_waits_are_shares_of_the_time_between_two_readings(clock):
    phases = p.Phases()
    meter = speed.Meter(phases, tokens=10, flops_per_token=2.0, peak_flops=200.0)
    with meter.waiting(speed.DEVICE):
        pass_time(clock, 50.0)  # the first step, which is compiled
    phases.enter(p.TRAINING)
    for _ in range(2):
        with meter.waiting(speed.INPUT):
            pass_time(clock, 1.0)
        with meter.waiting(speed.DEVICE):
            pass_time(clock, 2.0)
        pass_time(clock, 1.0)  # the host's own work
        meter.count()
    with phases.during(p.SAVING), meter.waiting(speed.DEVICE):
        pass_time(clock, 30.0)
    assert meter.read() == {
        'speed/steps_per_second': pytest.approx(0.25),
        'speed/tokens_per_second': pytest.approx(2.5),
        'speed/mfu': pytest.approx(0.025),
        'speed/input_share': pytest.approx(0.25),
        'speed/device_share': pytest.approx(0.5),
    }
    pass_time(clock, 1.0)
    meter.count()
    assert meter.read()['speed/input_share'] == 0.0
    assert meter.read() == {}
