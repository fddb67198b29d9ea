"""How the runs of a sweep start, stop, are skipped and reported."""

import fcntl
import functools
import json
import os
import pathlib
import signal
import threading
import time
import types

import pytest

from electra_jax.runtime import interrupt, terminal
from electra_jax.sweep import processes
from tests.support.sweep_runs import StandIn, stand_ins

run_all = functools.partial(processes.run_all, poll_seconds=0.02)


def test_a_failed_run_is_shown_and_does_not_stop_the_others(tmp_path, capsys):
    outcomes = run_all(stand_ins(tmp_path, ['train', 'fail', 'train2']), [{}])
    assert outcomes == {'run0': 'done', 'run1': 'failed', 'run2': 'done'}
    output = capsys.readouterr().out
    assert 'failed run1 (exit status 1)' in output and '    error: config.seed is -1' in output


def test_a_run_whose_folder_is_deleted_has_failed_and_does_not_stop_the_others(tmp_path, capsys):
    runs = stand_ins(tmp_path, ['delete', 'train'])
    assert run_all(runs, [{}]) == {'run0': 'failed', 'run1': 'done'}
    assert f'{runs[0].folder} was deleted while it ran' in capsys.readouterr().out


def test_typed_again_it_skips_what_is_finished_only(tmp_path, capsys):
    runs = stand_ins(tmp_path, ['train', 'fail'])
    run_all(runs, [{}])
    runs[1] = StandIn(*runs[1][:2], {'seed': 'fixed'}, *runs[1][3:])
    capsys.readouterr()
    assert set(run_all(runs, [{}]).values()) == {'done'}
    output = capsys.readouterr().out
    assert '1 of them finished before' in output and 'started run0' not in output
    pathlib.Path(runs[0].recipe).write_text('# another recipe\n')
    run_all(runs, [{}])
    assert 'started run0' in capsys.readouterr().out


def test_what_a_run_prints_before_it_trains_is_shown(tmp_path, capsys):
    run_all(stand_ins(tmp_path, ['build']), [{}])
    output = capsys.readouterr().out
    assert output.count('run0: begun None') == 1 and 'run0: done' not in output


def test_runs_share_the_slots_and_each_has_its_gpu(tmp_path):
    runs = stand_ins(tmp_path, ['hang', 'hang'])
    threading.Thread(target=release, args=(runs,)).start()
    slots = [{'CUDA_VISIBLE_DEVICES': '0'}, {'CUDA_VISIBLE_DEVICES': '5'}]
    outcomes = run_all(runs, slots)
    # Had they not run side by side, nothing would ever have stopped the first one.
    assert outcomes == {'run0': 'stopped', 'run1': 'stopped'}
    logs = [(run.folder / 'log.txt').read_text() for run in runs]
    assert 'begun 0' in logs[0] and 'begun 5' in logs[1]


def release(runs):
    """Asks the sweep, which is this process, to stop once all runs are under way."""
    while not all((run.folder / 'metrics.jsonl').exists() for run in runs):
        time.sleep(0.02)
    time.sleep(0.2)
    os.kill(os.getpid(), signal.SIGTERM)


def test_asked_to_stop_it_lets_runs_save_and_leaves_the_rest_for_the_next_time(tmp_path):
    runs = stand_ins(tmp_path, ['hang', 'train'])
    threading.Thread(target=release, args=(runs[:1],)).start()
    assert run_all(runs, [{}]) == {'run0': 'stopped', 'run1': 'waiting'}
    (runs[0].folder / 'go').write_text('')
    assert set(run_all(runs, [{}]).values()) == {'done'}


def test_the_share_of_a_stopped_run_counts_as_what_is_done(tmp_path, capsys, monkeypatch):
    lines = functools.partial(terminal.Progress, line_seconds=0.0)
    monkeypatch.setattr(terminal, 'Progress', lines)
    monkeypatch.setattr(terminal, 'LINE_SECONDS', 0.05)
    runs = stand_ins(tmp_path, ['hang', 'train', 'fail'])
    threading.Thread(target=release, args=(runs[:1],)).start()
    run_all(runs, [{}])
    output = capsys.readouterr().out
    assert 'sweep: 0.5/3 runs' in output and 'sweep: 1' not in output
    assert 'sweep: 0s so far; run0: step 4 of 8\n' in output
    (runs[0].folder / 'go').write_text('')
    run_all(runs, [{}])
    output = capsys.readouterr().out
    assert 'sweep: 0' not in output.replace('sweep: 0s', '') and 'sweep: 1.0/3 runs' in output
    assert 'sweep: 2.0/3 runs' in output


def test_what_a_run_does_is_by_its_own_files(tmp_path):
    (run,) = stand_ins(tmp_path, ['hang'])
    one = processes.Started(run, types.SimpleNamespace(pid=7), 0)
    assert one.at == 'run0: starting'
    run.folder.mkdir()
    (run.folder / 'config.json').write_text('{"config": {"total_steps": 2000}}')
    (run.folder / 'metrics.jsonl').write_text('{"step": 1000, "train/loss": 1.0}\n')
    for pid, step, phase, expected in (
        (6, 1500, 'training', 'step 1,000 of 2,000, starting'),  # of an earlier start
        (7, None, 'compiling', 'step 1,000 of 2,000, compiling'),
        (7, 1040, 'training', 'step 1,040 of 2,000'),
    ):
        beat = json.dumps({'pid': pid, 'step': step, 'phase': phase})
        (run.folder / 'heartbeat.json').write_text(beat)
        assert one.at == f'run0: {expected}'


@pytest.mark.parametrize(('number', 'status'), [(signal.SIGTERM, 0), (signal.SIGINT, 130)])
def test_only_ctrl_c_ends_it_with_the_status_of_an_interrupted_program(monkeypatch, number, status):
    monkeypatch.setattr(interrupt, '_status', 0)
    with processes.stop_signals() as asked:
        os.kill(os.getpid(), number)
    assert asked == [number] and interrupt.status() == status


def test_a_run_left_over_from_a_killed_sweep_is_waited_for(tmp_path, capsys):
    runs = stand_ins(tmp_path, ['train'])
    runs[0].folder.mkdir()
    lock = (runs[0].folder / 'sweep.lock').open('w')
    fcntl.flock(lock, fcntl.LOCK_EX)
    threading.Timer(0.3, lock.close).start()
    began = time.monotonic()
    assert run_all(runs, [{}]) == {'run0': 'done'}
    assert time.monotonic() - began > 0.3
    assert 'waiting: other processes are at' in capsys.readouterr().out
