"""A corpus built on a Dask cluster: a scheduler and three workers, each a process of its own."""

import contextlib
import dataclasses
import os
import pathlib
import re
import signal
import socket
import subprocess
import sys
import threading
import time

import pytest

from electra_jax.config import settings
from electra_jax.core import errors
from electra_jax.corpus import dask_cluster, job
from electra_jax.data import manifest
from tests.corpus.test_job import VOCAB, file_hashes, write_text

REASON = "needs the extra 'dask'"
distributed = pytest.importorskip('distributed', reason=REASON)
dask_runner = pytest.importorskip('apache_beam.runners.dask.dask_runner', reason=REASON)
pytestmark = pytest.mark.filterwarnings('default')  # those of Beam and Dask are not ours

PIECE_BYTES = 150_000


@dataclasses.dataclass
class Cluster:
    """Processes of a scheduler and its workers."""

    folder: pathlib.Path
    processes: dict[str, subprocess.Popen] = dataclasses.field(default_factory=dict)

    @property
    def options(self) -> str:
        return f'--runner=DaskRunner --dask_scheduler_file={self.folder}/scheduler.json'

    def start(self, name: str, *words: str, **environment: str) -> None:
        with (self.folder / f'{name}.log').open('w') as log:
            self.processes[name] = subprocess.Popen(
                [sys.executable, '-m', 'dask', *words, '--no-dashboard'],
                cwd=self.folder, env={**os.environ, **environment}, stdout=log, stderr=log,
            )  # fmt: skip

    def start_scheduler(self) -> None:
        file = self.folder / 'scheduler.json'
        words = ('--host', '127.0.0.1', '--port', '0', '--scheduler-file', str(file))
        self.start('scheduler', 'scheduler', *words)
        wait_for(file.exists)

    def start_worker(self, name: str, *words: str, threads: int = 1, **environment: str) -> None:
        file = str(self.folder / 'scheduler.json')
        self.start(
            name, 'worker', '--scheduler-file', file, '--name', name, '--no-nanny',
            '--nthreads', str(threads), '--local-directory', str(self.folder / name), **environment,
        )  # fmt: skip
        wait_for(lambda: 'Registered to' in (self.folder / f'{name}.log').read_text())

    def stop(self) -> None:
        for process in reversed(self.processes.values()):
            process.kill()
            process.wait()


def wait_for(done) -> None:
    last = time.monotonic() + 180
    while not done():
        assert time.monotonic() < last, 'the cluster did not start'
        time.sleep(0.1)


@contextlib.contextmanager
def running(folder: pathlib.Path):
    cluster = Cluster(folder)
    try:
        cluster.start_scheduler()
        yield cluster
    finally:
        cluster.stop()


@pytest.fixture(scope='module')
def cluster(tmp_path_factory):
    with running(tmp_path_factory.mktemp('cluster')) as cluster:
        for name in ('one', 'two', 'three'):
            cluster.start_worker(name)
        yield cluster


@pytest.fixture(scope='module')
def config(tmp_path_factory):
    """Text for about 30 pieces, of which the vocabulary is learned, too."""
    folder = tmp_path_factory.mktemp('shared')
    for seed in range(4):
        write_text(folder / f'{seed}.txt', 1500, seed)
    return settings.DataConfig(
        path=str(folder / 'local'),
        source=f'text:{folder}/*.txt',
        row_length=64,
        holdout=0.1,
        tokenizer=settings.TokenizerConfig(vocab_size=400),
        workers=1,
    )


@pytest.fixture(scope='module')
def here(config):
    """The corpus that a build without Beam makes."""
    return job.build_corpus(config, PIECE_BYTES)


def on_dask(config: settings.DataConfig, options: str, name: str) -> manifest.Corpus:
    path = str(pathlib.Path(config.path).with_name(name))
    changes = {'path': path, 'runner': 'beam', 'runner_options': options}
    return job.build_corpus(dataclasses.replace(config, **changes), PIECE_BYTES)


def assert_the_same(there: manifest.Corpus, here: manifest.Corpus) -> None:
    assert file_hashes(there.path) == file_hashes(here.path)
    differing = {
        name for name, value in there.to_json().items() if value != here.to_json().get(name)
    }
    assert differing <= {'build'}, 'only times and the runner may differ'


