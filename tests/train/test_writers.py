"""Metrics on a full disk: no line is missing in silence, and TensorBoard is not in the way."""

import errno
import json
import os

import pytest
from etils import epath
from tensorboardX.event_file_writer import EventsWriter
from tensorboardX.proto.event_pb2 import Event

from electra_jax.core.errors import CheckpointError
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


def test_a_line_that_cannot_be_written_ends_the_run(tmp_path):
    if not os.path.exists('/dev/full'):
        pytest.skip('there is no /dev/full')
    metrics = open_metrics(tmp_path, [])
    metrics.write(1, {'train/loss': 1.0})
    metrics._file.close()
    metrics._file = epath.Path('/dev/full').open('w')
    with pytest.raises(CheckpointError, match=r'No space left on device.*Make room there'):
        metrics.write(2, {'train/loss': 1.0})
    metrics.close()
    kept = (tmp_path / 'metrics.jsonl').read_text().splitlines()
    assert [json.loads(line)['step'] for line in kept] == [1]
