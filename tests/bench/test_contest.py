"""Programs in turns, tried with stand-ins that only pretend to work."""

import os
import pathlib

import pytest

from electra_jax.bench import contest
from electra_jax.bench.contest import Arena, Entry, Measured
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


def test_programs_work_in_turns(entry, tmp_path):
    done = []
    with Arena() as arena:
        started = [arena.enter(entry('a', seconds=1.0)), arena.enter(entry('b', seconds=3.0))]
        a, b = contest.compete(started, turns=3, amount=2, after=lambda: done.append(len(done) + 1))
    assert (tmp_path / 'log').read_text() == 'ababab' and done == [1, 2, 3]
    assert a.ready == {'platform': 'none'} and a.report['last'] == 'bye'
    assert a.all('seconds') == [1.0] * 6 and a.all('input_seconds') == []
    assert contest.ratio(a, b, 'seconds') == 3.0


def test_the_peak_of_memory_is_that_after_the_warm_up(entry):
    held = 300 * 2**20
    with Arena() as arena:
        started = [arena.enter(entry('a', seconds=1.0, held=held))]
        (a,) = contest.compete(started, turns=1, amount=1, after=lambda: None)
    if not os.access('/proc/self/clear_refs', os.W_OK):
        pytest.skip('this system does not forget peaks')
    assert 2**20 < a.peak_memory_bytes < held


def test_a_program_that_fails_gives_the_reason(entry):
    with Arena() as arena, pytest.raises(UserError, match=r'a could not be measured') as error:
        arena.enter(entry('a', fails=True, seconds=1.0))
    assert 'no such device' in str(error.value)


def test_an_allocator_counts_before_the_process():
    report = {'peak_device_bytes': 5, 'peak_host_bytes': 7}
    assert Measured('a', {}, [], report).peak_memory_bytes == 5
    assert Measured('a', {}, [], {**report, 'peak_device_bytes': None}).peak_memory_bytes == 7


def test_a_ratio_is_of_the_same_turn():
    # The machine is ten times slower in the second turn; theirs alone is disturbed in the third.
    ours = Measured('a', {}, [{'s': [1.0]}, {'s': [10.0]}, {'s': [4.0]}], {})
    theirs = Measured('b', {}, [{'s': [2.0]}, {'s': [20.0]}, {'s': [40.0]}], {})
    assert contest.ratio(ours, theirs, 's') == 2.0


def test_a_program_that_does_not_run_here_is_left_out(entry):
    lines = []
    with Arena() as arena:
        entries = [entry('a', fails=True, seconds=1.0), entry('b', seconds=1.0)]
        (b,) = arena.enter_any(entries, lines.append)
        assert b.name == 'b' and 'no such device' in lines[1]
        with pytest.raises(UserError, match='a could not'):
            arena.enter_any(entries[:1], lines.append)


def measured(name, seconds):
    turn = {'s': [seconds] * 3, 'cpu_seconds': [3 * seconds]}
    return Measured(name, {'platform': 'cpu'}, [turn, turn], {'peak_host_bytes': 7})


def test_ratios_are_per_token_and_the_fastest_peer_counts():
    others = [measured('slow', 4.0), measured('fast', 3.0)]
    # Six times as long, for twice as many tokens.
    compared, best = contest.compare(measured('ours', 0.5), others, 's', [64, 64, 128])
    assert best == 1 and compared['peer'] == 'fast' and compared['ratio'] == 3.0
    assert compared['ratios'] == {'slow': 8.0, 'fast': 3.0}
    assert compared['ratio_of_processor_time'] == 3.0
    assert compared['peer_tokens_per_second'] == pytest.approx(128 / 3)


def test_percentiles_of_one_step_are_that_step():
    assert set(contest.percentiles([2.0]).values()) == {2.0}
