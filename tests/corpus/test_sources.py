"""Sources: what the string means, and that cutting loses, doubles and tears nothing."""

import gzip
import json
import lzma
import random
import time

import pytest
import zstandard

from electra_jax.config.settings import DataConfig
from electra_jax.core import errors
from electra_jax.core.complaints import Complaints
from electra_jax.corpus import build, documents, files, prepared, sources, web


def write_documents(path, count=200, seed=0) -> list[list[str]]:
    rng = random.Random(seed)
    wanted = [
        [f'Document {i} line {j} ' + 'wörd ' * rng.randint(1, 30) + 'end.' for j in range(n)]
        for i in range(count)
        for n in [rng.randint(1, 8)]
    ]
    path.write_text('\n\n'.join('\n'.join(lines) for lines in wanted) + '\n')
    return wanted


def read(source: str, piece_bytes: int = sources.PIECE_BYTES, skip: bool = False):
    """Documents of every block of text that is in memory at a time, and the complaints."""
    complaints = Complaints('data.on_bad_text', 'skip' if skip else 'error')
    pieces = list(sources.plan(sources.parse_source(source), complaints, piece_bytes))
    assert [piece.index for piece in pieces] == list(range(len(pieces)))
    found = [
        [document for documents, _ in block for document in documents]
        for piece in pieces
        for block in piece.open(complaints)
    ]
    if not any(suffix in source for suffix in COMPRESSORS):
        assert len(found) == len(pieces)  # what is not compressed is read at once
    return found, complaints


def joined(pieces) -> list[list[str]]:
    return [document for piece in pieces for document in piece]


COMPRESSORS = {
    '.gz': gzip.compress,
    '.xz': lzma.compress,
    '.zst': zstandard.ZstdCompressor().compress,
}


# ---------------------------------------------------------------------------------------------
# The source string


def test_entries_weights_and_fields():
    entry = documents.Entry
    assert sources.parse_source('text:a.txt') == [entry('text', 'a.txt', 1.0)]
    assert sources.parse_source('text:a=b,c.txt=2.5,python-docs:=0.3') == [
        entry('text', 'a=b,c.txt', 2.5),
        entry('python-docs', '', 0.3),
    ]
    assert sources.parse_source('tfds:wikipedia/20230601.en:train[:10%]#title=2') == [
        entry('tfds', 'wikipedia/20230601.en:train[:10%]', 2.0, 'title')
    ]


def test_a_folder_called_like_a_weight_is_a_folder(tmp_path):
    folder = tmp_path / 'year=2024'
    folder.mkdir()
    assert sources.parse_source(f'text:{folder}')[0] == documents.Entry('text', str(folder))
    assert sources.parse_source(f'text:{folder}=3')[0] == documents.Entry('text', str(folder), 3.0)


@pytest.mark.parametrize(
    ('source', 'words'),
    [
        (None, 'empty'),
        ('  ', 'empty'),
        ('a.txt', f'without a kind.*{", ".join(sources.PARTS)}'),
        ('txet:a.txt', "did you mean 'text'"),
        ('text:a.txt,jsnl:b', "did you mean 'jsonl'"),
        ('text:a.txt=0', 'above 0'),
    ],
)
def test_a_bad_source_is_refused(source, words):
    with pytest.raises(errors.ConfigError, match=words):
        sources.parse_source(source)


@pytest.mark.parametrize('kind', ['text', 'jsonl'])
def test_a_missing_path_is_refused(kind, tmp_path):
    with pytest.raises(errors.DataError, match='no-such'):
        read(f'{kind}:{tmp_path}/no-such-*.txt')
    (tmp_path / 'folder').mkdir()
    (tmp_path / 'folder' / 'a.pdf').write_text('x')
    with pytest.raises(errors.DataError, match='no file in it'):
        read(f'{kind}:{tmp_path}/folder')


# ---------------------------------------------------------------------------------------------
# Cutting


@pytest.mark.parametrize('piece_bytes', [300, 2000, 10_000, 10**7])
def test_cutting_keeps_every_document_whole(tmp_path, piece_bytes):
    wanted = write_documents(tmp_path / 'a.txt')
    found, complaints = read(f'text:{tmp_path}/a.txt', piece_bytes)
    assert joined(found) == wanted
    assert not complaints.counts
    assert (len(found) > 5) == (piece_bytes <= 10_000)


