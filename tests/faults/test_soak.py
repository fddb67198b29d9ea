"""What the soak reports of memory, files and time, on samples whose answer is known."""

import json
import os
import subprocess
import sys

import numpy as np
import pytest

from tools.faults import soak

LIMITS = soak.Limits(growth=0.02, goodput=0.9)
SECONDS = np.arange(0, 3600, 10)


def write(folder, memory, files):
    """Samples of an hour, after which the run has written the metrics of that hour."""
    lines = [f'{s},{m:.0f},{f}\n' for s, m, f in zip(SECONDS, memory, files, strict=True)]
    (folder / 'samples.csv').write_text(''.join(lines))
    # 1750 steps at 0.5 a second: 3500 of 3600 seconds.
    metrics = [
        {'step': step, 'train/loss': 1.0, 'speed/steps_per_second': 0.5}
        for step in range(250, 2000, 250)
    ]
    path = folder / 'metrics.jsonl'
    path.write_text(''.join(json.dumps(line) + '\n' for line in metrics))
    return folder / 'samples.csv', path


def look(folder, memory, files):
    samples, metrics = write(folder, memory, files)
    os.utime(metrics, (3600, 3600))
    return soak.analyse(samples, metrics, 300, LIMITS)


def wave(size=1e6):
    """Memory that goes up and down with every save, after it has warmed up."""
    return size * (1 - np.exp(-SECONDS / 30)) + size * 0.05 * (SECONDS % 60 < 20)


def test_a_steady_run_holds_every_limit(tmp_path):
    files = np.where(SECONDS % 60 < 10, 48, 30)
    found = look(tmp_path, wave(), files)
    assert found['memory_flat'] and found['open_files_flat'] and found['goodput_enough']
    assert found['goodput'] == pytest.approx(3500 / 3600)
    assert '| goodput (at least 90%) | 97.2% | yes |' in soak.report(found, LIMITS)


def test_a_leak_of_three_percent_an_hour_is_seen(tmp_path):
    leak = wave() * (1 + 0.035 * SECONDS / 3600)
    found = look(tmp_path, leak, np.full(len(SECONDS), 30))
    assert not found['memory_flat']
    assert found['memory']['fit'] == pytest.approx(0.032, abs=0.003)


def test_one_file_that_is_never_closed_is_seen(tmp_path):
    files = np.where(SECONDS % 60 < 10, 48, 30) + (SECONDS > 2800)
    assert not look(tmp_path, wave(), files)['open_files_flat']


def test_a_tree_of_processes_is_measured_whole():
    code = 'import subprocess, sys; subprocess.run([sys.executable, "-c", "input()"])'
    process = subprocess.Popen([sys.executable, '-c', code], stdin=subprocess.PIPE)
    try:
        while len(soak.process_tree(process.pid)) < 2:
            pass
        memory, files = soak.measure(process.pid)
        assert memory > 2000 and files >= 6
    finally:
        process.communicate(b'\n')