@pytest.mark.slow
def test_the_shards_are_the_same_bytes(cluster, config, here):
    there = on_dask(config, cluster.options, 'dask')
    assert len(here.shards['train']) > 20
    assert_the_same(there, here)

    def has_built() -> bool:  # inside, so that its code is sent: workers do not see the tests
        from electra_jax.corpus import workers

        return workers._tokenizer.cache_info().misses > 0

    with distributed.Client(scheduler_file=f'{cluster.folder}/scheduler.json') as client:
        assert list(client.run(has_built).values()) == [True] * 3


@pytest.mark.slow
def test_a_worker_that_is_killed_changes_nothing(cluster, config, here):
    folder = pathlib.Path(config.path).with_name('killed')
    victim = cluster.processes['two']
    mark = f'*.{socket.gethostname()}.{victim.pid}.tmp'
    left = []

    def kill_while_it_writes() -> None:
        while not left and victim.poll() is None:
            if not list(folder.glob(mark)):
                time.sleep(0.001)
                continue
            victim.send_signal(signal.SIGSTOP)
            if list(folder.glob(mark)):  # still: it stands in the middle of a piece
                left.extend(folder.glob(mark))
                victim.kill()
            else:
                victim.send_signal(signal.SIGCONT)

    thread = threading.Thread(target=kill_while_it_writes)
    thread.start()
    try:
        there = on_dask(config, cluster.options, 'killed')
    finally:
        victim.kill()
        thread.join()
        cluster.start_worker('two')
    assert left, 'the worker was not writing when it was killed'
    assert_the_same(there, here)


@pytest.mark.slow
def test_what_a_worker_refuses_ends_the_build_and_is_reported(cluster, config, tmp_path):
    (tmp_path / 'c.jsonl').write_text('{"no": 1}\n')
    source = f'{config.source},jsonl:{tmp_path}/c.jsonl'
    tokenizer = settings.TokenizerConfig(path=str(tmp_path / 'vocab.txt'))
    (tmp_path / 'vocab.txt').write_text('\n'.join(VOCAB) + '\n')
    changed = dataclasses.replace(config, source=source, tokenizer=tokenizer)
    with pytest.raises(errors.DataError, match=r"c\.jsonl, line 1: there is no field 'text'"):
        on_dask(changed, cluster.options, 'refused')


@pytest.mark.slow
def test_a_folder_that_a_worker_does_not_see_is_refused(cluster, config, monkeypatch):
    monkeypatch.setattr(dask_cluster.files, 'process_mark', lambda: 'here')
    monkeypatch.setattr(pathlib.Path, 'touch', lambda path: None)  # as on a disk of this machine
    with pytest.raises(errors.DataError, match=r'worker \w+ \(tcp:.* cannot see .*data\.path must'):
        on_dask(config, cluster.options, 'unseen')


@pytest.mark.slow
def test_workers_that_cannot_build_are_refused(config, tmp_path):
    with running(tmp_path) as cluster:
        with pytest.raises(
            errors.DataError, match=r'has no workers; on each machine type: dask wo'
        ):
            on_dask(config, cluster.options, 'none')
        cluster.start_worker('wide', threads=2)
        with pytest.raises(errors.DataError, match=r'wide \(tcp:.* has 2 threads'):
            on_dask(config, cluster.options, 'wide')
        cluster.processes['wide'].kill()
        cluster.processes['wide'].wait()
        # Wherever the package is installed, which an empty PYTHONPATH does not change.
        (tmp_path / 'sitecustomize.py').write_text(
            "import sys\n\nsys.modules['electra_jax'] = None\n"
        )
        cluster.start_worker('bare', PYTHONPATH=str(tmp_path))
        with pytest.raises(errors.DataError, match=r'bare \(tcp:.* cannot import electra_jax'):
            on_dask(config, cluster.options, 'bare')
    assert not pathlib.Path(config.path).with_name('none').exists()


