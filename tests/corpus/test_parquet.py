"""Text in Parquet files."""

import json
import os
import sys
from unittest import mock

import pytest

from electra_jax.core import errors
from electra_jax.core.complaints import Complaints
from electra_jax.core.compressed import TornError
from electra_jax.corpus import footers, parquet, sources

pa = pytest.importorskip('pyarrow')
pq = pytest.importorskip('pyarrow.parquet')

TEXTS = [f'Document {i}.\n\nSecond é {"word " * (i % 7)}' for i in range(100)]
WANTED = [[line.strip() for line in text.split('\n') if line.strip()] for text in TEXTS]


def write(path, texts=TEXTS, rows=30, field='text', **options):
    columns = {'id': list(range(len(texts))), field: pa.array(texts, pa.string())}
    pq.write_table(pa.table(columns), path, row_group_size=rows, **options)


def read(source: str, skip: bool = False, piece_bytes: int = 10**7):
    complaints = Complaints('data.on_bad_text', 'skip' if skip else 'error')
    parts = [
        part
        for piece in sources.plan(sources.parse_source(source), complaints, piece_bytes)
        for part in piece.parts
    ]
    blocks = [[list(block.documents) for block in part.open(complaints)] for part in parts]
    return parts, blocks, complaints


def documents(source: str, **options) -> list[list[str]]:
    _, parts, complaints = read(source, **options)
    assert not complaints.counts
    return [document for blocks in parts for block in blocks for document in block]


@pytest.mark.parametrize('compression', ['none', 'snappy', 'gzip', 'zstd', 'lz4', 'brotli'])
def test_row_groups_are_parts_and_hold_the_documents_of_json_lines(tmp_path, compression):
    write(tmp_path / 'a.parquet', compression=compression)
    lines = ''.join(json.dumps({'text': text}) + '\n' for text in TEXTS)
    (tmp_path / 'a.jsonl').write_text(lines)
    parts, _, _ = read(f'parquet:{tmp_path}/a.parquet')
    assert [part.group.rows for part in parts] == [30, 30, 30, 10]
    assert documents(f'parquet:{tmp_path}/a.parquet') == WANTED
    assert documents(f'jsonl:{tmp_path}/a.jsonl') == WANTED


def test_a_large_row_group_comes_in_blocks(tmp_path, monkeypatch):
    monkeypatch.setattr('electra_jax.corpus.parquet._BATCH_BYTES', 300)
    write(tmp_path / 'a.parquet', rows=1000)
    _, (blocks,), _ = read(f'parquet:{tmp_path}/a.parquet', piece_bytes=500)
    assert len(blocks) > 5
    assert [document for block in blocks for document in block] == WANTED


def test_a_large_row_group_is_not_in_memory_whole(tmp_path):
    texts = [os.urandom(50_000).hex() for _ in range(100)]  # 10 MB
    pages = {'use_dictionary': False, 'compression': 'none', 'write_batch_size': 1}
    write(tmp_path / 'a.parquet', texts, rows=1000, data_page_size=100_000, **pages)
    complaints, most = Complaints('data.on_bad_text', 'error'), 0
    (piece,) = sources.plan(sources.parse_source(f'parquet:{tmp_path}/a.parquet'), complaints)
    before = pa.total_allocated_bytes()
    for _ in piece.parts[0]._texts(complaints):
        most = max(most, pa.total_allocated_bytes() - before)
    assert 0 < most < 6e6


def test_progress_counts_what_is_read(tmp_path):
    write(tmp_path / 'a.parquet')
    parts, _, _ = read(f'parquet:{tmp_path}/a.parquet')
    entries = sources.parse_source(f'parquet:{tmp_path}/a.parquet')
    (piece,) = sources.plan(entries, Complaints('data.on_bad_text'))
    total = piece.read_bytes
    assert total == sum(part.read_bytes for part in parts)
    assert 0 < total < (tmp_path / 'a.parquet').stat().st_size


def test_only_the_column_of_the_text_is_read(tmp_path):
    write(tmp_path / 'a.parquet')
    damaged = bytearray((tmp_path / 'a.parquet').read_bytes())
    column = pq.ParquetFile(tmp_path / 'a.parquet').metadata.row_group(0).column(0)
    start = column.dictionary_page_offset or column.data_page_offset
    damaged[start : start + column.total_compressed_size] = b'\xff' * column.total_compressed_size
    (tmp_path / 'a.parquet').write_bytes(damaged)
    assert documents(f'parquet:{tmp_path}/a.parquet') == WANTED


