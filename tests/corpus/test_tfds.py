"""TensorFlow datasets in TFRecord files, from this machine and from a bucket.

tiny_texts/en was written by TensorFlow 2.21 and TFDS 4.9.10 with `num_shards=2`: 'Document N.', a
blank line and 'Second é.' in `text`, 'Title N' in `title`, and features of other kinds.
"""

import json
import math
import pathlib
import runpy
import shutil

import pytest

from electra_jax.config.settings import DataConfig, TokenizerConfig
from electra_jax.core import errors, tfrecord
from electra_jax.core.complaints import Complaints
from electra_jax.core.compressed import TornError
from electra_jax.corpus import job, prepared, sources, web
from tests.support.tfds_files import dataset
from tests.support.web_server import bucket, serving

FOLDER = pathlib.Path(__file__).parent / 'tiny_texts'
VERSION = 'tiny_texts/en/1.0.0'
SHARD = 'tiny_texts-train.tfrecord-00001-of-00002'
ORDER = [4, 0, 3, 1, 2]  # of the documents in the files of `train`
CLOSED = 'http://127.0.0.1:9'  # nobody answers there


@pytest.fixture
def online(monkeypatch, tmp_path):
    """A bucket with the dataset; nothing is prepared on this machine."""
    files = {
        f'datasets/tiny_texts/{path.relative_to(FOLDER)}': path.read_bytes()
        for path in FOLDER.rglob('*')
        if path.is_file()
    }
    monkeypatch.setenv('TFDS_DATA_DIR', str(tmp_path / 'nothing'))
    monkeypatch.setattr(web, 'FIRST_WAITS', (0,))
    monkeypatch.setattr(web, 'WAITS', (0, 0))
    prepared._read.cache_clear()
    with serving(bucket(files)) as server:
        server.files = files
        monkeypatch.setenv(prepared.BUCKET_VARIABLE, server.url)
        yield server
    prepared._read.cache_clear()


@pytest.fixture
def copy(tmp_path):
    """A copy of the folder of the dataset, to damage."""
    return pathlib.Path(shutil.copytree(FOLDER / 'en/1.0.0', tmp_path / 'copy'))


def read(source: str, skip: bool = False, piece_bytes: int = 10**7):
    complaints = Complaints('data.on_bad_text', 'skip' if skip else 'error')
    entries, _ = sources.pin(sources.parse_source(source), {})
    pieces = sources.plan(entries, complaints, piece_bytes)
    documents = [
        document
        for piece in pieces
        for block in piece.open(complaints)
        for texts, _ in block
        for document in texts
    ]
    return documents, complaints


def wanted(numbers) -> list[list[str]]:
    return [[f'Document {i}.', 'Second é.'] for i in numbers]


# ---------------------------------------------------------------------------------------------
# Records


@pytest.mark.parametrize('chunk', [1, 7, 100, 10**6])
def test_records_that_tensorflow_wrote(chunk):
    data = (FOLDER / 'en/1.0.0' / SHARD).read_bytes()
    chunks = (data[i : i + chunk] for i in range(0, len(data), chunk))
    records = list(tfrecord.records(chunks))
    assert [tfrecord.text(one, 'title') for one in records] == [b'Title 3', b'Title 1', b'Title 2']
    assert tfrecord.text(records[0], 'meta/lang') == b'en'
    assert tfrecord.text(records[0], 'text').decode() == 'Document 3.\n\nSecond é.'


@pytest.mark.parametrize(
    ('field', 'words'),
    [
        ('body', "no feature 'body'; it has meta/lang, n, text, title, words"),
        ('words', '2 of them'),
        ('n', '0 of them'),
    ],
)
def test_a_feature_that_is_not_one_text(field, words):
    (record, *_) = tfrecord.records([(FOLDER / 'en/1.0.0' / SHARD).read_bytes()])
    with pytest.raises(ValueError, match=words):
        tfrecord.text(record, field)


