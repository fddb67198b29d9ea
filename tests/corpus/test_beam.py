"""A corpus built by Apache Beam is the one that is built here, byte for byte."""

import dataclasses
import gzip
import json
import subprocess
import sys
import time

import pytest

from electra_jax.config import settings
from electra_jax.core import errors
from electra_jax.corpus import beam, job, workers
from electra_jax.data import manifest
from electra_jax.runtime import terminal
from tests.corpus.test_job import PIECE_BYTES, VOCAB, file_hashes, write_text

LOCAL = '--runner=BundleBasedDirectRunner'


@pytest.fixture
def config(tmp_path):
    """Plain, compressed and JSON text, in a few pieces."""
    write_text(tmp_path / 'a.txt', 120)
    write_text(tmp_path / 'b.txt', 120, seed=1)
    (tmp_path / 'b.txt.gz').write_bytes(gzip.compress((tmp_path / 'b.txt').read_bytes()))
    texts = (tmp_path / 'a.txt').read_text().split('\n\n')[:30]
    lines = [json.dumps({'text': f'{text} 7'}) for text in texts]
    (tmp_path / 'c.jsonl').write_text('\n'.join(lines))
    (tmp_path / 'vocab.txt').write_text('\n'.join(VOCAB) + '\n')
    return settings.DataConfig(
        path=str(tmp_path / 'local'),
        source=f'text:{tmp_path}/a.txt,text:{tmp_path}/b.txt.gz=2.5,jsonl:{tmp_path}/c.jsonl',
        row_length=64,
        holdout=0.1,
        tokenizer=settings.TokenizerConfig(path=str(tmp_path / 'vocab.txt')),
        workers=1,
    )


def on_beam(config: settings.DataConfig, options: str | None = LOCAL, **changes) -> manifest.Corpus:
    pytest.importorskip('apache_beam', reason="needs the extra 'beam'")
    config = dataclasses.replace(config, runner='beam', runner_options=options, **changes)
    return job.build_corpus(config, PIECE_BYTES)


def test_the_shards_are_the_same_bytes(config, tmp_path):
    here = job.build_corpus(config, PIECE_BYTES)
    there = on_beam(config, path=str(tmp_path / 'beam'))
    assert len(here.shards['train']) > 5
    assert file_hashes(tmp_path / 'beam') == file_hashes(tmp_path / 'local')
    assert there.counts == here.counts and there.fingerprint == here.fingerprint


def test_it_goes_on_where_a_build_here_was_stopped(config, tmp_path, monkeypatch):
    whole = job.build_corpus(config, PIECE_BYTES)
    build, done = workers.Context.build, []

    def stop_after_three(self, piece):
        if len(done) == 3:
            raise KeyboardInterrupt
        done.append(piece)
        return build(self, piece)

    changes = {'path': str(tmp_path / 'beam')}
    monkeypatch.setattr(workers.Context, 'build', stop_after_three)
    with pytest.raises(KeyboardInterrupt):
        job.build_corpus(dataclasses.replace(config, **changes), PIECE_BYTES)
    monkeypatch.undo()
    built = on_beam(config, **changes)
    assert built.build['pieces_found_finished'] == 3
    assert built.fingerprint == whole.fingerprint


def test_pieces_are_counted_while_others_are_built(config, tmp_path, monkeypatch):
    monkeypatch.setattr(beam, '_LOOK_SECONDS', 0.01)
    build, advance = workers.Context.build, terminal.Progress.advance
    built, counted, last = [], [], time.monotonic() + 20

    def build_when_others_are_counted(self, piece):
        while sum(counted) + 1e-9 < sum(built) and time.monotonic() < last:
            time.sleep(0.01)
        before.append((sum(built), sum(counted)))
        sidecar = build(self, piece)
        built.append(piece.read_bytes / 1e6)
        return sidecar

    def count(self, amount=1.0):
        if self._what == 'building':
            counted.append(amount)
        advance(self, amount)

    before = []
    monkeypatch.setattr(workers.Context, 'build', build_when_others_are_counted)
    monkeypatch.setattr(terminal.Progress, 'advance', count)
    on_beam(config)
    assert len(before) > 5
    for amount, shown in before:
        assert shown == pytest.approx(amount)
    assert sum(counted) == pytest.approx(sum(built))


def test_what_a_worker_refuses_is_reported(config, tmp_path):
    with (tmp_path / 'c.jsonl').open('a') as file:
        file.write('\n{"no": 1}\n')
    with pytest.raises(errors.DataError, match=r"c\.jsonl, line 31: there is no field 'text'"):
        on_beam(config)


def test_beam_is_imported_without_a_warning_of_what_it_lacks():
    pytest.importorskip('apache_beam', reason="needs the extra 'beam'")
    program = f"from electra_jax.corpus import beam; beam.check('{LOCAL}')"  # where it is the first
    done = subprocess.run([sys.executable, '-c', program], check=True, capture_output=True)
    assert not done.stderr, done.stderr


@pytest.mark.parametrize('options', ['--runner="x', '--runner'])
def test_options_that_cannot_be_read_are_refused(config, options):
    with pytest.raises(errors.ConfigError, match=r'data\.runner_options is'):
        on_beam(config, options)


def test_without_beam_it_says_what_to_install(config, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, 'apache_beam', None)
    config = dataclasses.replace(config, runner='beam')
    with pytest.raises(errors.DataError, match=r"pip install -e '\.\[beam\]'"):
        job.build_corpus(config, PIECE_BYTES)
    assert not (tmp_path / 'local').exists()


def test_a_finished_corpus_is_opened_without_beam(config, monkeypatch):
    built = job.build_corpus(config, PIECE_BYTES)
    monkeypatch.setitem(sys.modules, 'apache_beam', None)
    opened = job.build_corpus(dataclasses.replace(config, runner='beam'), PIECE_BYTES)
    assert opened.fingerprint == built.fingerprint
