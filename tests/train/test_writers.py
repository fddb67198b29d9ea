"""Metrics on a disk that fills up, and what is left of a lost future."""

import json

import pytest
from etils import epath
from tensorboardX.proto import event_pb2

from electra_jax.train import writers


def lines(path):
    return [json.loads(line) for line in path.read_text().splitlines()]


def events(folder):
    """(step, name, value) of each scalar of each file, in order; a session's start has no name."""
    found = []
    for path in sorted(folder.iterdir()):
        raw, place = path.read_bytes(), 0
        while place < len(raw):
            size = int.from_bytes(raw[place : place + 8], 'little')
            event = event_pb2.Event.FromString(raw[place + 12 : place + 12 + size])
            place += size + 16
            if event.HasField('session_log'):
                found.append((event.step, None, None))
            found += [(event.step, v.tag, v.simple_value) for v in event.summary.value]
    return found


def test_lines_and_events_of_a_run_that_was_started_again(tmp_path):
    workdir = epath.Path(tmp_path)
    first = writers.Metrics(workdir, 0, tensorboard=True)
    for step in (1, 2, 3):
        first.write(step, {'train/loss': float(step), 'eval/unigram_loss': 7.0})
    first.write(4, {'train/loss': float('nan')})
    first.close()
    again = writers.Metrics(workdir, 2, tensorboard=False)
    again.write(3, {'train/loss': 30.0, 'eval/unigram_loss': 7.0})
    again.close()
    assert lines(tmp_path / 'metrics.jsonl') == [
        {'step': 1, 'train/loss': 1.0, 'eval/unigram_loss': 7.0},
        {'step': 2, 'train/loss': 2.0},
        {'step': 3, 'train/loss': 30.0},
    ]
    told = events(tmp_path / 'tensorboard')
    assert told[:3] == [(1, None, None), (1, 'train/loss', 1.0), (1, 'eval/unigram_loss', 7.0)]
    assert [step for step, name, _ in told if name == 'train/loss'] == [1, 2, 3, 4]


@pytest.fixture
def full(monkeypatch):
    """A disk that takes a few bytes and then no more, as long as `full.on`."""

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


def test_lines_that_a_full_disk_refuses_are_written_when_there_is_room(tmp_path, full, capfd):
    writer = writers.Metrics(epath.Path(tmp_path), 0, tensorboard=False)
    for step in range(1, 7):
        full.on = step in (2, 3, 5)
        writer.write(step, {'train/loss': float(step)})
    writer.close()
    assert [line['step'] for line in lines(tmp_path / 'metrics.jsonl')] == [1, 2, 3, 4, 5, 6]
    assert capfd.readouterr().err.count('No space left') == 2


def test_lines_that_find_no_room_to_the_end_are_counted(tmp_path, full, capfd):
    writer = writers.Metrics(epath.Path(tmp_path), 0, tensorboard=False)
    writer.write(1, {'train/loss': 1.0})
    full.on = True
    writer.write(2, {'train/loss': 2.0})
    writer.write(3, {'train/loss': 3.0})
    writer.close()
    assert '2 lines of' in capfd.readouterr().err
    assert [line['step'] for line in lines(tmp_path / 'metrics.jsonl')] == [1]


def test_events_end_on_a_full_disk_and_nothing_waits_for_them(tmp_path, monkeypatch, capfd):
    writer = writers.Metrics(epath.Path(tmp_path), 0, tensorboard=True)

    def refuse(self, event):
        raise OSError(28, 'No space left on device')

    monkeypatch.setattr(writers.EventsWriter, 'write_event', refuse)
    for step in range(1, 50):
        writer.write(step, {'train/loss': float(step)})
    writer.close()
    assert capfd.readouterr().err.count('no more TensorBoard events') == 1
    assert len(lines(tmp_path / 'metrics.jsonl')) == 49
