"""Sources: what the string means, and that cutting loses, doubles and tears nothing."""

import bz2
import gzip
import io
import json
import lzma
import math
import random
import shutil
import sys
import tarfile
import time

import pytest
import zstandard

from electra_jax.config.settings import DataConfig
from electra_jax.core import errors, formats
from electra_jax.core.complaints import Complaints
from electra_jax.core.compressed import TornError
from electra_jax.corpus import arrays, divide, documents, files, prepared, sources, web


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
    pieces = sources.plan(sources.parse_source(source), complaints, piece_bytes)
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
    '.bz2': bz2.compress,
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
        ('/texts/', r'did you mean text:/texts/\?'),
        ('a.jsonl.gz#body', 'did you mean jsonl:a.jsonl.gz#body'),
        ('a/*.pq', r'did you mean parquet:a/\*\.pq'),
        ('txet:a.txt', "did you mean 'text'"),
        ('text:a.txt,jsnl:b', "did you mean 'jsonl'"),
        ('text:a.txt=0', 'above 0'),
    ],
)
def test_a_bad_source_is_refused(source, words):
    with pytest.raises(errors.ConfigError, match=words):
        sources.parse_source(source)


@pytest.mark.parametrize(
    ('row', 'meant'),
    [({'id': 'a1', 'body': 'good words'}, 'body'), ({'texts': 'a', 'more': 'b c'}, 'texts')],
)
def test_a_field_that_no_line_has_is_not_left_out(row, meant, tmp_path):
    (tmp_path / 'a.jsonl').write_text(f'{json.dumps(row)}\n' * 3)
    with pytest.raises(errors.DataError, match=f"line 1: .*did you mean '{meant}'") as raised:
        read(f'jsonl:{tmp_path}/a.jsonl', 10**6)
    assert 'on_bad_text' not in str(raised.value)


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
    pieces = sources.plan(sources.parse_source(f'text:{tmp_path}/a.txt'), complaints)
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


@pytest.mark.parametrize('piece_bytes', [2000, 10**7])
def test_the_lines_of_old_macs(tmp_path, piece_bytes, monkeypatch):
    monkeypatch.setattr(files, 'REACH_BYTES', 5000)
    wanted = write_documents(tmp_path / 'a.txt')
    raw = (tmp_path / 'a.txt').read_bytes()
    (tmp_path / 'b.txt').write_bytes(raw.replace(b'\n', b'\r'))
    (tmp_path / 'c.txt').write_bytes(raw.replace(b'\n', b'\r\r\n'))
    (tmp_path / 'd.txt.gz').write_bytes(gzip.compress(raw.replace(b'\n', b'\r')))
    for name in ['b.txt', 'c.txt', 'd.txt.gz']:
        found, _ = read(f'text:{tmp_path}/{name}', piece_bytes)
        assert joined(found) == wanted
        assert (len(found) > 5) == (piece_bytes == 2000)


def test_line_ends_of_all_kinds_in_one_file(tmp_path):
    (tmp_path / 'a.txt').write_bytes(b'a\rb\r\rc\r\nd\n\ne\rf\x85\xc2\x85g\xe2\x80\xa8h\vi\fj\n')
    found, _ = read(f'text:{tmp_path}/a.txt')
    # Next line, line separator, vertical tab and form feed are white space inside a line.
    assert joined(found) == [['a', 'b'], ['c', 'd'], ['e', 'f\ufffd\x85g\u2028h\vi\fj']]


def test_marks_of_joined_files_are_no_text(tmp_path):
    mark = '\ufeff'
    (tmp_path / 'a.txt').write_text(f'{mark}one\n{mark}two\n\n{mark}three, not {mark} here\n')
    found, _ = read(f'text:{tmp_path}/a.txt')
    assert joined(found) == [['one', 'two'], [f'three, not {mark} here']]
    (tmp_path / 'a.jsonl').write_text(f'{mark}{{"text": "one"}}\n{mark}{{"text": "two"}}\n')
    for name in ['a.jsonl', 'a.jsonl.gz']:
        (tmp_path / 'a.jsonl.gz').write_bytes(gzip.compress((tmp_path / 'a.jsonl').read_bytes()))
        assert joined(read(f'jsonl:{tmp_path}/{name}')[0]) == [['one'], ['two']]