@pytest.mark.parametrize('suffix', COMPRESSORS)
@pytest.mark.parametrize('piece_bytes', [2000, 10**7])
def test_compressed_files_hold_the_same_documents(tmp_path, suffix, piece_bytes, monkeypatch):
    monkeypatch.setattr(files, 'REACH_BYTES', 5000)
    wanted = write_documents(tmp_path / 'a.txt')
    raw = (tmp_path / 'a.txt').read_bytes()
    half = len(raw) // 2
    # Two members one after another, as `cat a.gz b.gz` makes them.
    packed = COMPRESSORS[suffix](raw[:half]) + COMPRESSORS[suffix](raw[half:])
    (tmp_path / f'a.txt{suffix}').write_bytes(packed)
    found, _ = read(f'text:{tmp_path}/a.txt{suffix}', piece_bytes)
    assert joined(found) == wanted
    assert (len(found) > 5) == (piece_bytes == 2000)


def test_a_folder_is_walked_in_order(tmp_path):
    for name in ['b/2.txt', 'a.txt', 'b/1.txt', 'c.md']:
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(f'text of {name}')
    (tmp_path / 'd.txt.gz').write_bytes(gzip.compress(b'text of d'))
    found, _ = read(f'text:{tmp_path}')
    names = ['a.txt', 'b/1.txt', 'b/2.txt']
    assert joined(found) == [*([f'text of {name}'] for name in names), ['text of d']]
    assert len(found) == 1  # small files share a piece


def test_text_without_blank_lines_is_cut_at_lines(tmp_path, monkeypatch):
    monkeypatch.setattr(files, 'REACH_BYTES', 3000)
    lines = [f'line number {i} of many' for i in range(3000)]
    (tmp_path / 'a.txt').write_text('\n'.join(lines))
    found, _ = read(f'text:{tmp_path}/a.txt', 10_000)
    assert len(found) > 4
    assert [line for document in joined(found) for line in document] == lines


def test_a_line_without_end_is_cut_at_spaces(tmp_path, monkeypatch):
    monkeypatch.setattr(files, 'REACH_BYTES', 3000)
    words = [f'word{i}' for i in range(40_000)]
    (tmp_path / 'a.txt').write_text(' '.join(words))
    found, _ = read(f'text:{tmp_path}/a.txt', 50_000)
    assert len(found) > 4
    lines = [line for document in joined(found) for line in document]
    assert ' '.join(lines).split(' ') == words
    assert max(map(len, lines)) <= documents.MAX_LINE_CHARS


def test_text_without_any_space_is_cut_at_characters(tmp_path, monkeypatch):
    monkeypatch.setattr(files, 'REACH_BYTES', 3000)
    text = 'x' + '字é😀' * 30_000  # no piece begins on a whole character by chance
    (tmp_path / 'a.txt').write_text(text)
    found, complaints = read(f'text:{tmp_path}/a.txt', 50_000)
    assert len(found) > 4
    assert ''.join(line for document in joined(found) for line in document) == text
    assert not complaints.counts


def test_a_line_without_any_space_is_handed_on_in_parts():
    text = ''.join(chr(0x4E00 + i % 20_000) for i in range(200_000))
    lines = documents.clean_lines(text, 'here', Complaints('data.on_bad_text'))
    assert ''.join(lines) == text
    assert max(map(len, lines)) == documents.MAX_LINE_CHARS


def test_a_huge_line_takes_bounded_time(tmp_path):
    (tmp_path / 'a.txt').write_bytes(b'some words and more ' * 2_500_000)  # 50 MB
    started = time.monotonic()
    complaints = Complaints('data.on_bad_text')
    pieces = list(sources.plan(sources.parse_source(f'text:{tmp_path}/a.txt'), complaints))
    sizes = [part.text_bytes for piece in pieces for part in piece.parts]
    assert sum(sizes) == 50_000_000
    assert max(sizes) <= sources.PIECE_BYTES * 1.3
    (block,) = pieces[0].parts[0].open(complaints)
    lines = next(block.documents)
    assert max(map(len, lines)) <= documents.MAX_LINE_CHARS
    assert time.monotonic() - started < 10


