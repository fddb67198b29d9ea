"""What is printed before there is a line about a step: of compiling, and how long it will take."""

import json

import numpy as np
import pytest
from etils import epath

from electra_jax.config.settings import LogConfig
from electra_jax.runtime import malloc
from electra_jax.train.clock import COMPILING, TRAINING, Clock, StepWork
from electra_jax.train.log import ESTIMATE_SECONDS, ESTIMATE_STEPS, Log


class Health:
    """Finds nothing."""

    def look(self, number, values, batch):
        return {}, []


@pytest.fixture
def printed(tmp_path, capsys):
    """Runs steps of so many seconds each, after a compilation; returns what was printed.

    `again`: the step at which another trial begins; `evaluates`: the one before an evaluation.
    """

    def steps(
        seconds: float, start: int, end: int, compiling: float, again: int = 0, evaluates: int = 0
    ) -> list[str]:
        now = [0.0]
        clock = Clock(now=lambda: now[0], age=0.0)
        settings = LogConfig(every_steps=1_000_000, trackers='')
        log = Log(epath.Path(tmp_path), settings, clock, start, end)
        log.follow(Health(), 0, end, epoch_steps=1000.0)
        clock.start_from(start)
        log.compiling('a step')
        for number in range(start + 1, end + 1):
            if number == again:
                log.finish_step()
                log.compiling('a step')
            clock.begin_step(number)
            log.finish_step()
            now[0] += compiling if number == start + 1 else seconds
            log.hold(number, {'loss': np.float32(1.0)}, {})
            if number == evaluates:
                log.finish_step()
                with log.evaluating():
                    now[0] += 60.0
        log.close()
        return capsys.readouterr().out.splitlines()

    return steps


def test_compiling_is_said_at_once_and_how_long_it_took(printed):
    lines = printed(seconds=0.1, start=0, end=5, compiling=75.0)
    assert lines == ['compiling a step...', 'compiled in 1m15s']
    lines = printed(seconds=0.1, start=0, end=5, compiling=0.2)
    assert lines == ['compiling a step...', 'compiled in 0s']
    lines = printed(seconds=0.1, start=0, end=5, compiling=75.0, again=3)
    assert lines == ['compiling a step...', 'compiled in 1m15s']


def test_another_shape_is_compiled_with_two_lines_of_its_own(tmp_path, capsys):
    now = [0.0]
    clock = Clock(now=lambda: now[0], age=0.0)
    log = Log(epath.Path(tmp_path), LogConfig(trackers=''), clock, 0, 9)
    clock.enter(TRAINING)
    with log.another_shape('a step of 8 rows of 32 tokens'):
        now[0] += 61
    log.close()
    lines = ['compiling a step of 8 rows of 32 tokens...', 'compiled in 1m01s']
    assert capsys.readouterr().out.splitlines() == lines
    # The time counts as that of compiling, and not as that of a step.
    assert (clock.seconds(COMPILING), clock.phase) == (61, TRAINING)


@pytest.mark.parametrize(('is_computed', 'held'), [(True, 0), (False, 1)])
def test_a_step_that_its_call_computed_is_finished_at_once(
    tmp_path, monkeypatch, is_computed, held
):
    monkeypatch.setattr(malloc, 'computes_in_main_thread', lambda: is_computed)
    now = [0.0]
    clock = Clock(now=lambda: now[0], age=0.0)
    log = Log(epath.Path(tmp_path), LogConfig(every_steps=1, trackers=''), clock, 0, 3)
    log.follow(Health(), 0, 3, epoch_steps=1000.0, work=StepWork(tokens=8))
    clock.enter(TRAINING)
    for number in (1, 2, 3):
        clock.begin_step(number)
        now[0] += 4.0
        log.finish_step()
        log.hold(number, {'loss': np.float32(2.0)}, {})
        log.flush()
        lines = log.path.read_text().splitlines() if log.path.exists() else []
        written = [json.loads(line) for line in lines]
        assert [line['step'] for line in written] == list(range(1, number + 1 - held))
        if not held:  # waiting for it was all that the host did
            assert written[-1]['speed/device_share'] == 1.0
    log.close()


def test_after_some_seconds_the_rest_is_estimated_once(printed):
    *_, line = printed(seconds=2.0, start=100, end=700, compiling=9.0)
    steps = max(int(ESTIMATE_SECONDS / 2), ESTIMATE_STEPS)
    left = 600 - 1 - steps
    assert line.startswith(f'step {101 + steps}/700  2 s a step: about {left * 2 // 60}m')
    assert line.endswith(f' here for the {left} that are left, without evaluations')
    *_, line = printed(seconds=2.0, start=100, end=700, compiling=9.0, evaluates=103)
    assert line.endswith('that are left')