@pytest.mark.parametrize('kind', ['text', 'jsonl'])
@pytest.mark.parametrize('encoding', ['utf-8', 'utf-16', 'utf-32'])
def test_a_file_of_a_mark_alone_is_empty(tmp_path, kind, encoding):
    (tmp_path / 'a').write_bytes('\ufeff\n'.encode(encoding))
    found, complaints = read(f'{kind}:{tmp_path}/a')
    assert joined(found) == []
    assert not complaints.counts


@pytest.mark.parametrize('piece_bytes', [2000, 10**7])
@pytest.mark.parametrize('encoding', ['utf-16', 'utf-16-le', 'utf-16-be', 'utf-32'])
def test_utf16_is_decoded(tmp_path, encoding, piece_bytes, monkeypatch):
    monkeypatch.setattr(files, 'REACH_BYTES', 5000)
    wanted = write_documents(tmp_path / 'a.txt')
    (tmp_path / 'b.txt').write_bytes((tmp_path / 'a.txt').read_text().encode(encoding))
    complaints = Complaints('data.on_bad_text')
    pieces = sources.plan(sources.parse_source(f'text:{tmp_path}/b.txt'), complaints, 2000)
    assert len(pieces) == 1  # it is not cut
    found = [lines for block in pieces[0].open(complaints) for docs, _ in block for lines in docs]
    assert found == wanted
    guessed = complaints.counts.get('guessed_encoding', (0, ''))
    assert guessed[0] == ('-' in encoding[4:]) and (not guessed[0] or encoding in guessed[1])


# ---------------------------------------------------------------------------------------------
# What is read of folders and archives


def make_tree(folder):
    """Files of many kinds, each with its name as text."""
    names = ['a.txt', 'B.TXT', 'c.text', 'wiki_00', 'sub/d.Txt', 'part.0001', 'Mr. Smith', 'x.md']
    for name in [*names, '.git/e.txt', '.f.txt', 'g.csv', 'h.csv', 'i.txt~']:
        (folder / name).parent.mkdir(exist_ok=True, parents=True)
        (folder / name).write_text(name)
    (folder / 'j.txt.bz2').write_bytes(bz2.compress(b'j.txt.bz2'))
    (folder / 'news.en.shuffled.gz').write_bytes(gzip.compress(b'news.en.shuffled.gz'))
    (folder / 'k.jsonl.gz').write_bytes(gzip.compress(b'{"text": "k"}'))
    (folder / 'l').write_bytes(bytes(range(256)) * 9)
    (folder / 'empty.txt').touch()
    packed = ['j.txt.bz2', 'news.en.shuffled.gz']
    return ['B.TXT', 'Mr. Smith', 'a.txt', 'c.text', *packed, 'part.0001', 'sub/d.Txt']


def test_every_file_of_a_folder_is_read_or_counted(tmp_path):
    names = make_tree(tmp_path / 'tree')
    elsewhere = tmp_path / 'elsewhere'
    elsewhere.mkdir()
    (elsewhere / 'm.txt').write_text('m.txt')
    for link, target in [
        ('linked', elsewhere),
        ('loop', '.'),
        ('again', 'sub'),
        ('n.txt', 'a.txt'),
        ('o.txt', 'nothing'),
        ('p.txt', elsewhere / 'm.txt'),
    ]:
        (tmp_path / 'tree' / link).symlink_to(target)
    found, complaints = read(f'text:{tmp_path}/tree')
    assert sorted(''.join(document) for document in joined(found)) == sorted(
        [*names, 'wiki_00', 'm.txt']
    )
    left_out = {k: n for k, (n, _) in complaints.counts.items() if k.startswith('left_out')}
    assert left_out == {
        'left_out:hidden': 2,
        'left_out:.csv': 2,
        'left_out:.md': 1,
        'left_out:.txt~': 1,
        'left_out:.jsonl': 1,
        'left_out:without an ending that are not text': 1,
        'left_out:broken link': 1,
        'left_out:second link to a file': 2,
    }
    assert complaints.counts['empty_file'][0] == 1
    line = next(line for line in complaints.lines() if 'left out' in line)
    assert line.startswith('11 files of folders or archives were left out: 2 .csv, ')