def test_bytes_that_are_no_example():
    with pytest.raises(ValueError, match=r'no tf\.train\.Example'):
        tfrecord.text(b'\xff\xff', 'text')


def test_a_length_that_is_too_large_is_not_waited_for(monkeypatch):
    monkeypatch.setattr(tfrecord, 'MAX_RECORD_BYTES', 100)
    with pytest.raises(TornError, match='at byte 0'):
        list(tfrecord.records([(FOLDER / 'en/1.0.0' / SHARD).read_bytes()]))


# ---------------------------------------------------------------------------------------------
# Datasets of this machine


@pytest.mark.parametrize(
    ('split', 'numbers'),
    [
        ('train', ORDER),
        ('train[:3]', ORDER[:3]),
        ('train[-2:]', ORDER[-2:]),
        ('train[20%:80%]', ORDER[1:4]),
        ('train[:50%]', ORDER[:2]),  # 2.5 rows: TFDS rounds to the even number, too
        ('train[7:]', []),
    ],
)
def test_splits_and_parts_of_them(split, numbers):
    documents, complaints = read(f'tfds:{FOLDER}/en/1.0.0:{split}')
    assert documents == wanted(numbers)
    assert not complaints.counts


@pytest.mark.parametrize('name', ['tiny_texts', 'tiny_texts/en', 'tiny_texts/en:1.0.0'])
def test_names_are_found_in_the_data_folder(monkeypatch, name):
    monkeypatch.setenv('TFDS_DATA_DIR', str(FOLDER.parent))
    monkeypatch.setenv(prepared.BUCKET_VARIABLE, CLOSED)
    documents, _ = read(f'tfds:{name}:train#title')
    assert documents == [[f'Title {i}'] for i in ORDER]


def test_the_data_folder_may_be_in_a_bucket(monkeypatch):
    def path(name):
        return pathlib.Path(str(name).replace('gs://mine', str(FOLDER.parent)))

    monkeypatch.setattr(prepared.epath, 'Path', path)
    monkeypatch.setenv('TFDS_DATA_DIR', 'gs://mine')
    monkeypatch.setenv(prepared.BUCKET_VARIABLE, CLOSED)
    assert read('tfds:tiny_texts/en:train')[0] == wanted(ORDER)
    assert read('tfds:gs://mine/tiny_texts/en/1.0.0:train')[0] == wanted(ORDER)


def test_the_newest_version_counts(tmp_path, monkeypatch):
    for version in ('9.0.0', '10.0.0', '10.0.0.incomplete'):
        shutil.copytree(FOLDER / 'en/1.0.0', tmp_path / 'tiny_texts/en' / version)
    monkeypatch.setenv('TFDS_DATA_DIR', str(tmp_path))
    assert prepared.find('tiny_texts/en').path.endswith('/10.0.0')


@pytest.mark.parametrize(
    ('where', 'words'),
    [
        ('{folder}/en/1.0.0:trian', "did you mean 'train'"),
        ('{folder}/en/1.0.0:train[2shard:]', 'not understood'),
        ('{folder}/en/1.0.0:train#body', "no text field 'body'; it has meta/lang, text, title"),
        ('{folder}/en/1.0.0:train#words', "no text field 'words'"),
        ('{folder}/en/1.0.0', 'needs a dataset and a split'),
        ('{folder}/none:train', 'http://127.0.0.1:9 cannot be read .*data.source=text:'),
    ],
)
def test_what_is_not_there_is_named(monkeypatch, where, words):
    monkeypatch.setenv(prepared.BUCKET_VARIABLE, CLOSED)
    monkeypatch.setattr(web, 'FIRST_WAITS', ())
    with pytest.raises(errors.DataError, match=words):
        read('tfds:' + where.format(folder=FOLDER))


