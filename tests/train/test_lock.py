"""One workdir, one writer: living owners are respected, dead ones are not."""

import json
import os
import subprocess
import sys
import threading

import pytest
from etils import epath

from electra_jax.core import errors
from electra_jax.core.errors import CheckpointError
from electra_jax.train import lock
from electra_jax.train.lock import Waits

SHORT = Waits(stale=0.5, poll=0.05, settle=0.01)


@pytest.fixture
def workdir(tmp_path):
    return epath.Path(tmp_path) / 'run'


def owned_by(workdir, **changes):
    """Writes the lock of another owner."""
    workdir.mkdir(parents=True, exist_ok=True)
    owner = {'token': 'theirs', 'beat': 0, **lock._identity(), **changes}
    (workdir / lock.FILE).write_text(json.dumps(owner))


def test_a_living_process_of_this_machine_keeps_its_workdir(workdir):
    with lock.held(workdir, SHORT):
        text = (workdir / lock.FILE).read_text()
        with pytest.raises(CheckpointError, match=f'process {os.getpid()} on'):
            lock.Lock(workdir, SHORT)
        assert (workdir / lock.FILE).read_text() == text
    assert not (workdir / lock.FILE).exists()
    with lock.held(workdir, SHORT):
        pass


def test_an_error_releases_the_lock_too(workdir):
    with pytest.raises(KeyError), lock.held(workdir, SHORT):
        raise KeyError
    assert not list(workdir.iterdir())


def test_a_dead_process_of_this_machine_counts_as_dead_at_once(workdir):
    waits = SHORT._replace(stale=1e6)
    child = subprocess.Popen([sys.executable, '-c', 'pass'])
    child.wait()
    owned_by(workdir, pid=child.pid)
    with lock.held(workdir, waits):
        pass
    # The same number, but a process that began at another time: numbers come back.
    owned_by(workdir, began='1')
    with lock.held(workdir, waits):
        pass
    # The same machine before it was rebooted.
    owned_by(workdir, machine='another-boot pid:[1]')
    with lock.held(workdir, waits):
        pass


ELSEWHERE = {'host': 'elsewhere', 'machine': 'other pid:[1]'}


def test_another_machine_is_dead_when_its_file_stands_still(workdir):
    owned_by(workdir, **ELSEWHERE)
    with lock.held(workdir, SHORT):
        assert json.loads((workdir / lock.FILE).read_text())['token'] != 'theirs'


def test_another_machine_that_still_writes_keeps_its_workdir(workdir):
    owned_by(workdir, **ELSEWHERE)
    stop = threading.Event()

    def beat():
        number = 0
        while not stop.wait(0.1):
            number += 1
            owned_by(workdir, beat=number, **ELSEWHERE)

    thread = threading.Thread(target=beat)
    thread.start()
    try:
        with pytest.raises(CheckpointError, match=r'process .* on elsewhere'):
            lock.Lock(workdir, SHORT)
    finally:
        stop.set()
        thread.join()


def test_of_two_processes_that_write_at_once_the_later_one_is_the_owner(workdir):
    def another_comes(seconds):
        owned_by(workdir, pid=4711)

    with pytest.raises(CheckpointError, match='process 4711'):
        lock.Lock(workdir, SHORT._replace(sleep=another_comes))


def test_an_owner_whose_workdir_was_taken_ends_and_leaves_the_file_alone(workdir, monkeypatch):
    mine = lock.Lock(workdir, SHORT)
    before = json.loads((workdir / lock.FILE).read_text())['beat']
    mine.refresh()
    assert json.loads((workdir / lock.FILE).read_text())['beat'] == before + 1
    owned_by(workdir, pid=4711)
    text = (workdir / lock.FILE).read_text()

    def end(message):
        raise SystemExit(message)

    monkeypatch.setattr(errors, 'end_now', end)
    with pytest.raises(SystemExit, match='process 4711'):
        mine.refresh()
    mine.release()
    assert (workdir / lock.FILE).read_text() == text


@pytest.mark.parametrize('text', ['', '{"torn', '[]'])
def test_a_torn_lock_belongs_to_nobody(workdir, text):
    workdir.mkdir()
    (workdir / lock.FILE).write_text(text)
    with lock.held(workdir, SHORT):
        pass