def test_a_pattern_reads_any_ending_and_each_file_once(tmp_path):
    make_tree(tmp_path)
    (tmp_path / 'loop').symlink_to('.')
    found, _ = read(f'text:{tmp_path}/**/*.csv')
    assert joined(found) == [['g.csv'], ['h.csv']]
    with pytest.raises(errors.DataError, match='no file'):
        read(f'text:{tmp_path}/su*')


def test_a_folder_without_text_lists_what_is_there(tmp_path):
    for name in ['a.pdf', 'b.pdf', 'c.csv', '.DS_Store']:
        (tmp_path / name).write_text('x')
    with pytest.raises(errors.DataError, match=r'2 \.pdf, 1 \.csv, 1 hidden.*/\*\*/\*\.ENDING'):
        read(f'text:{tmp_path}')


def test_json_lines_of_a_folder(tmp_path):
    for name in ['a.jsonl', 'B.JSONL', 'c.ndjson', 'd.json', 'wiki_00']:
        (tmp_path / name).write_text(f'{{"text": "{name}"}}\n')
    (tmp_path / 'README').write_text('not JSON')
    (tmp_path / 'f.txt').write_text('not JSON')
    found, complaints = read(f'jsonl:{tmp_path}')
    assert [lines[0] for lines in joined(found)] == [
        'B.JSONL',
        'a.jsonl',
        'c.ndjson',
        'd.json',
        'wiki_00',
    ]
    assert set(complaints.counts) == {
        'left_out:without an ending that are not JSON',
        'left_out:.txt',
    }


def pack_tree(folder, path, mode):
    with tarfile.open(path, mode) as archive:
        archive.add(folder, '.')


@pytest.mark.parametrize('mode', ['w', 'w:xz'])
def test_members_of_an_archive_are_read_as_the_files_of_a_folder(tmp_path, mode):
    (tmp_path / 'tree').mkdir()
    names = make_tree(tmp_path / 'tree')
    (tmp_path / 'tree' / 'l').unlink()
    pack_tree(tmp_path / 'tree', tmp_path / 'data', mode)
    found, complaints = read(f'text:{tmp_path}/data')
    assert sorted(''.join(document) for document in joined(found)) == sorted([*names, 'wiki_00'])
    counts = {k: n for k, (n, _) in complaints.counts.items()}
    assert counts['left_out:.csv'] == 2 and counts['left_out:hidden'] == 2
    assert f'{tmp_path}/data/' in complaints.counts['left_out:.csv'][1]


def test_json_lines_in_an_archive(tmp_path):
    (tmp_path / 'tree').mkdir()
    write_json(tmp_path / 'tree' / 'a.jsonl', ['one', 'two'])
    (tmp_path / 'tree' / 'b.jsonl.zst').write_bytes(
        COMPRESSORS['.zst'](b'{"text": "three"}\n[1]\n')
    )
    pack_tree(tmp_path / 'tree', tmp_path / 'data.tgz', 'w:gz')
    with pytest.raises(errors.DataError, match=r'data\.tgz/b\.jsonl\.zst, line 2: .*found a list'):
        read(f'jsonl:{tmp_path}/data.tgz')
    found, _ = read(f'jsonl:{tmp_path}', skip=True)
    assert sorted(joined(found)) == [['one'], ['one'], ['three'], ['three'], ['two'], ['two']]


