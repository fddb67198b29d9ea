"""Metrics on a full disk: no line is lost without a report, and TensorBoard stops nothing."""

import contextlib
import errno
import json
import os
import resource

import pytest
from etils import epath
from tensorboardX.event_file_writer import EventsWriter
from tensorboardX.proto.event_pb2 import Event

from electra_jax.train import metric_lines, metrics


def full(*args, **kwargs):
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def events(folder):
    """The events of all files in `folder`, oldest first."""
    found = []
    for path in sorted(folder.iterdir(), key=lambda path: path.stat().st_mtime_ns):
        data = path.read_bytes()
        while data:  # length, its checksum, the event, its checksum
            size = int.from_bytes(data[:8], 'little')
            found.append(Event.FromString(data[12 : 12 + size]))
            data = data[16 + size :]
    return found


def lines_of(folder):
    return [json.loads(line) for line in (folder / 'metrics.jsonl').read_text().splitlines()]


def open_metrics(folder, reported, start=0):
    return metrics.Metrics(
        epath.Path(folder), start, trackers='tensorboard', report=reported.append
    )


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
    first.close()
    second.close()


def open_events(folder):
    """Files of TensorBoard that this process has open."""
    held = [os.path.realpath(f'/proc/self/fd/{number}') for number in os.listdir('/proc/self/fd')]
    return [path for path in held if path.startswith(str(folder / 'tensorboard'))]


def test_a_disk_too_full_for_events_costs_only_events(tmp_path, monkeypatch):
    reported = []
    writer = open_metrics(tmp_path, reported)
    assert len(open_events(tmp_path)) == 1
    monkeypatch.setattr(EventsWriter, 'flush', full)
    for step in range(1, 100):  # many times more than any queue holds
        writer.write(step, {'train/loss': 1.0})
        assert open_events(tmp_path) == []
    writer.close()
    assert len(reported) == 1 and 'No space left on device' in reported[0]
    assert len((tmp_path / 'metrics.jsonl').read_text().splitlines()) == 99
    open_metrics(tmp_path, reported, start=99).close()  # which is full at once
    assert len(reported) == 2 and open_events(tmp_path) == []


def test_lines_of_a_run_that_was_started_again(tmp_path):
    first = open_metrics(tmp_path, [])
    for step in (1, 2, 3):
        first.write(step, {'train/loss': float(step)})
    first.write(4, {'train/loss': float('nan')})
    first.close()
    assert lines_of(tmp_path)[-1] == {'step': 4, 'train/loss': None}
    again = open_metrics(tmp_path, [], start=2)
    again.write(3, {'train/loss': 30.0})
    again.close()
    assert lines_of(tmp_path) == [
        {'step': 1, 'train/loss': 1.0},
        {'step': 2, 'train/loss': 2.0},
        {'step': 3, 'train/loss': 30.0},
    ]


@contextlib.contextmanager
def little_room(path, left=5):
    """A disk on which `path` can grow by some bytes, and every further write fails."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    size = os.path.getsize(path) if path.exists() else 0
    resource.setrlimit(resource.RLIMIT_FSIZE, (size + left, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


@pytest.mark.parametrize('width', [10, 10_000])  # less and more than a file's buffer
def test_lines_that_a_full_disk_refuses_are_written_when_there_is_room(tmp_path, width):
    reported = []
    path, name = tmp_path / 'metrics.jsonl', 'x' * width
    writer = metrics.Metrics(epath.Path(tmp_path), 0, '', reported.append)
    for number in range(1, 7):
        with little_room(path) if number in (2, 3, 5) else contextlib.nullcontext():
            writer.write(number, {name: 1.0})
        if number in (2, 3, 5):
            assert lines_of(tmp_path)[-1]['step'] == (1 if number < 5 else 4)
    writer.close()
    assert lines_of(tmp_path) == [{'step': number, name: 1.0} for number in range(1, 7)]
    assert len(reported) == 2 and all('its lines wait' in line for line in reported)


def test_lines_that_find_no_room_to_the_end_are_counted(tmp_path):
    reported = []
    writer = metrics.Metrics(epath.Path(tmp_path), 0, '', reported.append)
    writer.write(1, {'train/loss': 1.0})
    with little_room(tmp_path / 'metrics.jsonl'):
        writer.write(2, {'train/loss': 1.0})
        writer.write(3, {'train/loss': 1.0})
        writer.close()
    assert reported[-1].startswith('2 lines of')
    assert lines_of(tmp_path) == [{'step': 1, 'train/loss': 1.0}]


def test_what_a_crash_leaves_in_the_file_is_dropped(tmp_path):
    whole = b'{"step": 1, "train/loss": 1.0}\n'
    left = b'\xff\xfe\x00\n5\n[]\n{"train/loss": 2.0}\n{"step": "2"}\n{"step": 2, "tr'
    (tmp_path / 'metrics.jsonl').write_bytes(whole + left)
    assert metric_lines.read(tmp_path) == [{'step': 1, 'train/loss': 1.0}]
    metrics.Metrics(epath.Path(tmp_path), 1, '', print).close()
    assert (tmp_path / 'metrics.jsonl').read_bytes() == whole
