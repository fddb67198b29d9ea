"""Programs in turns, tried with stand-ins that only pretend to work."""

import functools
import os
import pathlib
import time

import pytest

from electra_jax.bench import contest, worker
from electra_jax.bench.contest import Entry, Measured, Plan
from electra_jax.core.errors import UserError

ROOT = pathlib.Path(__file__).parent.parent.parent
PROGRAM = """
import sys, pathlib
from electra_jax.bench import worker

def begin(settings):
    log = pathlib.Path(settings['log'])
    print('a library prints this')
    if settings.get('fails'):
        sys.exit('no such device')
    held = bytearray(settings.get('held', 0))
    del held
    def turn(amount):
        with log.open('a') as file:
            file.write(settings['name'])
        return {'seconds': [settings['seconds']] * amount}
    return worker.Served({'platform': 'none'}, turn, lambda: {'last': 'bye'})

worker.serve(begin)
"""


@pytest.fixture
def entry(tmp_path):
    (tmp_path / 'pretender.py').write_text(PROGRAM)
    paths = os.pathsep.join([str(tmp_path), str(ROOT)])

    def make(name, **settings):
        given = {'name': name, 'log': str(tmp_path / 'log'), **settings}
        return Entry(name, 'pretender', given, {'PYTHONPATH': paths})

    return make


def measure(ours, *others, turns=1, amount=1):
    """Ours and the others, and the lines that were reported."""
    lines = []
    plan = Plan(turns, amount, warmup=1)
    one, rest = contest.measure(ours, lambda ready: others, plan, lines.append)
    return [one, *rest], lines


def test_programs_work_in_turns(entry, tmp_path):
    (a, b), lines = measure(entry('a', seconds=1.0), entry('b', seconds=3.0), turns=3, amount=2)
    assert (tmp_path / 'log').read_text() == 'ababab'
    assert [f'turn {number} of 3' in lines for number in (1, 2, 3)] == [True] * 3
    assert a.ready == {'platform': 'none'} and a.report['last'] == 'bye'
    assert a.all('seconds') == [1.0] * 6 and a.all('input_seconds') == []
    assert b.all('seconds') == [3.0] * 6


def test_the_peak_of_memory_is_that_after_the_warm_up(entry):
    held = 300 * 2**20
    (a,), _ = measure(entry('a', seconds=1.0, held=held))
    if not os.access('/proc/self/clear_refs', os.W_OK):
        pytest.skip('this system does not forget peaks')
    assert 2**20 < a.peak_memory_bytes < held


def test_a_program_that_fails_gives_the_reason(entry):
    with pytest.raises(UserError, match=r'a could not be measured') as error:
        measure(entry('a', fails=True, seconds=1.0))
    assert 'no such device' in str(error.value)


def test_an_allocator_counts_before_the_process():
    report = {'peak_device_bytes': 5, 'peak_host_bytes': 7}
    assert Measured('a', {}, [], report).peak_memory_bytes == 5
    assert Measured('a', {}, [], {**report, 'peak_device_bytes': None}).peak_memory_bytes == 7


def test_a_program_that_does_not_run_here_is_left_out(entry):
    ours, broken = entry('ours', seconds=1.0), entry('a', fails=True, seconds=1.0)
    measured, lines = measure(ours, broken, entry('b', seconds=1.0))
    assert [one.name for one in measured] == ['ours', 'b']
    assert any('left out' in line and 'no such device' in line for line in lines)
    with pytest.raises(UserError, match='a could not'):
        measure(ours, broken)


def test_a_step_takes_from_the_end_of_the_one_before_to_its_own():
    began = time.perf_counter()
    ends = iter([began + 1, began + 3, began + 6])
    seconds = worker.time_steps(3, lambda: functools.partial(next, ends))
    assert seconds == pytest.approx([1, 2, 3], abs=0.1)