def test_a_member_that_is_no_text_is_refused(tmp_path):
    with tarfile.open(tmp_path / 'a.tar', 'w') as archive:
        for name, data in [('a.txt', b'one'), ('b.txt', b'%PDF-1.7'), ('c.txt', b'two')]:
            info = tarfile.TarInfo(name)
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
    with pytest.raises(errors.DataError, match=r'a\.tar/b\.txt: it is a PDF'):
        read(f'text:{tmp_path}/a.tar')
    found, complaints = read(f'text:{tmp_path}/a.tar', skip=True)
    assert joined(found) == [['one'], ['two']]
    assert complaints.counts['unreadable_file'][0] == 1


def test_what_is_no_text_is_refused_before_anything_is_read(tmp_path):
    (tmp_path / 'a.txt').write_text('fine')
    (tmp_path / 'b.txt').write_bytes('Привет, мир'.encode('cp1251'))
    entries = sources.parse_source(f'text:{tmp_path}')
    with pytest.raises(errors.DataError, match=r'b\.txt: it is not UTF-8.*iconv.*on_bad_text=skip'):
        sources.plan(entries, Complaints('data.on_bad_text'))
    (piece,) = sources.plan(entries, Complaints('data.on_bad_text', 'skip'))
    assert piece.read_bytes == 4


def test_json_read_as_plain_text_is_reported(tmp_path):
    write_json(tmp_path / 'a.jsonl', ['one'])
    (tmp_path / 'b.txt').write_text('{curly} text')
    found, complaints = read(f'text:{tmp_path}/*')
    assert len(joined(found)) == 2
    assert complaints.counts == {'json_as_text': (1, f'{tmp_path}/a.jsonl')}


@pytest.mark.parametrize('name', ['a.txt', 'a.txt.gz'])
def test_a_file_can_be_one_document(tmp_path, name, monkeypatch):
    monkeypatch.setattr(files, 'REACH_BYTES', 5000)
    wanted = write_documents(tmp_path / 'a.txt')
    (tmp_path / 'a.txt.gz').write_bytes(gzip.compress((tmp_path / 'a.txt').read_bytes()))
    lines = [line for document in wanted for line in document]
    (whole,) = documents_of(f'text:{tmp_path}/{name}', 10**7)
    assert whole == lines
    # A large one is cut, as others are.
    cut = documents_of(f'text:{tmp_path}/{name}', 2000)
    assert len(cut) > 5 and [line for document in cut for line in document] == lines


def documents_of(source: str, piece_bytes: int) -> list[list[str]]:
    """Documents, where each ends with its file."""
    complaints = Complaints('data.on_bad_text')
    pieces = sources.plan(sources.parse_source(source, 'file'), complaints, piece_bytes)
    parts = [part for piece in pieces for part in piece.parts]
    return [lines for part in parts for block in part.open(complaints) for lines in block.documents]


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


@pytest.mark.parametrize('ending', ['\r', '\r\n', '\r\r\n'])
@pytest.mark.parametrize('piece_bytes', [500, 10**7])
def test_json_lines_of_other_systems(tmp_path, piece_bytes, ending):
    lines = [json.dumps({'text': f'document {i}'}) for i in range(100)]
    lines[70] = '[1]'
    (tmp_path / 'a.jsonl').write_bytes(ending.join([*lines, '']).encode())
    (tmp_path / 'b.jsonl.gz').write_bytes(gzip.compress((tmp_path / 'a.jsonl').read_bytes()))
    for name in ['a.jsonl', 'b.jsonl.gz']:
        found, complaints = read(f'jsonl:{tmp_path}/{name}', piece_bytes, skip=True)
        assert joined(found) == [[f'document {i}'] for i in range(100) if i != 70]
        assert f'{name}, line 71: ' in complaints.counts['bad_json'][1]
        assert (len(found) > 3) == (piece_bytes == 500)


