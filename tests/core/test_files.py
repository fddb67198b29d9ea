"""Files are replaced whole or not at all, also where several processes write."""

import os
import socket

import numpy as np
import pytest
from etils import epath

from electra_jax.core import files
from electra_jax.core.errors import ConfigError
from electra_jax.data import manifest, records
from tests.support.corpora import write_shard


def write_zeros(path):
    write_shard(path, np.zeros(1, records.row_dtype(8, 2)))


@pytest.mark.parametrize('write', [lambda path: manifest.write_json(path, {}), write_zeros])
def test_two_hosts_never_write_the_same_temporary_file(tmp_path, monkeypatch, write):
    seen, replace = [], type(tmp_path).replace

    def placed(self, target):
        seen.append(self.name)
        return replace(self, target)

    monkeypatch.setattr(type(tmp_path), 'replace', placed)
    monkeypatch.setattr(os, 'getpid', lambda: 7)
    for host in ('a', 'b'):
        monkeypatch.setattr(socket, 'gethostname', lambda host=host: host)
        write(tmp_path / 'x.array_record')
    assert seen == ['x.array_record.a.7.tmp', 'x.array_record.b.7.tmp']


def test_a_failed_write_keeps_the_old_content(tmp_path):
    path = tmp_path / 'x'
    files.write_whole(path, 'old')
    with pytest.raises(OSError, match='full'), files.placed(path) as fresh:
        fresh.write_text('half')
        raise OSError('full')
    assert path.read_text() == 'old'


def test_a_path_of_a_bucket_stays_one(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    bucket = 'gs://bucket/runs/mine'
    monkeypatch.setattr(type(epath.Path(bucket)), 'exists', lambda path: False)
    assert str(files.absolute(bucket)) == bucket
    assert str(files.absolute('runs/mine')) == f'{tmp_path}/runs/mine'


def test_a_bucket_without_its_package_is_refused(monkeypatch):
    def exists(path):
        raise ImportError('Please install gcsfs')

    monkeypatch.setattr(type(epath.Path('gs://bucket/runs')), 'exists', exists)
    with pytest.raises(ConfigError, match=r"gs://bucket/runs .* pip install -e '.\[gcs\]'"):
        files.absolute('gs://bucket/runs')


@pytest.mark.parametrize(('text', 'place'), [
    ('{"a": no}\n', 'Expecting value at character 7'),  # whose line a caller names
    ('{"a": 1,\n "b": no}', 'Expecting value at line 2, character 7'),
    (b'{"a": "\xff"}', 'it is not UTF-8'),
])  # fmt: skip
def test_what_is_no_json_has_the_character_and_of_several_lines_the_line(text, place):
    with pytest.raises(ValueError) as raised:
        files.parse_object(text)
    assert str(raised.value) == f'not a JSON object ({place})'