@pytest.mark.slow
@pytest.mark.parametrize('goes', ['is gone: start it', 'was restarted: type'])
def test_a_scheduler_that_goes_away_is_reported(config, tmp_path, caplog, goes):
    folder = pathlib.Path(config.path).with_name(goes[:7])

    def end_when_a_piece_is_built(cluster: Cluster) -> None:
        wait_for(lambda: list(folder.glob('pieces/*.json')))
        if 'gone' in goes:
            cluster.processes['scheduler'].kill()
        else:
            with distributed.Client(scheduler_file=f'{tmp_path}/scheduler.json') as client:
                client.restart(wait_for_workers=False)

    with running(tmp_path) as cluster:
        cluster.start_worker('one')
        thread = threading.Thread(target=end_when_a_piece_is_built, args=(cluster,))
        thread.start()
        with pytest.raises(errors.DataError, match=rf'the Dask scheduler at tcp:\S+ {goes}'):
            on_dask(config, cluster.options, folder.name)
        thread.join()
    assert not [record for record in caplog.records if record.exc_info]
    assert list(folder.glob('pieces/*.json'))


@pytest.mark.slow
def test_workers_that_are_all_gone_are_reported_once(config, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(dask_cluster, '_WATCH_SECONDS', 0.1)
    folder, reported = pathlib.Path(config.path).with_name('waits'), 'has no workers any more'
    err = []

    def is_reported() -> bool:
        err.append(capsys.readouterr().err)
        return reported in ''.join(err)

    def replace_the_worker(cluster: Cluster) -> None:
        wait_for(lambda: list(folder.glob('pieces/*.json')))
        cluster.processes['one'].kill()
        wait_for(is_reported)
        cluster.start_worker('two')

    with running(tmp_path) as cluster:
        cluster.start_worker('one')
        thread = threading.Thread(target=replace_the_worker, args=(cluster,))
        thread.start()
        there = on_dask(config, cluster.options, folder.name)
        thread.join()
    assert ''.join([*err, capsys.readouterr().err]).count(reported) == 1
    assert there.shards['train']


def test_a_scheduler_that_is_not_there_is_reported(config):
    with socket.socket() as unused:
        unused.bind(('127.0.0.1', 0))
        address = f'tcp://127.0.0.1:{unused.getsockname()[1]}'
        options = f'--runner=DaskRunner --dask_client_address={address} --dask_connection_timeout=1'
        with pytest.raises(errors.DataError, match=rf'no Dask scheduler answers at {address}'):
            on_dask(config, options, 'unreachable')
    assert not pathlib.Path(config.path).with_name('unreachable').exists()


@pytest.mark.parametrize(
    ('options', 'error', 'words'),
    [
        ('--runner=DaskRunner', errors.ConfigError, 'names no Dask scheduler'),
        (
            '--runner=dask --dask_client_adress=tcp://a:1',
            errors.ConfigError,
            '--dask_client_adress',
        ),
        ('--runner=dask --dask_scheduler_file=/no', errors.DataError, '=/no .* is not there'),
        ('--runner=DaskRuner', errors.ConfigError, 'DaskRuner in .*mean DaskRunner'),
    ],
)
def test_options_that_name_no_cluster_are_refused(config, options, error, words, caplog):
    with pytest.raises(error, match=words):
        on_dask(config, options, 'unnamed')
    assert not caplog.records, 'Beam warned of what the error says'


def test_the_page_and_the_error_name_the_same_options(config):
    page = pathlib.Path(__file__).parents[2] / 'docs/how-to/clusters.md'
    rows = re.findall(r'^\| `(--dask_\w+)', page.read_text(), re.MULTILINE)
    with pytest.raises(errors.ConfigError) as refused:
        on_dask(config, '--runner=dask --dask_address=tcp://a:1', 'unnamed')
    assert sorted(rows) == sorted(str(refused.value).partition('of Dask are ')[2].split(', '))


def test_a_host_that_is_unknown_is_reported_at_once(config):
    options = '--runner=DaskRunner --dask_client_address=tcp://no.such.host.invalid:8786'
    began = time.monotonic()
    with pytest.raises(errors.DataError, match=r'at tcp://no\.such\.host.*\[Errno'):
        on_dask(config, options, 'unreachable')
    assert time.monotonic() - began < 20, "Dask's own timeout is 30 seconds"


def test_each_piece_is_a_task_unless_it_is_typed_otherwise():
    from apache_beam.options.pipeline_options import PipelineOptions

    for typed, size in ((), 1), (('--dask_npartitions=7',), None):
        options = PipelineOptions(['--dask_client_address=tcp://a:1', *typed])
        dask_cluster.complete(options)
        assert options.view_as(dask_runner.DaskOptions).partition_size == size