@pytest.mark.parametrize(
    'kind',
    [
        pa.large_string(), pa.binary(), pa.large_binary(), pa.string_view(),
        pa.dictionary(pa.int32(), pa.string()), pa.dictionary(pa.int8(), pa.large_string()),
    ],
    ids=str,
)  # fmt: skip
def test_columns_of_text(tmp_path, kind):
    column = pa.array(TEXTS).cast(kind)
    pq.write_table(pa.table({'body': column}), tmp_path / 'a.parquet', row_group_size=50)
    assert documents(f'parquet:{tmp_path}/a.parquet#body') == WANTED


@pytest.mark.parametrize(
    ('kind', 'value'),
    [
        (pa.list_(pa.string()), ['a']),
        (pa.struct({'a': pa.string()}), {'a': 'b'}),
        (pa.null(), None),
        (pa.int32(), 1),
        (pa.dictionary(pa.int8(), pa.int32()), 1),
    ],
    ids=str,
)
def test_other_columns_are_refused_by_name(tmp_path, kind, value):
    pq.write_table(pa.table({'text': pa.array([value], kind)}), tmp_path / 'a.parquet')
    with pytest.raises(errors.DataError) as raised:
        read(f'parquet:{tmp_path}/a.parquet', skip=True)
    assert all(word in str(raised.value) for word in ("'text' is of", 'not text', '#FIELD'))


def test_a_missing_column_lists_those_that_are_there(tmp_path):
    write(tmp_path / 'a.parquet', field='body')
    with pytest.raises(errors.DataError, match=r"'text' is not there; it has id \(int64\), body"):
        read(f'parquet:{tmp_path}/a.parquet')


def test_odd_values_are_counted(tmp_path):
    column = pa.array([b'bad \xff', None, b'', b'fine', b'NUL \0']).cast(pa.binary())
    strings = pa.Array.from_buffers(pa.string(), 5, column.buffers())  # not checked, as in Parquet
    pq.write_table(pa.table({'text': strings}), tmp_path / 'a.parquet')
    _, blocks, complaints = read(f'parquet:{tmp_path}/a.parquet')
    assert blocks == [[[['bad \ufffd'], ['fine'], ['NUL']]]]
    where = f'{tmp_path}/a.parquet, row '
    assert complaints.counts == {
        'not_utf8': (1, f'{where}0, line 1, character 5'),
        'empty_document': (2, f'{where}1'),
        'nul': (1, f'{where}4'),
    }


def test_a_folder_reads_its_parquet_and_counts_the_rest(tmp_path):
    for name in ('b/2.parquet', 'a.PARQUET', 'b/1.pq'):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        write(tmp_path / name, [name])
    for name in ('_SUCCESS', '.hidden/x.parquet', 'read.me', 'LICENSE'):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text('x')
    write(tmp_path / 'c.parquet', [])
    (tmp_path / 'loop').symlink_to('.')
    (tmp_path / 'gone.parquet').symlink_to('nothing')
    _, parts, complaints = read(f'parquet:{tmp_path}')
    found = [document for blocks in parts for block in blocks for document in block]
    assert found == [['a.PARQUET'], ['b/1.pq'], ['b/2.parquet']]
    assert {reason: number for reason, (number, _) in complaints.counts.items()} == {
        'left_out:hidden': 2, 'left_out:.me': 1, 'left_out:without an ending': 1, 'empty_file': 1,
        'left_out:broken link': 1,
    }  # fmt: skip
    assert documents(f'parquet:{tmp_path}/*/2.parquet') == [['b/2.parquet']]
    (tmp_path / 'empty').mkdir()
    with pytest.raises(errors.DataError, match='no file in it ends in'):
        read(f'parquet:{tmp_path}/empty')


def test_a_page_that_is_not_what_its_checksum_says_is_damage(tmp_path):
    path = tmp_path / 'a.parquet'
    write(path, compression='none', write_page_checksum=True)
    path.write_bytes(path.read_bytes().replace(b'Document 7', b'Document 8'))
    with pytest.raises(errors.DataError, match=f'{path}: row group 0: it is damaged'):
        read(f'parquet:{path}')


