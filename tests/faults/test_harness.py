"""The harness itself: a few rounds with the program as it is, and one with a program that errs."""

import json
import subprocess
import sys

import pytest

from tools.faults import harness, setting

pytestmark = pytest.mark.slow


def play(folder, rounds, *only):
    command = [sys.executable, '-m', 'tools.faults.harness', f'--folder={folder}']
    return subprocess.run(
        [*command, '--stand-in', f'--rounds={rounds}', '--only', *only],
        capture_output=True, text=True, cwd=setting.ROOT,
    )  # fmt: skip


@pytest.fixture(scope='module')
def folder(tmp_path_factory):
    """Of a harness that has played a round of each of these faults."""
    folder = tmp_path_factory.mktemp('faults')
    done = play(folder, 4, 'kill -9 while saving', 'flipped bit', 'SIGTERM')
    assert done.returncode == 0, done.stdout + done.stderr
    return folder


def test_every_round_is_written_down(folder):
    rounds = setting.read_lines(folder / 'rounds.jsonl')
    assert [one['round'] for one in rounds] == [0, 1, 2, 3]
    assert len({one['fault'] for one in rounds}) == 4 and all(one['starts'] >= 2 for one in rounds)
    assert '| **all** | 4 |' in (folder / 'results.md').read_text()


def test_a_run_that_ends_differently_is_found(folder):
    reference = folder / 'undisturbed_1.json'
    whole = reference.read_text()
    other = json.loads(whole)
    other['metrics'][-1]['eval/next_loss'] += 1e-7
    reference.write_text(json.dumps(other))
    try:
        done = play(folder, 5, 'kill -9 while saving', 'flipped bit', 'SIGTERM')
    finally:
        reference.write_text(whole)
    assert done.returncode == 1 and 'eval/next_loss' in done.stdout, done.stdout + done.stderr
    assert len(setting.read_lines(folder / 'rounds.jsonl')) == 5  # it went on after the fourth


def test_faults_come_in_turn():
    names = list('abc')
    assert sorted(harness.order(0, 6, names)) == sorted(names * 2)
    assert sorted(harness.order(0, 6, names)[:3]) == names
    assert harness.order(0, 3, names) == harness.order(0, 6, names)[:3]