TEXTS_OF_ARRAY = ['one, "two"\n[', ' \\', '[{"text": "five"}]', 'é' * 3000]


@pytest.mark.parametrize('indent', [None, 2])
@pytest.mark.parametrize('ascii_only', [False, True])
@pytest.mark.parametrize('packed', [False, True])
@pytest.mark.parametrize('piece_bytes', [500, 10**7])
def test_an_array_of_objects_is_read_a_piece_at_a_time(
    tmp_path, indent, ascii_only, packed, piece_bytes
):
    rows = [{'id': [i, {}], 'text': text} for i, text in enumerate(TEXTS_OF_ARRAY * 50)]
    data = json.dumps(rows, indent=indent, ensure_ascii=ascii_only).encode()
    path = tmp_path / ('a.json.gz' if packed else 'a.json')
    path.write_bytes(gzip.compress(data) if packed else data)
    complaints = Complaints('data.on_bad_text')
    (piece,) = sources.plan(sources.parse_source(f'jsonl:{tmp_path}'), complaints, piece_bytes)
    found = [[one for each, _ in group for one in each] for group in piece.open(complaints)]
    assert (len(found) > 20) == (piece_bytes == 500)
    wanted = [text.strip().split('\n') for text in TEXTS_OF_ARRAY * 50]
    assert joined(found) == wanted and not complaints.counts


@pytest.mark.parametrize('size', [1, 2, 3, 7])
def test_an_array_may_be_cut_anywhere(size):
    data = json.dumps([{'text': text} for text in TEXTS_OF_ARRAY], indent=1).encode()
    chunks = [data[i : i + size] for i in range(0, len(data), size)]
    lines = b''.join(arrays.as_lines(chunks))
    assert len(lines) == len(data)
    found = [json.loads(line)['text'] for line in lines.splitlines() if line.strip()]
    assert found == TEXTS_OF_ARRAY


def test_json_lines_that_are_torn_near_the_start_are_read_up_to_there(tmp_path):
    path = tmp_path / 'a.jsonl.gz'
    path.write_bytes(gzip.compress(b'{}'))
    complaints = Complaints('data.on_bad_text', 'skip')
    (part,) = files.parts(*sources.parse_source(f'jsonl:{path}'), 10**6, complaints)

    def torn():
        yield b'{"text": "one"}\n'
        raise TornError('it is torn')

    blocks = part._blocks(formats.Text(str(path), '', torn()))
    assert next(blocks)[0] == b'{"text": "one"}\n'
    with pytest.raises(TornError):
        next(blocks)


def test_what_is_wrong_in_an_array_is_named(tmp_path):
    path = tmp_path / 'a.json'
    path.write_text('[{"text": "one"}, 3, {"text": "two"}]\n{"text": "three"}\n')
    with pytest.raises(errors.DataError, match=r'a\.json, object 2: .* found a int'):
        read(f'jsonl:{path}')
    found, complaints = read(f'jsonl:{path}', skip=True)
    assert joined(found) == [['one'], ['two'], ['three']]
    assert complaints.counts.keys() == {'bad_json'}
    path.write_text('[{"text": "one"}, {"text": "two"}')
    with pytest.raises(errors.DataError, match=r'a\.json: it is torn: .* inside a JSON array'):
        read(f'jsonl:{path}')
    found, complaints = read(f'jsonl:{path}', skip=True)
    assert joined(found) == [['one'], ['two']] and complaints.counts.keys() == {'torn_file'}


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
def test_a_file_is_what_its_bytes_are_and_not_its_name(tmp_path, suffix):
    path = tmp_path / f'a.txt{suffix}'
    path.write_bytes(b'plain text, not compressed at all')
    found, complaints = read(f'text:{path}')
    assert joined(found) == [['plain text, not compressed at all']]
    assert complaints.counts == {'not_packed': (1, str(path))}
    (tmp_path / 'b.txt').write_bytes(COMPRESSORS[suffix](b'packed'))
    assert joined(read(f'text:{tmp_path}/b.txt')[0]) == [['packed']]
    path.write_bytes(b'\0' + COMPRESSORS[suffix](b'damaged at its beginning' * 99))
    with pytest.raises(errors.DataError, match=f'{path.name}: it is not text'):
        read(f'text:{path}')