def test_windows_lines_and_marks(tmp_path):
    (tmp_path / 'a.txt').write_bytes(b'\xef\xbb\xbfone\r\ntwo\r\n \t\r\n\r\nthree\x0cfour\r\n')
    found, _ = read(f'text:{tmp_path}/a.txt')
    assert joined(found) == [['one', 'two'], ['three\x0cfour']]


# ---------------------------------------------------------------------------------------------
# JSON lines


def write_json(path, texts, field='text'):
    path.write_text(''.join(json.dumps({'id': i, field: t}) + '\n' for i, t in enumerate(texts)))


@pytest.mark.parametrize('piece_bytes', [500, 10**7])
def test_json_lines(tmp_path, piece_bytes):
    texts = [f'document {i}\n\nsecond line ü\n' for i in range(100)]
    write_json(tmp_path / 'a.jsonl', texts, 'body')
    (tmp_path / 'b.jsonl.gz').write_bytes(gzip.compress((tmp_path / 'a.jsonl').read_bytes()))
    wanted = [[f'document {i}', 'second line ü'] for i in range(100)]
    for name in ['a.jsonl', 'b.jsonl.gz']:
        found, _ = read(f'jsonl:{tmp_path}/{name}#body', piece_bytes)
        assert joined(found) == wanted
        assert (len(found) > 3) == (piece_bytes == 500)


def test_a_json_line_is_never_cut(tmp_path, monkeypatch):
    monkeypatch.setattr(files, 'REACH_BYTES', 1000)
    texts = ['word ' * 5000, 'short', 'word ' * 3000]
    write_json(tmp_path / 'a.jsonl', texts)
    (tmp_path / 'b.jsonl.xz').write_bytes(lzma.compress((tmp_path / 'a.jsonl').read_bytes()))
    for name in ['a.jsonl', 'b.jsonl.xz']:
        found, _ = read(f'jsonl:{tmp_path}/{name}', 500)
        assert joined(found) == [[text.strip()] for text in texts]


@pytest.mark.parametrize(
    ('line', 'words'),
    [
        ('{"text": "torn', 'not a JSON object'),
        ('[1]', 'found a list'),
        ('{"txt": "a"}', "no field 'text'; it has txt"),
        ('{"text": 3}', "field 'text' is a int"),
    ],
)
@pytest.mark.parametrize('piece_bytes', [200, 10**7])
def test_a_bad_json_line_is_named(tmp_path, line, words, piece_bytes):
    good = [json.dumps({'text': f'good {i}'}) for i in range(40)]
    (tmp_path / 'a.jsonl').write_text('\n'.join([*good[:30], line, *good[30:]]) + '\n')
    (tmp_path / 'b.jsonl.gz').write_bytes(gzip.compress((tmp_path / 'a.jsonl').read_bytes()))
    for name in ['a.jsonl', 'b.jsonl.gz']:
        with pytest.raises(errors.DataError) as raised:
            read(f'jsonl:{tmp_path}/{name}', piece_bytes)
        message = str(raised.value)
        assert all(w in message for w in [f'{name}, line 31:', words, 'on_bad_text=skip'])
        found, complaints = read(f'jsonl:{tmp_path}/{name}', piece_bytes, skip=True)
        assert joined(found) == [[f'good {i}'] for i in range(40)]
        assert complaints.lines()[0].startswith('1 line was not the JSON')
        assert f'{tmp_path}/{name}, line 31: ' in complaints.lines()[0]


# ---------------------------------------------------------------------------------------------
# Damage


