"""What a signal does while work is under way that may be left unfinished."""

import os
import signal
import time

import pytest

from electra_jax.train import metric_lines
from electra_jax.train.signals import stop_signals
from tests.support import small_run


@pytest.mark.parametrize('number', [signal.SIGINT, signal.SIGTERM])
def test_work_that_may_be_left_ends_at_the_first_signal(number):
    done = []
    with stop_signals(lambda: False) as stop:
        began = time.monotonic()
        with stop.leaving():
            os.kill(os.getpid(), number)
            time.sleep(10.0)
            done.append('whole')
        assert time.monotonic() - began < 5
        assert not done and stop.name == signal.Signals(number).name
        assert stop.requested(1)
        os.kill(os.getpid(), signal.SIGTERM)  # it only asks again
        with pytest.raises(KeyboardInterrupt):
            for _ in range(2):
                os.kill(os.getpid(), signal.SIGINT)
                time.sleep(0.01)


def test_work_that_nobody_interrupts_is_whole():
    with stop_signals(lambda: False) as stop:
        with stop.leaving():
            done = 'whole'
        assert done == 'whole' and stop.name is None
        with pytest.raises(KeyboardInterrupt), stop.leaving():
            raise KeyboardInterrupt  # of no signal


def ended(*arguments):
    os.kill(os.getpid(), signal.SIGTERM)
    time.sleep(10.0)


@pytest.mark.parametrize(
    ('work', 'written'), [({'evaluate': ended}, []), ({'show': ended}, [(5, 1.0)])]
)
def test_an_evaluation_is_written_if_it_was_whole_when_the_signal_came(tmp_path, work, written):
    config = small_run.settings(12, eval={'every_steps': 5})
    outcome = small_run.run(tmp_path, config, **work)
    assert (outcome.stopped_by, int(outcome.state.step)) == ('SIGTERM', 5)
    assert metric_lines.series(metric_lines.read(tmp_path), 'eval/score') == written
    assert (tmp_path / 'checkpoints' / '5').exists()
