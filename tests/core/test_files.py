"""Files are replaced whole or not at all, also where several processes write."""

import os
import socket

import numpy as np
import pytest

from electra_jax.core import files
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