@pytest.mark.parametrize('suffix', COMPRESSORS)
def test_a_torn_compressed_file_is_named(tmp_path, suffix):
    wanted = write_documents(tmp_path / 'a.txt', count=5000)
    path = tmp_path / f'a.txt{suffix}'
    packed = COMPRESSORS[suffix]((tmp_path / 'a.txt').read_bytes())
    path.write_bytes(packed[: len(packed) * 3 // 4])
    with pytest.raises(errors.DataError, match=f'{path.name}: it is torn'):
        read(f'text:{path}')
    found, complaints = read(f'text:{path}', skip=True)
    number, first = complaints.counts['torn_file']
    assert number == 1 and first.startswith(f'{path}: ')
    got = joined(found)
    assert len(got) > 10
    assert got[:-1] == wanted[: len(got) - 1]


@pytest.mark.parametrize('suffix', COMPRESSORS)
def test_a_file_that_is_not_what_it_is_called_is_named(tmp_path, suffix):
    path = tmp_path / f'a.txt{suffix}'
    path.write_bytes(b'plain text, not compressed at all')
    with pytest.raises(errors.DataError, match=f'{path.name}: it is damaged'):
        read(f'text:{path}')


def test_odd_bytes_are_mended_and_counted(tmp_path):
    path = tmp_path / 'a.txt'
    path.write_bytes(b'fine\n\nbad \xff byte\n\nNUL \x00 here\n\nbad \xfe again\n\n\x00\n')
    (tmp_path / 'empty.txt').write_bytes(b'')
    found, complaints = read(f'text:{tmp_path}')
    assert joined(found) == [['fine'], ['bad \ufffd byte'], ['NUL  here'], ['bad \ufffd again']]
    assert complaints.counts == {
        'empty_file': (1, f'{tmp_path}/empty.txt'),
        'not_utf8': (2, f'{path} at byte 10'),
        'nul': (2, f'{path} at byte 18'),
        'empty_document': (1, f'{path} at byte 43'),
    }
    assert any('2 documents held bytes that are not UTF-8' in line for line in complaints.lines())


def test_half_characters_in_json_are_mended(tmp_path):
    (tmp_path / 'a.jsonl').write_text('{"text": "half \\ud83d, whole \\ud83d\\ude00"}\n')
    found, complaints = read(f'jsonl:{tmp_path}/a.jsonl')
    assert joined(found) == [['half \ufffd, whole 😀']]
    assert complaints.counts['not_utf8'][0] == 1
    build.choose(joined(found)[0], 1.0, DataConfig(row_length=128))  # can be encoded


# ---------------------------------------------------------------------------------------------
# TensorFlow datasets


@pytest.fixture(scope='module')
def dataset(tmp_path_factory):
    """A dataset of 60 rows, prepared without TensorFlow."""
    tfds = pytest.importorskip('tensorflow_datasets')

    class TinyTexts(tfds.core.GeneratorBasedBuilder):
        VERSION = tfds.core.Version('1.0.0')

        def _info(self):
            text = tfds.features.Text()
            features = tfds.features.FeaturesDict({'text': text, 'title': text})
            return tfds.core.DatasetInfo(builder=self, features=features)

        def _split_generators(self, dl_manager):
            return {'train': self._generate_examples()}

        def _generate_examples(self):
            for i in range(60):
                yield i, {'text': f'Document {i}.\n\nSecond é.', 'title': f'Title {i}'}

    folder = tmp_path_factory.mktemp('tfds')
    TinyTexts(data_dir=str(folder), file_format='array_record').download_and_prepare()
    return folder


def test_a_dataset_is_read_by_folder_and_by_name(dataset, monkeypatch):
    folder = dataset / 'tiny_texts' / '1.0.0'
    found, _ = read(f'tfds:{folder}:train', 300)
    assert len(found) > 3
    wanted = sorted([f'Document {i}.', 'Second é.'] for i in range(60))
    assert sorted(joined(found)) == wanted
    found, _ = read(f'tfds:{folder}:train[:10]#title')
    assert sorted(document[0][:6] for document in joined(found)) == ['Title '] * 10


@pytest.mark.parametrize(
    ('where', 'words'),
    [
        ('{folder}', 'needs a dataset and a split'),
        ('{folder}:trian', 'trian'),
        ('{folder}:train#body', 'no text field .body.; it has text, title'),
        ('wikipedia/20230601.en:train', 'tfds build wikipedia/20230601.en --file_format=array_r'),
    ],
)
def test_a_dataset_that_is_not_there_says_what_to_type(dataset, where, words, monkeypatch):
    monkeypatch.setenv('TFDS_DATA_DIR', str(dataset / 'nothing'))
    monkeypatch.setenv(prepared.BUCKET_VARIABLE, 'http://127.0.0.1:9')  # nobody answers there
    monkeypatch.setattr(web, 'FIRST_WAITS', ())
    with pytest.raises(errors.DataError, match=words):
        read('tfds:' + where.format(folder=dataset / 'tiny_texts' / '1.0.0'))