@pytest.mark.parametrize(
    ('keys', 'value', 'words'),
    [
        (('splits', 0, 'shardLengths', 1), 'x', 'dataset_info.json is damaged'),
        (('splits',), None, 'dataset_info.json is damaged'),
        (('splits', 0, 'filepathTemplate'), ['x'], 'dataset_info.json is damaged'),
        (('splits', 0, 'filepathTemplate'), '{SPLAT}', 'dataset_info.json is damaged'),
        (('splits', 0, 'filepathTemplate'), '../{SHARD_X_OF_Y}', 'is not the name of a file'),
        (('splits', 0, 'filepathTemplate'), 'a\ud800', 'dataset_info.json is damaged'),
        (('splits', 0, 'numBytes'), math.inf, 'dataset_info.json is damaged'),
        (('fileFormat',), 'riegeli', 'of the form riegeli'),
        (('splits', 0, 'shardLengths', 1), '5', 'it holds 3 records of 5'),
    ],
)
def test_a_damaged_description_is_named(copy, keys, value, words):
    info = json.loads((copy / 'dataset_info.json').read_text())
    inner = info
    for key in keys[:-1]:
        inner = inner[key]
    inner[keys[-1]] = value
    (copy / 'dataset_info.json').write_text(json.dumps(info))
    with pytest.raises(errors.DataError, match=words):
        read(f'tfds:{copy}:train')


def test_damaged_records_are_complaints(copy):
    path = copy / SHARD
    data = bytearray(path.read_bytes())
    data[40] ^= 1  # in the data of the first record
    path.write_bytes(data[:300])
    where = f'tfds:{copy}:train'
    with pytest.raises(errors.DataError, match=f'{SHARD}, record 0: its checksum.*=skip'):
        read(where)
    documents, complaints = read(where, skip=True)
    assert documents == wanted([4, 0, 1])
    assert complaints.counts == {
        'bad_record': (1, f'{path}, record 0: its checksum is not that of its data'),
        'torn_file': (1, f'{path}: it is torn: it ends inside the record at byte 258'),
    }


def test_a_damaged_length_ends_a_file(copy):
    path = copy / SHARD
    data = bytearray(path.read_bytes())
    data[130] ^= 1
    path.write_bytes(data)
    documents, complaints = read(f'tfds:{copy}:train', skip=True)
    assert documents == wanted([4, 0, 3])
    assert complaints.counts['torn_file'][1].endswith('at byte 129 there is no TFRecord')


# ---------------------------------------------------------------------------------------------
# Datasets of the bucket


@pytest.mark.parametrize('name', ['tiny_texts', 'tiny_texts/en', VERSION])
def test_names_are_found_in_the_bucket(online, name):
    documents, _ = read(f'tfds:{name}:train')
    assert documents == wanted(ORDER)


def test_what_is_on_this_machine_comes_first(online, monkeypatch):
    monkeypatch.setenv('TFDS_DATA_DIR', str(FOLDER.parent))
    assert read('tfds:tiny_texts/en:train')[0] == wanted(ORDER)
    assert not online.requests


def test_a_mirror_needs_no_listing(online):
    folders = online.answer
    online.answer = lambda path, query, signed: (
        (404, {}, b'') if query else folders(path, query, signed)
    )
    assert read(f'tfds:{VERSION}:train')[0] == wanted(ORDER)
    with pytest.raises(errors.DataError, match=r'neither in .*nothing and http.*en/1\.0\.0'):
        read('tfds:tiny_texts/en:train')


def test_configs_are_listed(online):
    del online.files['datasets/tiny_texts/.config/metadata.json']
    with pytest.raises(errors.DataError, match='name one of en'):
        read('tfds:tiny_texts:train')


def test_files_of_another_form_are_refused(online):
    info = online.files[f'datasets/{VERSION}/dataset_info.json']
    info = info.replace(b'"tfrecord"', b'"array_record"')
    online.files[f'datasets/{VERSION}/dataset_info.json'] = info
    with pytest.raises(errors.DataError, match=r'the form array_record.*tfds build tiny_'):
        read('tfds:tiny_texts/en:train')


