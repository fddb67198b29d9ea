"""What a signal does while work is under way that may be left unfinished."""

import os
import signal
import subprocess
import sys
import time

import jax
import pytest

from electra_jax.train import metric_lines, signals
from electra_jax.train.signals import stop_signals
from tests.support import small_run
from tests.support.recipes import ENVIRONMENT, ROOT


def interrupted(done, number):
    os.kill(os.getpid(), number)
    time.sleep(10.0)
    done.append('whole')


@pytest.mark.parametrize('number', [signal.SIGINT, signal.SIGTERM])
def test_work_that_may_be_left_ends_at_the_first_signal(number):
    done = []
    with stop_signals(lambda: False) as stop:
        began = time.monotonic()
        assert stop.unless_asked(lambda: interrupted(done, number)) is None
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
        assert stop.unless_asked(lambda: 'whole') == 'whole' and stop.name is None
        with pytest.raises(KeyboardInterrupt):
            stop.unless_asked(lambda: signal.default_int_handler(2, None))  # of no signal


def test_work_is_not_begun_once_a_signal_has_come():
    done = []
    with stop_signals(lambda: False) as stop:
        os.kill(os.getpid(), signal.SIGTERM)
        assert stop.unless_asked(lambda: done.append('begun')) is None and not done


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


BUSY = """
import hashlib, pathlib, signal, sys
import jax
from electra_jax.runtime import interrupt
from electra_jax.train import signals
from tests.support import small_run

def compiles(*arguments):
    print('busy', flush=True)
    hashlib.pbkdf2_hmac('sha256', b'', b'', 10**9)  # minutes in which Python runs no handler

def first(state, batch):
    compiles()

folder, part = sys.argv[1:]
interrupt.watch()
config = small_run.settings(12, eval={'every_steps': 5})
outcome = small_run.run(folder, config, **{part: first if part == 'step' else compiles})
print(signals.ended(outcome.stopped_by, int(outcome.state.step)))
"""


@pytest.mark.slow  # a process that imports JAX
@pytest.mark.parametrize('number', [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize('part', ['evaluate', 'show', 'step'])
def test_a_signal_ends_a_run_that_compiles_and_saves_it(tmp_path, part, number):
    process = subprocess.Popen(
        [sys.executable, '-c', BUSY, tmp_path / 'run', part],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=ROOT, env=ENVIRONMENT,
    )  # fmt: skip
    assert process.stdout is not None
    lines = iter(process.stdout.readline, '')
    assert 'busy\n' in lines
    began = time.monotonic()
    time.sleep(0.3)  # the handler is between two instructions no more
    process.send_signal(number)
    try:
        out, error = process.communicate(timeout=60)
    finally:
        process.kill()
    assert time.monotonic() - began < 5, out + error
    name = signal.Signals(number).name
    assert process.returncode == (130 if name == 'SIGINT' else 0), out + error
    if part == 'step':
        assert not (tmp_path / 'run' / 'checkpoints').exists()
        assert f'stopped by {name}, with nothing new to save\nto continue: python -m' in out
        return
    assert f'stopped by {name} at step 5, saved\nto continue: python -m' in out
    outcome = small_run.run(tmp_path / 'run')
    assert int(outcome.state.step) == 12
    assert jax.tree.all(
        jax.tree.map(lambda a, b: (a == b).all(), outcome.state, small_run.after(12))
    )
    written = metric_lines.series(metric_lines.read(tmp_path / 'run'), 'eval/score')
    assert (5 in dict(written)) == (part == 'show')


LEFT = """
import os, signal, sys, threading, time
from electra_jax.runtime import cli
from electra_jax.train.signals import stop_signals

def main():
    threading.Thread(target=time.sleep, args=(60,)).start()  # as the compiler's
    with stop_signals(lambda: False) as stop:
        stop.unless_asked(lambda: (os.kill(os.getpid(), signal.{name}), time.sleep(60)))
    print('over', time.monotonic())

sys.argv = ['main']
cli.run_without_recipe(main)
"""


@pytest.mark.slow  # a process that imports JAX
@pytest.mark.parametrize(('name', 'status'), [('SIGTERM', 0), ('SIGINT', 130)])
def test_a_command_does_not_wait_for_what_it_has_left(name, status):
    program = LEFT.format(name=name)
    done = subprocess.run(
        [sys.executable, '-c', program], capture_output=True, text=True, cwd=ROOT, env=ENVIRONMENT
    )
    word, _, over = done.stdout.partition(' ')
    assert (done.returncode, word) == (status, 'over'), done.stderr
    assert time.monotonic() - float(over) < 5


def test_a_signal_while_python_traces_a_first_step_ends_the_process(monkeypatch):
    ends = []
    monkeypatch.setattr(signals, '_end_unsaved', lambda *said: ends.append(said))
    with stop_signals(lambda: True, kept='all kept') as stop:
        os.kill(os.getpid(), signal.SIGINT)
    assert ends == [('SIGINT', 'all kept')] and stop.end() is None
