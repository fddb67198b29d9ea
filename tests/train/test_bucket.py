"""A workdir on a bucket: the same files by the same code, through etils' paths."""

import json

import fsspec
import numpy as np
import pytest
from etils import epath
from etils.epath import backend
from fsspec.implementations.memory import MemoryFileSystem
from tensorboardX import record_writer

from electra_jax.config.settings import CheckpointConfig
from electra_jax.core.errors import CheckpointError, NonFiniteError
from electra_jax.train import heartbeat, metrics, replay, seals, workdir
from electra_jax.train.checkpoint import Checkpoints
from electra_jax.train.clock import Clock
from electra_jax.train.health import Health
from tests.support import small_run
from tests.train.test_health import BATCH, GOOD


class HttpError(Exception):
    """What gcsfs raises: no OSError."""


class Bucket(MemoryFileSystem):
    """Files in memory that, as those of a bucket, can be neither appended to nor renamed over."""

    away = False  # whether nothing can be written just now
    protocol = ('gs', 'gcs')
    store: dict = {}  # noqa: RUF012
    pseudo_dirs = ['']  # noqa: RUF012

    @classmethod
    def _strip_protocol(cls, path):
        return '/' + str(path).removeprefix('gs://').strip('/')

    def _open(self, path, mode='rb', **words):
        assert 'a' not in mode and '+' not in mode, mode
        if self.away and 'w' in mode:
            raise HttpError('503 Service Unavailable')
        return super()._open(path, mode, **words)


@pytest.fixture
def bucket(monkeypatch):
    Bucket.store.clear()
    Bucket.pseudo_dirs[:] = ['']
    files = Bucket()
    monkeypatch.setattr(fsspec, 'filesystem', lambda name, **words: files)
    monkeypatch.setattr(backend.fsspec_backend, '_get_filesystem', lambda name: files)
    monkeypatch.setattr(
        type(epath.Path('gs://x')), '_backend', property(lambda self: backend.fsspec_backend)
    )
    return epath.Path('gs://bucket/runs/one')


def test_owner_heartbeat_and_goodput(bucket):
    with heartbeat.watched(bucket, None) as clock:
        clock.start_from(3)
        with pytest.raises(CheckpointError, match='is being written by process'):
            heartbeat.Heartbeat(bucket, Clock())
    assert json.loads((bucket / 'heartbeat.json').read_text())['phase'] == 'starting'
    assert len(Clock(bucket).starts()) == 2
    assert sorted(path.name for path in bucket.iterdir()) == ['goodput.json', 'heartbeat.json']


def test_metrics_are_rewritten_where_they_cannot_be_appended(bucket):
    for start in (0, 2):
        writer = metrics.Metrics(bucket, start, '', print)
        for step in range(start + 1, start + 4):
            writer.write(step, {'train/loss': float(10 * start + step)})
        writer.close()
    found = [json.loads(line) for line in (bucket / 'metrics.jsonl').read_text().splitlines()]
    assert [line['train/loss'] for line in found] == [1, 2, 23, 24, 25]
    writer = metrics.Metrics(bucket, 5, '', print, rewrite_seconds=0.0)
    writer.write(6, {'train/loss': 6.0})  # there before the run ends
    assert (bucket / 'metrics.jsonl').read_text().endswith('{"step": 6, "train/loss": 6.0}\n')


class Records:
    """The part of tensorboardX that writes to a bucket, over ours."""

    def __init__(self, path):
        self._path, self._raw = epath.Path(path), b''

    def write(self, raw):
        self._raw += raw

    def flush(self):
        self._path.write_bytes(self._raw)

    close = flush


class RecordsFactory:
    open = Records

    def directory_check(self, path):
        pass


def test_events_are_written_too(bucket, monkeypatch):
    monkeypatch.setitem(record_writer.REGISTERED_FACTORIES, 'gs', RecordsFactory())
    printed = []
    writer = metrics.Metrics(bucket, 0, 'tensorboard', printed.append)
    writer.write(1, {'train/loss': 1.5})
    writer.close()
    (path,) = (bucket / 'tensorboard').iterdir()
    assert b'train/loss' in path.read_bytes() and not printed


def test_without_the_package_for_events_a_run_goes_on_without_them(bucket, monkeypatch):
    def lacking(path):
        raise ImportError('`google-cloud-storage` must be installed')

    monkeypatch.setattr(record_writer, 'GCSRecordWriter', lacking)
    printed = []
    writer = metrics.Metrics(bucket, 0, 'tensorboard', printed.append)
    writer.write(1, {'train/loss': 1.5})
    writer.close()
    assert len(printed) == 1 and '`google-cloud-storage` must be installed' in printed[0]
    assert (bucket / 'metrics.jsonl').read_text() == '{"step": 1, "train/loss": 1.5}\n'


def test_a_bucket_that_is_away_for_a_while_costs_nothing(bucket, monkeypatch, capfd):
    monkeypatch.setitem(record_writer.REGISTERED_FACTORIES, 'gs', RecordsFactory())
    printed, clock = [], Clock()
    beating = heartbeat.Heartbeat(bucket, clock)
    writer = metrics.Metrics(bucket, 0, 'tensorboard', printed.append, rewrite_seconds=0.0)
    writer.write(1, {'train/loss': 1.0})
    monkeypatch.setattr(Bucket, 'away', True)
    writer.write(2, {'train/loss': 2.0})
    assert not writer.flush()
    beating.beat()
    monkeypatch.setattr(Bucket, 'away', False)
    clock.begin_step(3)
    writer.write(3, {'train/loss': 3.0})
    writer.close()
    beating.close()
    found = [
        json.loads(line)['step']
        for line in (bucket / 'metrics.jsonl').read_text().split('\n')
        if line
    ]
    assert found == [1, 2, 3]
    assert len(printed) == 2 and all('503 Service Unavailable' in line for line in printed)
    assert json.loads((bucket / 'heartbeat.json').read_text())['step'] == 3
    assert capfd.readouterr().err.count('503 Service Unavailable') == 1


def test_the_config_and_a_dump(bucket):
    config = small_run.settings()
    workdir.describe(bucket, config, {})
    workdir.check_same_run(bucket, config)
    with pytest.raises(NonFiniteError, match='gs://bucket/runs/one/bad_steps/'):
        Health(config.health, bucket, {}).look(7, {**GOOD, 'loss': np.nan}, BATCH)
    (dump,) = (bucket / 'bad_steps').iterdir()
    np.testing.assert_equal(replay.read_dump(dump).batch, BATCH)


def make_checkpoint(folder, finished=True):
    (folder / 'about').mkdir(parents=True)
    (folder / 'about' / 'metadata').write_text('{}')
    (folder / 'params').mkdir()
    (folder / 'params' / 'array').write_bytes(bytes(100))
    seals.seal(folder)
    if finished:
        (folder / 'commit_success.txt').write_text('')


def test_checkpoints_are_looked_through_and_damaged_ones_set_aside(bucket):
    for step in ('4', '8', '12'):
        make_checkpoint(bucket / step, finished=step != '12')
    (bucket / '8' / 'params' / 'array').write_bytes(bytes(99) + b'x')
    printed = []
    assert Checkpoints(bucket, CheckpointConfig(), printed.append).latest() == 4
    assert 'save of step 12 was cut off' in printed[0] and '8.damaged-1' in printed[1]
    assert sorted(path.name for path in bucket.iterdir()) == ['4', '8.damaged-1']
    assert (bucket / '8.damaged-1' / 'params' / 'array').read_bytes()[-1:] == b'x'
    seals.delete(bucket / '4')
    assert seals.steps(bucket) == []