def test_a_footer_that_contradicts_itself_is_damage(tmp_path):
    path = tmp_path / 'a.parquet'
    write(path)
    file = pq.ParquetFile(path)
    footer = mock.Mock(wraps=file.metadata, num_rows=7, num_row_groups=1)
    footer.num_columns, footer.schema = file.metadata.num_columns, file.metadata.schema
    reader = mock.Mock(metadata=footer, schema_arrow=file.schema_arrow)
    with pytest.raises(TornError, match='rows, and the file 7'):
        parquet.row_groups(reader, str(path), 'text')


@pytest.mark.parametrize('rows', [0, 29])
def test_a_row_group_with_fewer_rows_than_its_footer_says_is_damage(tmp_path, rows):
    write(tmp_path / 'a.parquet')
    (part, *_), _, complaints = read(f'parquet:{tmp_path}/a.parquet', skip=True)
    batches = list(part.reader().iter_batches(row_groups=[0], columns=['text']))
    reader = mock.Mock(iter_batches=lambda *_, **__: [batches[0].slice(0, rows)])
    with mock.patch.object(parquet.ParquetPart, 'reader', return_value=reader):
        found = [one for block in part.open(complaints) for one in block.documents]
    assert found == WANTED[:rows]
    assert complaints.counts['torn_file'][1].endswith(f'row group 0: {rows} of 30 rows are there')


def test_a_footer_that_ends_its_reader_is_damage_and_the_next_file_is_read(tmp_path, monkeypatch):
    program = tmp_path / 'reader.py'
    ending = "import os; ended = os.path.exists('ended'); open('ended', 'w'); ended or os.abort()"
    program.write_text(f'{ending}\n{footers._PROGRAM.read_text()}')
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(footers, '_PROGRAM', program)
    footers._READER.close()
    for name in 'ab':
        write(tmp_path / f'{name}.parquet')
    parts, _, complaints = read(f'parquet:{tmp_path}/[ab].parquet', skip=True)
    assert {part.name for part in parts} == {f'{tmp_path}/b.parquet'}
    assert 'a.parquet: it is damaged' in complaints.counts['torn_file'][1]
    footers._READER.close()


def test_a_plan_closes_what_it_has_opened(tmp_path, monkeypatch):
    write(tmp_path / 'a.parquet')
    opened = []
    monkeypatch.setattr(
        parquet, 'opened', lambda name: opened.append(pq.ParquetFile(name)) or opened[-1]
    )
    (entry,) = sources.parse_source(f'parquet:{tmp_path}/a.parquet')
    assert list(parquet.parts(entry, 10**7, Complaints('data.on_bad_text', 'error')))
    assert [file.closed for file in opened] == [True]


def test_damage_is_a_complaint(tmp_path):
    path = tmp_path / 'a.parquet'
    write(path, compression='gzip')
    data = bytearray(path.read_bytes())
    column = pq.ParquetFile(path).metadata.row_group(1).column(1)
    start = column.dictionary_page_offset or column.data_page_offset
    data[start : start + column.total_compressed_size] = bytes(column.total_compressed_size)
    path.write_bytes(data)
    where = f'parquet:{path}'
    with pytest.raises(errors.DataError, match=f'{path}: row group 1: it is damaged.*=skip'):
        read(where)
    _, blocks, complaints = read(where, skip=True)
    found = [document for part in blocks for block in part for document in block]
    assert found == WANTED[:30] + WANTED[60:]
    assert complaints.counts['torn_file'][0] == 1
    path.write_bytes(data[:-9])
    with pytest.raises(errors.DataError, match='damaged, or no Parquet'):
        read(where)
    assert read(where, skip=True)[2].counts['torn_file'][0] == 1


def test_without_pyarrow_the_message_says_what_to_install(tmp_path, monkeypatch):
    write(tmp_path / 'a.parquet')
    monkeypatch.setitem(sys.modules, 'pyarrow.parquet', None)
    monkeypatch.delattr(pa, 'parquet')
    with pytest.raises(errors.DataError, match=r"pip install -e '\.\[parquet\]'"):
        read(f'parquet:{tmp_path}/a.parquet')