@pytest.mark.parametrize('suffix', ['.zip', '.TAR', '.tgz'])
def test_what_is_left_of_a_torn_archive_is_no_text_in_silence(tmp_path, suffix):
    path = tmp_path / f'a{suffix}'
    path.write_bytes(b'PK')
    assert read(f'text:{path}')[1].counts == {'not_packed': (1, str(path))}


def test_odd_bytes_are_mended_and_counted(tmp_path):
    path = tmp_path / 'a.txt'
    path.write_bytes(b'fine\n\nbad \xff byte\n\nNUL \x00 here\n\nbad \xfe again\n\n\x00\n')
    (tmp_path / 'empty.txt').write_bytes(b'')
    found, complaints = read(f'text:{tmp_path}')
    assert joined(found) == [['fine'], ['bad \ufffd byte'], ['NUL  here'], ['bad \ufffd again']]
    assert complaints.counts == {
        'empty_file': (1, f'{tmp_path}/empty.txt'),
        'not_utf8': (2, f'{path}, line 3, character 5'),
        'nul': (2, f'{path}, line 5'),
        'empty_document': (1, f'{path}, line 9'),
    }
    assert any('2 documents held bytes that are not UTF-8' in line for line in complaints.lines())


def test_half_a_character_of_utf_16_is_one_replacement_and_no_other_encoding(tmp_path):
    text = '\ufeffhalf \ud83d, whole \U0001f600\n'.encode('utf-16-le', 'surrogatepass')
    (tmp_path / 'a.txt').write_bytes(text)
    found, complaints = read(f'text:{tmp_path}')
    assert joined(found) == [['half \ufffd, whole \U0001f600']]
    (line,) = complaints.lines()
    assert 'half of a UTF-16 character' in line and 'iconv' not in line


def test_characters_of_html_are_kept_and_reported(tmp_path):
    (tmp_path / 'a.txt').write_text('you &amp; me\n\nR&D; &co\n\n&#8217;\n')
    found, complaints = read(f'text:{tmp_path}')
    assert joined(found) == [['you &amp; me'], ['R&D; &co'], ['&#8217;']]
    assert complaints.counts == {'entities': (2, f'{tmp_path}/a.txt, line 1')}


def test_a_field_that_is_there_twice_is_refused(tmp_path):
    (tmp_path / 'a.jsonl').write_text('{"text": "one", "more": {"text": 1}}\n')
    assert joined(read(f'jsonl:{tmp_path}')[0]) == [['one']]
    (tmp_path / 'a.jsonl').write_text('{"text": "one", "text": "two"}\n')
    with pytest.raises(errors.DataError, match=r"line 1: the field 'text' is there twice"):
        read(f'jsonl:{tmp_path}')


def test_half_characters_in_json_are_mended(tmp_path):
    (tmp_path / 'a.jsonl').write_text('{"text": "half \\ud83d, whole \\ud83d\\ude00"}\n')
    found, complaints = read(f'jsonl:{tmp_path}/a.jsonl')
    assert joined(found) == [['half \ufffd, whole 😀']]
    assert complaints.counts.keys() == {'half_character'}
    divide.divide(joined(found)[0], 1.0, DataConfig(row_length=128), math.inf)  # can be encoded


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
    monkeypatch.setitem(sys.modules, 'tensorflow_datasets', None)  # which is not needed
    monkeypatch.setenv('TFDS_DATA_DIR', str(dataset))
    assert sorted(joined(read('tfds:tiny_texts:train', 300)[0])) == wanted