def test_a_broken_connection_continues_where_it_broke(online, capsys):
    place = prepared.Bucket()
    path = f'{VERSION}/{SHARD}'
    content = online.files[f'datasets/{path}']
    online.faults = [503, ('cut', 100), 500, ('cut', 50)]
    assert b''.join(place.chunks(path)) == content
    assert [asked for _, asked in online.requests] == [
        None, None, 'bytes=100-', 'bytes=100-', 'bytes=150-',
    ]  # fmt: skip
    online.ranges = False  # a server that sends the whole file again
    online.faults = [('cut', 100)]
    assert b''.join(place.chunks(path)) == content
    assert 'it is asked for again in 0 s' in capsys.readouterr().err


def test_a_connection_that_stays_broken_is_an_error(online):
    online.faults = [('cut', 100), 503, 503, 503]
    with pytest.raises(errors.DataError, match=f'cannot read {online.url}.*: HTTP Error 503'):
        b''.join(prepared.Bucket().chunks(f'{VERSION}/{SHARD}'))


def test_a_file_that_changes_while_it_is_read_is_an_error(online):
    path = f'{VERSION}/{SHARD}'
    online.faults = [('cut', 100)]
    chunks = prepared.Bucket().chunks(path)
    first = next(chunks)
    online.files[f'datasets/{path}'] = b'x' * 387
    assert len(first) == 100
    with pytest.raises(errors.DataError, match='has changed'):
        next(chunks)


def test_an_address_that_is_none_is_named(monkeypatch):
    with pytest.raises(errors.DataError, match="cannot read 'tfds-data/x'"):
        web.read('tfds-data/x')


def build(folder, source='tfds:tiny_texts/en:train'):
    data = DataConfig(
        path=str(folder), source=source, row_length=16, holdout=0.0, workers=1,
        tokenizer=TokenizerConfig(path=str(folder.parent / 'vocab.txt')),
    )  # fmt: skip
    words = ['[PAD]', '[UNK]', '[CLS]', '[SEP]', '[MASK]', 'document', 'second', '.', 'e', *'01234']
    (folder.parent / 'vocab.txt').write_text('\n'.join(words))
    return job.build_corpus(data, piece_bytes=50)


def test_a_stopped_build_keeps_the_version_that_it_began_with(online, tmp_path, capsys):
    answer = online.answer
    online.answer = lambda path, *rest: (410, {}, b'') if SHARD in path else answer(path, *rest)
    with pytest.raises(errors.DataError, match='is not there'):
        build(tmp_path / 'corpus')
    online.answer = answer
    for path, content in list(online.files.items()):
        online.files[path.replace('1.0.0', '2.0.0')] = content.replace(b'Document', b'Other')
    prepared._read.cache_clear()
    corpus = build(tmp_path / 'corpus')
    assert corpus.build['revisions'] == {'tfds:tiny_texts/en:train': VERSION}
    assert corpus.build['pieces_found_finished'] == 1
    assert corpus.counts['documents'] == 5
    assert corpus.unigram()[5] == 5  # 'document' in each
    printed = capsys.readouterr().err
    assert 'tiny_texts/en:train, 0.0 MB' in printed
    assert printed.count(f'tiny_texts/en:train is read over the network, at {VERSION}') == 1


def test_other_text_may_be_named_where_a_source_is_not_there(online, tmp_path):
    with pytest.raises(errors.DataError, match=r'or name other text with --config\.data\.source'):
        build(tmp_path / 'corpus', 'tfds:no_such:train')
    assert build(tmp_path / 'corpus').counts['documents'] == 5


@pytest.mark.parametrize('name', ['small', 'base', 'large'])
def test_recipes_of_the_paper_need_no_preparation(online, tmp_path, name):
    path = pathlib.Path(__file__).parents[2] / 'configs' / f'{name}.py'
    source = runpy.run_path(str(path))['get_config']().data.source
    texts = [f'document {i}' for i in range(20)]
    online.files |= dataset('wikipedia/20230601.en/1.0.0', '20230601.en', texts)
    assert build(tmp_path / 'corpus', source).counts['documents'] == 20
