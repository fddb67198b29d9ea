"""Metrics on a full disk: no line is lost in silence, and TensorBoard is not in the way."""

import errno
import json
import os

import pytest
from etils import epath
from tensorboardX.event_file_writer import EventsWriter
from tensorboardX.proto.event_pb2 import Event

from electra_jax.train import writers


def full(*args, **kwargs):
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def events(folder):
    """Of all files in `folder`, oldest first."""
    found = []
    for path in sorted(folder.iterdir(), key=lambda path: path.stat().st_mtime_ns):
        data = path.read_bytes()
        while data:  # length, its checksum, the event, its checksum
            size = int.from_bytes(data[:8], 'little')
            found.append(Event.FromString(data[12 : 12 + size]))
            data = data[16 + size :]
    return found


def lines(folder):
    return [json.loads(line) for line in (folder / 'metrics.jsonl').read_text().splitlines()]


def open_metrics(folder, said, start=0):
    return writers.Metrics(epath.Path(folder), start, tensorboard=True, say=said.append)


def test_events_are_on_disk_at_once_and_a_later_start_hides_what_it_does_again(tmp_path):
    first = open_metrics(tmp_path, [])
    for step in (1, 2, 3):
        first.write(step, {'train/loss': float(step), 'train/rate': 0.5})
    second = open_metrics(tmp_path, [], start=1)  # the first was killed
    second.write(2, {'train/loss': 20.0})
    found = events(tmp_path / 'tensorboard')
    values = [(e.step, e.summary.value[0].simple_value) for e in found if e.summary.value]
    assert values == [(1, 1.0), (2, 2.0), (3, 3.0), (2, 20.0)]
    assert [e.step for e in found if e.session_log.status == 1] == [1, 2]
    assert [v.tag for v in found[2].summary.value] == ['train/loss', 'train/rate']


def test_a_disk_too_full_for_events_costs_only_events(tmp_path, monkeypatch):
    said = []
    metrics = open_metrics(tmp_path, said)
    monkeypatch.setattr(EventsWriter, 'flush', full)
    for step in range(1, 100):  # many times more than any queue holds
        metrics.write(step, {'train/loss': 1.0})
    metrics.close()
    assert len(said) == 1 and 'No space left on device' in said[0]
    assert len((tmp_path / 'metrics.jsonl').read_text().splitlines()) == 99


def test_lines_of_a_run_that_was_started_again(tmp_path):
    first = open_metrics(tmp_path, [])
    for step in (1, 2, 3):
        first.write(step, {'train/loss': float(step), 'eval/unigram_loss': 7.0})
    first.write(4, {'train/loss': float('nan')})
    first.close()
    assert lines(tmp_path)[-1] == {'step': 4, 'train/loss': None}
    again = open_metrics(tmp_path, [], start=2)
    again.write(3, {'train/loss': 30.0, 'eval/unigram_loss': 7.0})
    again.close()
    assert lines(tmp_path) == [
        {'step': 1, 'train/loss': 1.0, 'eval/unigram_loss': 7.0},
        {'step': 2, 'train/loss': 2.0},
        {'step': 3, 'train/loss': 30.0},
    ]


@pytest.fixture
def filling(monkeypatch):
    """A disk that takes a few bytes and then no more, as long as `filling.on`."""

    class Full:
        on = False

    class File:
        def __init__(self, file):
            self._file = file

        def __enter__(self):
            return self

        def __exit__(self, *error):
            self._file.close()

        def __getattr__(self, name):
            return getattr(self._file, name)

        def write(self, raw):
            if not Full.on:
                return self._file.write(raw)
            self._file.write(raw[:5])
            self._file.flush()
            raise OSError(28, 'No space left on device')

    path_class = type(epath.Path('/'))
    original = path_class.open
    monkeypatch.setattr(
        path_class, 'open', lambda self, mode='r', **words: File(original(self, mode, **words))
    )
    return Full


def test_lines_that_a_full_disk_refuses_are_written_when_there_is_room(tmp_path, filling):
    said = []
    writer = open_metrics(tmp_path, said)
    for step in range(1, 7):
        filling.on = step in (2, 3, 5)
        writer.write(step, {'train/loss': float(step)})
    writer.close()
    assert [line['step'] for line in lines(tmp_path)] == [1, 2, 3, 4, 5, 6]
    assert len(said) == 2 and all('No space left' in line for line in said)


def test_lines_that_find_no_room_to_the_end_are_counted(tmp_path, filling):
    said = []
    writer = open_metrics(tmp_path, said)
    writer.write(1, {'train/loss': 1.0})
    filling.on = True
    writer.write(2, {'train/loss': 2.0})
    writer.write(3, {'train/loss': 3.0})
    writer.close()
    assert said[-1].startswith('2 lines of')
    assert [line['step'] for line in lines(tmp_path)] == [1]
