"""A workdir on a bucket: the same files by the same code, through etils' paths."""

import json

import fsspec
import numpy as np
import pytest
from etils import epath
from etils.epath import backend
from fsspec.implementations.memory import MemoryFileSystem

from electra_jax.core.errors import CheckpointError
from electra_jax.train import checkpoint_files, heartbeat, lines, lock, replay, workdir, writers
from electra_jax.train.goodput import Account
from electra_jax.train.health import Health
from electra_jax.train.phases import Phases
from tests.train import small_run
from tests.train.test_health import BATCH, GOOD


class Bucket(MemoryFileSystem):
    """Files in memory that, as those of a bucket, can be neither appended to nor renamed over."""

    protocol = ('gs', 'gcs')
    store: dict = {}  # noqa: RUF012
    pseudo_dirs = ['']  # noqa: RUF012

    @classmethod
    def _strip_protocol(cls, path):
        return '/' + str(path).removeprefix('gs://').strip('/')

    def _open(self, path, mode='rb', **words):
        assert 'a' not in mode and '+' not in mode, mode
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


def test_lock_heartbeat_and_goodput(bucket, monkeypatch):
    monkeypatch.setattr(lock, '_SETTLE_SECONDS', 0.01)
    spent = Phases()
    with lock.held(bucket) as held:
        account = Account(bucket, spent)
        account.begin(3)
        beating = heartbeat.Heartbeat(bucket, spent, also=[held.refresh, account.write])
        beating.close()
        with pytest.raises(CheckpointError, match='is being written by process'):
            lock.Lock(bucket)
    assert json.loads((bucket / 'heartbeat.json').read_text())['phase'] == 'starting'
    assert len(Account(bucket, spent).starts()) == 2
    assert sorted(path.name for path in bucket.iterdir()) == ['goodput.json', 'heartbeat.json']


def test_metrics_are_rewritten_where_they_cannot_be_appended(bucket, monkeypatch):
    for start in (0, 2):
        writer = writers.Metrics(bucket, start, False, print)
        for step in range(start + 1, start + 4):
            writer.write(step, {'train/loss': float(10 * start + step)})
        writer.close()
    found = [json.loads(line) for line in (bucket / 'metrics.jsonl').read_text().splitlines()]
    assert [line['train/loss'] for line in found] == [1, 2, 23, 24, 25]
    monkeypatch.setattr(lines, '_REWRITE_SECONDS', 0.0)
    writer = writers.Metrics(bucket, 5, False, print)
    writer.write(6, {'train/loss': 6.0})  # there before the run ends
    assert (bucket / 'metrics.jsonl').read_text().endswith('{"step": 6, "train/loss": 6.0}\n')


def test_the_config_and_a_dump(bucket):
    config = small_run.settings()
    workdir.describe(bucket, config, {})
    workdir.check_same_run(bucket, config)
    dump = Health(config.health, bucket, {})._dump(7, GOOD, BATCH)
    assert str(dump).startswith('gs://bucket/runs/one/bad_steps/')
    np.testing.assert_equal(replay.read_dump(dump).batch, BATCH)


def make_checkpoint(folder, finished=True):
    (folder / 'about').mkdir(parents=True)
    (folder / 'about' / 'metadata').write_text(json.dumps(checkpoint_files.marked({})))
    (folder / 'params').mkdir()
    (folder / 'params' / 'array').write_bytes(bytes(100))
    checkpoint_files.seal(folder)
    if finished:
        (folder / 'commit_success.txt').write_text('')


def test_checkpoints_are_looked_through_and_damaged_ones_set_aside(bucket):
    for step in ('4', '8', '12'):
        make_checkpoint(bucket / step, finished=step != '12')
    (bucket / '8' / 'params' / 'array').write_bytes(bytes(99) + b'x')
    said = []
    checkpoint_files.remove_unfinished(bucket, said.append)
    assert checkpoint_files.newest_whole(bucket, said.append, aside=True) == 4
    assert 'save of step 12 was cut off' in said[0] and '8.damaged-1' in said[1]
    assert sorted(path.name for path in bucket.iterdir()) == ['4', '8.damaged-1']
    assert (bucket / '8.damaged-1' / 'params' / 'array').read_bytes()[-1:] == b'x'
    checkpoint_files.delete(bucket / '4')
    assert checkpoint_files.steps(bucket) == []
