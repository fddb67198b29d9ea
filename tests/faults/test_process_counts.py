"""One run over 2, then 4 (one of them preempted), then 1 process: the same batches and curve."""

import itertools
import random
import re
import shutil
import signal

import numpy as np
import pytest

from tools.faults import compare, rounds, setting

pytestmark = pytest.mark.slow

HELD_OUT = 4  # batches of held-out rows, which a start reads before the first for training
FIRST_STOP = 10  # an evaluation is due there, whether the run ends or not
# Sums over hosts add up in another order, and training lets that grow.
CURVE = {'rtol': 2e-3, 'atol': 2e-3}


@pytest.fixture(scope='module')
def where(tmp_path_factory):
    return setting.prepare(tmp_path_factory.mktemp('process_counts'))


def new_round(where, name, hosts=1, *words):
    run = rounds.Round(where, where.folder / name, random.Random(0), rounds.Spans(), lambda n: {})
    run.hosts, run.words = hosts, list(words)
    return run


def train(run):
    """Types the command on every host, and waits for the processes."""
    started = run.start_hosts()
    statuses = [process.wait() for process in started]
    assert statuses == [0] * run.hosts, [process.output() for process in started]
    return started


def batches(processes, first):
    """Number of a batch -> hashes of its rows, from all processes, by what they have read."""
    parts = []
    for process in processes:
        rows = [mark.values[1:] for mark in process.seen if mark.name == 'rows']
        steps = sum(mark.name in ('compiled', 'stepping') for mark in process.seen)
        parts.append(rows[HELD_OUT : HELD_OUT + steps])
    together = [list(itertools.chain(*of_hosts)) for of_hosts in zip(*parts, strict=True)]
    return dict(enumerate(together, first))


def curve(workdir):
    """Everything in metrics.jsonl, by step and name."""
    found = {}
    for line in compare.metrics(workdir):
        for name, value in line.items():
            if name != 'step':
                # How far a run is stands in the line of a step and in that of its evaluation.
                assert found.setdefault((line['step'], name), value) == value
    return found


def assert_same_curve(found, wanted):
    assert found.keys() == wanted.keys()
    for key, value in wanted.items():
        np.testing.assert_allclose(found[key], value, err_msg=str(key), **CURVE)


@pytest.fixture(scope='module')
def alone(where):
    """The run of one process, undisturbed: its batches and its curve."""
    run = new_round(where, 'alone')
    started = train(run)
    found = batches(started, 1), curve(run.workdir)
    assert sorted(found[0]) == list(range(1, setting.STEPS + 1))
    return found


@pytest.fixture(scope='module')
def from_two(where, alone):
    """A run of two processes that has stopped in the middle."""
    run = new_round(where, 'two', 2, f'--config.stop_at={FIRST_STOP}')
    started = train(run)
    assert compare.finished_steps(run.workdir)[-1] == FIRST_STOP
    return run, batches(started, 1)


def test_two_then_four_of_which_one_is_preempted_then_one(where, alone, from_two):
    _, read = from_two
    run = new_round(where, 'changing', 4)
    shutil.copytree(from_two[0].workdir, run.workdir)
    four = run.start_hosts()
    for _ in range(3):
        four[3].wait_for(lambda mark: mark.name == 'stepping')
    four[3].send(signal.SIGTERM)
    assert [process.wait() for process in four] == [0] * 4, [p.output() for p in four]
    stops = {re.search(r'stopped by SIGTERM at step (\d+), saved', p.output())[1] for p in four}
    assert len(stops) == 1 and all(f'from step {FIRST_STOP}' in p.output() for p in four)
    stopped = int(stops.pop())
    assert FIRST_STOP < stopped < setting.STEPS
    read = read | batches(four, FIRST_STOP + 1)
    run.hosts = 1
    last = train(run)
    assert f'continuing from step {stopped}' in last[0].output()
    read = read | batches(last, stopped + 1)
    assert read == alone[0]
    assert_same_curve(curve(run.workdir), alone[1])


@pytest.mark.parametrize('hosts', [4, 1])
def test_what_two_processes_have_saved_others_go_on_with(where, alone, from_two, hosts):
    run = new_round(where, f'from_two_{hosts}', hosts, f'--config.stop_at={FIRST_STOP + 1}')
    shutil.copytree(from_two[0].workdir, run.workdir)
    before = compare.digest(run.workdir / 'checkpoints' / str(FIRST_STOP))
    started = train(run)
    assert all(f'continuing from step {FIRST_STOP}' in process.output() for process in started)
    found, wanted = curve(run.workdir), alone[1]
    for (step, name), value in found.items():
        if step == FIRST_STOP + 1 and name.startswith('train/'):
            np.testing.assert_allclose(value, wanted[step, name], err_msg=name, **CURVE)
    assert (FIRST_STOP + 1, 'train/loss') in found
    # What was restored is still there, untouched by those who read it.
    assert compare.digest(run.workdir / 'checkpoints' / str(FIRST_STOP)) == before


def test_evaluation_by_several_processes_scores_as_one_alone(where, from_two):
    outputs = []
    for hosts in (1, 2):
        run = new_round(where, f'evaluate_{hosts}', hosts, '--config.job=evaluate')
        shutil.copytree(from_two[0].workdir, run.workdir)
        outputs.append(train(run)[0].output())
    scores = [
        {name: float(value) for name, value in re.findall(r'(\w+) (\d+\.\d+)', text)}
        for text in outputs
    ]
    assert scores[0].keys() == scores[1].keys() and 'disc_auc' in scores[0]
    for name, value in scores[0].items():
        assert scores[1][name] == pytest.approx(value, abs=1e-3), name
