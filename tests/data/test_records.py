"""Shards: what is written is read back, and damage is refused by name."""

import os
import resource

import numpy as np
import pytest

from electra_jax.core import errors
from electra_jax.data import records
from tests.support.corpora import write_shard
from tests.support.threads import in_threads


def make_rows(count: int, dtype: np.dtype, top: int, seed: int = 0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    rows = np.zeros(count, dtype)
    rows['tokens'] = rng.integers(0, top, rows['tokens'].shape)
    rows['spans'] = rng.integers(0, 256, rows['spans'].shape)
    return rows


@pytest.fixture
def folder(tmp_path):
    """Three shards of 7, 1 and 12 rows of length 16, with their rows."""
    dtype = records.row_dtype(16, 2)
    rows = [make_rows(n, dtype, 1 << 16, seed=n) for n in (7, 1, 12)]
    shards = [write_shard(tmp_path / f'{i}.array_record', r) for i, r in enumerate(rows)]
    return tmp_path, dtype, shards, np.concatenate(rows)


@pytest.mark.parametrize(('vocab_size', 'token_bytes'), [(1 << 16, 2), ((1 << 16) + 1, 4)])
def test_rows_round_trip_at_the_narrowest_width(tmp_path, vocab_size, token_bytes):
    assert records.token_bytes(vocab_size) == token_bytes
    dtype = records.row_dtype(32, token_bytes)
    assert dtype.itemsize == 32 * (token_bytes + 1)
    rows = make_rows(50, dtype, vocab_size)
    rows['tokens'][0, 0] = vocab_size - 1
    shard = write_shard(tmp_path / 'a.array_record', rows)
    found = records.ShardReader(tmp_path, [shard]).read(range(50))
    np.testing.assert_array_equal(records.decode_rows(found, dtype), rows)


def test_a_record_is_little_endian_tokens_then_spans():
    rows = np.array([([0x0102, 3], [4, 5])], records.row_dtype(2, 2))
    assert rows.tobytes() == b'\x02\x01\x03\x00\x04\x05'


def test_rows_are_numbered_through_the_shards(folder):
    path, dtype, shards, rows = folder
    reader = records.ShardReader(path, shards)
    assert len(reader) == 20
    order = [19, 0, 7, 6, 8, 7, 3, 12]
    tokens = records.decode_rows(reader.read(order), dtype)['tokens']
    np.testing.assert_array_equal(tokens, rows['tokens'][order])
    assert reader.read([]) == []


@pytest.mark.parametrize('index', [-1, 20])
def test_rows_out_of_range_are_refused(folder, index):
    path, _, shards, _ = folder
    with pytest.raises(IndexError, match='20 rows'):
        records.ShardReader(path, shards).read([0, index])


def check_in_threads(reader, dtype, rows, times):
    rng = np.random.default_rng(1)
    orders = [rng.integers(0, len(rows), 64) for _ in range(times)]
    for order, batch in zip(orders, in_threads(reader.read, orders), strict=True):
        tokens = records.decode_rows(batch, dtype)['tokens']
        np.testing.assert_array_equal(tokens, rows['tokens'][order])


def test_threads_share_a_reader(folder):
    path, dtype, shards, rows = folder
    reader = records.ShardReader(path, shards)
    check_in_threads(reader, dtype, rows, 400)


def test_a_shard_is_never_there_half_written(tmp_path, monkeypatch):
    path = tmp_path / 'a.array_record'
    seen = []
    real = records.file_sha256
    monkeypatch.setattr(records, 'file_sha256', lambda p: seen.append(path.exists()) or real(p))
    write_shard(path, make_rows(3, records.row_dtype(8, 2), 100))
    assert seen == [False]
    assert [p.name for p in tmp_path.iterdir()] == ['a.array_record']


def test_equal_rows_give_equal_bytes(tmp_path):
    rows = make_rows(2000, records.row_dtype(64, 2), 1000)
    first = write_shard(tmp_path / 'a', rows)
    second = write_shard(tmp_path / 'b', rows)
    assert first.sha256 == second.sha256
    assert (tmp_path / 'a').read_bytes() == (tmp_path / 'b').read_bytes()


def test_a_torn_shard_is_refused_by_name(folder):
    path, _, shards, _ = folder
    torn = path / shards[2].name
    torn.write_bytes(torn.read_bytes()[:-100])
    with pytest.raises(errors.DataError, match=f'{shards[2].name} has .* torn'):
        records.ShardReader(path, shards)


def test_a_missing_shard_is_refused_by_name(folder):
    path, _, shards, _ = folder
    (path / shards[1].name).unlink()
    with pytest.raises(errors.DataError, match=f'{shards[1].name} is missing'):
        records.ShardReader(path, shards)


def test_a_shard_without_a_footer_is_refused_by_name(folder):
    path, _, shards, _ = folder
    file = path / shards[0].name
    file.write_bytes(b'\0' * file.stat().st_size)
    with pytest.raises(errors.DataError, match=f'{shards[0].name}'):
        records.ShardReader(path, shards)


def test_a_wrong_row_count_is_refused(folder):
    path, _, shards, _ = folder
    wrong = records.Shard(shards[0].name, 8, shards[0].bytes, shards[0].sha256)
    with pytest.raises(errors.DataError, match=r'has 7 rows, corpus\.json has 8'):
        records.ShardReader(path, [wrong])


def test_records_of_another_length_are_refused():
    with pytest.raises(errors.DataError, match='row'):
        records.decode_rows([b'12345'], records.row_dtype(2, 2))


def test_a_folder_that_cannot_be_written_is_a_clear_error(tmp_path):
    rows = make_rows(1, records.row_dtype(8, 2), 100)
    with pytest.raises(errors.DataError, match='cannot write'):
        write_shard(tmp_path / 'no-such-folder' / 'a', rows)


@pytest.fixture
def many(tmp_path, monkeypatch):
    """Shards of 5 rows each, of which 4 may be open, and their rows."""
    monkeypatch.setattr(resource, 'getrlimit', lambda of: (16, 16))
    monkeypatch.setattr(resource, 'setrlimit', lambda of, limits: None)
    dtype = records.row_dtype(16, 2)
    rows = [make_rows(5, dtype, 1 << 16, seed=n) for n in range(20)]
    shards = [write_shard(tmp_path / f'{i}.array_record', r) for i, r in enumerate(rows)]
    return tmp_path, dtype, shards, np.concatenate(rows)


def open_shards(folder) -> int:
    files = (os.path.realpath(f'/proc/self/fd/{file}') for file in os.listdir('/proc/self/fd'))
    return sum(file.startswith(str(folder.resolve())) for file in files)


@pytest.mark.skipif(not os.path.isdir('/proc/self/fd'), reason='open files are listed in Linux')
@pytest.mark.parametrize(('share', 'most'), [(1.0, 4), (0.5, 2), (0.01, 1)])
def test_few_of_many_shards_are_open(many, share, most):
    path, dtype, shards, rows = many
    reader = records.ShardReader(path, shards, share)
    assert open_shards(path) == most
    order = np.random.default_rng(0).permutation(100)
    tokens = records.decode_rows(reader.read(order), dtype)['tokens']
    np.testing.assert_array_equal(tokens, rows['tokens'][order])
    assert open_shards(path) == most


@pytest.mark.skipif(not os.path.isdir('/proc/self/fd'), reason='open files are listed in Linux')
def test_open_shards_have_a_bound_in_memory_too(many, monkeypatch):
    path, _, shards, _ = many
    monkeypatch.setattr(records, '_INDEX_BYTES', 3 * 5 * 8)
    reader = records.ShardReader(path, shards)
    assert open_shards(path) == 3
    assert len(reader) == 100


@pytest.mark.skipif(not os.path.isdir('/proc/self/fd'), reason='open files are listed in Linux')
@pytest.mark.parametrize(
    ('hard', 'asked', 'most'),
    [(40, (40, 40), 10), (1000, (80, 1000), 20), (resource.RLIM_INFINITY, (80, -1), 20)],
)
@pytest.mark.parametrize('refused', [False, True])
def test_the_soft_limit_of_open_files_is_raised(many, monkeypatch, hard, asked, most, refused):
    path, _, shards, _ = many
    limits = []

    def setrlimit(_, pair):
        limits.append(pair)
        if refused:
            raise ValueError('the system has a lower limit')

    monkeypatch.setattr(resource, 'getrlimit', lambda of: (16, hard))
    monkeypatch.setattr(resource, 'setrlimit', setrlimit)
    reader = records.ShardReader(path, shards)
    assert (limits, open_shards(path)) == ([asked], 4 if refused else most)
    assert len(reader) == 100


@pytest.mark.skipif(not os.path.isdir('/proc/self/fd'), reason='open files are listed in Linux')
def test_threads_open_and_close_shards(many):
    path, dtype, shards, rows = many
    reader = records.ShardReader(path, shards, 0.5)
    check_in_threads(reader, dtype, rows, 40)
    assert open_shards(path) == 2


def test_a_shard_damaged_since_it_was_checked_is_refused_by_name(many):
    path, _, shards, _ = many
    reader = records.ShardReader(path, shards)
    torn = path / shards[0].name
    torn.write_bytes(torn.read_bytes()[:-100])
    with pytest.raises(errors.DataError, match=f'{shards[0].name} has .* torn'):
        reader.read([0])
    torn.unlink()
    with pytest.raises(errors.DataError, match=f'{shards[0].name} is missing'):
        reader.read([99, 0])
    assert len(reader.read([99])) == 1


def test_all_of_a_few_shards_stay_open(folder):
    path, dtype, shards, rows = folder
    reader = records.ShardReader(path, shards)
    for shard in shards:
        (path / shard.name).unlink()
    tokens = records.decode_rows(reader.read(range(20)), dtype)['tokens']
    np.testing.assert_array_equal(tokens, rows['tokens'])