def test_a_damaged_size_of_a_dataset_makes_no_endless_plan(dataset, tmp_path):
    folder = shutil.copytree(dataset / 'tiny_texts' / '1.0.0', tmp_path / '1.0.0')
    info = json.loads((folder / 'dataset_info.json').read_text())
    info['splits'][0]['numBytes'] = str(10**22)
    (folder / 'dataset_info.json').write_text(json.dumps(info))
    found, _ = read(f'tfds:{folder}:train', 1_000_000)
    assert len(joined(found)) == 60


def held_out_pieces(source, held_out, piece_bytes=10**7):
    """Whether each piece is held out, and its number of documents; and complaints."""
    complaints = Complaints('data.on_bad_text', 'error')
    entries = sources.parse_source(source) + sources.parse_source(held_out, held_out=True)
    pieces = sources.plan(entries, complaints, piece_bytes)
    found = []
    for piece in pieces:
        texts = [text for group in piece.open(complaints) for some, _ in group for text in some]
        found.append((piece.held_out, len(texts)))
    return found, complaints


def test_slices_of_a_dataset_are_trained_on_and_held_out(dataset):
    folder = dataset / 'tiny_texts' / '1.0.0'
    found, complaints = held_out_pieces(f'tfds:{folder}:train[:50]', f'tfds:{folder}:train[50:]')
    assert found == [(False, 50), (True, 10)] and not complaints.counts


def test_a_file_of_several_parts_that_is_only_held_out_counts_once(tmp_path):
    (tmp_path / 'a.txt').write_text('A document of some words.\n\n' * 20_000)
    (tmp_path / 'b.txt').write_text('Another.\n')
    found, complaints = held_out_pieces(f'text:{tmp_path}', f'text:{tmp_path}/a.txt', 100_000)
    assert found[0] == (False, 1) and len(found) > 3 and all(one[0] for one in found[1:])
    assert complaints.counts['left_out:only held out'][0] == 1


@pytest.mark.parametrize(
    ('where', 'words'),
    [
        ('{folder}', 'needs a dataset and a split'),
        ('{folder}:trian', 'trian'),
        ('{folder}:train#body', 'no text field .body.; it has text, title'),
        ('wikipedia/20230601.en:train', '9 cannot be read .*data.source=text:FOLDER'),
    ],
)
def test_a_dataset_that_is_not_there_says_what_to_type(dataset, where, words, monkeypatch):
    monkeypatch.setenv('TFDS_DATA_DIR', str(dataset / 'nothing'))
    monkeypatch.setenv(prepared.BUCKET_VARIABLE, 'http://127.0.0.1:9')  # nobody answers there
    monkeypatch.setattr(web, 'FIRST_WAITS', ())
    with pytest.raises(errors.DataError, match=words):
        read('tfds:' + where.format(folder=dataset / 'tiny_texts' / '1.0.0'))


def test_tables_and_markup_read_as_plain_text_are_reported(tmp_path):
    for name in ('a.csv', 'b.TSV', 'c.html', 'd.xml', 'e.md'):
        (tmp_path / name).write_text('one,two')
    (tmp_path / 'f.csv.gz').write_bytes(gzip.compress(b'one'))
    found, complaints = read(f'text:{tmp_path}/*')
    assert len(joined(found)) == 6
    assert {reason: number for reason, (number, _) in complaints.counts.items()} == {
        'table_as_text': 3,
        'markup_as_text': 2,
    }


def test_a_folder_inside_that_cannot_be_read_is_named(tmp_path, monkeypatch):
    (tmp_path / 'a.txt').write_text('one')
    closed = tmp_path / 'closed'
    closed.mkdir()
    scandir = files.os.scandir

    def guarded(path):
        if str(path) == str(closed):
            raise PermissionError(13, 'Permission denied', str(closed))
        return scandir(path)

    monkeypatch.setattr(files.os, 'scandir', guarded)
    with pytest.raises(errors.DataError, match=rf'{closed}.*Permission denied.*chmod -R u\+rX'):
        read(f'text:{tmp_path}')
