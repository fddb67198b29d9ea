"""What a file is by its first bytes, and the texts in it."""

import bz2
import gzip
import io
import lzma
import pathlib
import random
import struct
import tarfile
import zipfile

import pytest
import zstandard

from electra_jax.core import compressed, formats

TEXT = 'A line.\nПривет мир, ещё строка.\n　　今天我们去北京玩。\n'  # noqa: RUF001
PACK = {
    '.gz': gzip.compress,
    '.bz2': bz2.compress,
    '.xz': lzma.compress,
    '.zst': zstandard.ZstdCompressor().compress,
}


def tar_of(members: dict[str, bytes], kind: int = tarfile.PAX_FORMAT) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode='w', format=kind) as archive:
        for name, data in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
        link = tarfile.TarInfo('link')
        link.type, link.linkname = tarfile.SYMTYPE, '/etc/passwd'
        archive.addfile(link)
    return buffer.getvalue()


def zip_of(members: dict[str, bytes], method: int = zipfile.ZIP_DEFLATED) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, 'w', method) as archive:
        for name, data in members.items():
            archive.writestr(name, data)
    return buffer.getvalue()


def read(path: pathlib.Path, data: bytes) -> list[tuple[str, str, str]]:
    """Member, text and problem of every text."""
    path.write_bytes(data)
    return [
        (text.member, b''.join(text.chunks).decode(), text.problem) for text in formats.texts(path)
    ]


@pytest.mark.parametrize('language', ['English', 'Russian', 'Chinese', 'all'])
@pytest.mark.parametrize('marked', [True, False])
@pytest.mark.parametrize('encoding', ['utf-8', 'utf-16-le', 'utf-16-be', 'utf-32-le', 'utf-32-be'])
def test_unicode_is_known_with_and_without_a_mark(tmp_path, encoding, marked, language):
    lines = TEXT.splitlines(keepends=True)
    text = {'English': lines[0], 'Russian': lines[1], 'Chinese': lines[2]}.get(language, TEXT) * 500
    data = (marked * '\ufeff' + text).encode(encoding)
    assert formats.of(data[: formats.HEAD_BYTES]).encoding == encoding
    assert read(tmp_path / 'a', data) == [('', text, '')]


def test_half_a_character_stays_visible(tmp_path):
    (tmp_path / 'a').write_bytes('\ufeffone 😀 two\n'.encode('utf-16-le')[:-1])
    (text,) = formats.texts(tmp_path / 'a')
    data = b''.join(text.chunks)
    assert data.startswith('one 😀 two'.encode())
    with pytest.raises(UnicodeDecodeError):
        data.decode()


@pytest.mark.parametrize('suffix', PACK)
@pytest.mark.parametrize('inner', ['plain', 'utf-16', 'tar', 'twice'])
def test_what_is_compressed_is_unpacked(tmp_path, suffix, inner):
    text = TEXT * 3000
    data = {
        'plain': text.encode(),
        'utf-16': text.encode('utf-16'),
        'tar': tar_of({'b.txt': text.encode()}),
        'twice': gzip.compress(text.encode()),
    }[inner]
    packed = PACK[suffix](data)
    assert formats.of(packed[: formats.HEAD_BYTES]).packed == suffix
    assert PACK[suffix](b'') == b'' or formats.of(PACK[suffix](b'')).packed == suffix
    assert read(tmp_path / 'a', packed) == [('b.txt' if inner == 'tar' else '', text, '')]


@pytest.mark.parametrize('make', [tar_of, zip_of])
def test_members_of_archives_are_texts(tmp_path, make):
    members = {
        'a.txt': b'one\n',
        'sub/b.txt': 'two é\n'.encode('utf-16'),
        'c.txt.gz': gzip.compress(b'three\n'),
        'd.pdf': b'%PDF-1.7 ...',
        'empty.txt': b'',
    }
    found = read(tmp_path / 'a', make(members))
    assert [one[:2] for one in found] == [
        ('a.txt', 'one\n'),
        ('sub/b.txt', 'two é\n'),
        ('c.txt.gz', 'three\n'),
        ('d.pdf', ''),
        ('empty.txt', ''),
    ]
    assert [bool(problem) for *_, problem in found] == [False, False, False, True, False]


@pytest.mark.parametrize('kind', [tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT])
def test_tar_is_known_by_its_checksum(kind):
    data = bytearray(tar_of({'a.txt': b'one\n'}, kind))
    assert formats.of(bytes(data[:4096])).packed == '.tar'
    data[257:265] = bytes(8)  # as before POSIX
    data[148:156] = b'%06o\0 ' % (sum(data[:148]) + sum(data[156:512]) + 8 * 32)
    assert formats.of(bytes(data[:4096])).packed == '.tar'


def test_skipped_members_are_passed_over(tmp_path):
    (tmp_path / 'a').write_bytes(tar_of({'a': b'one' * 99999, 'b': b'two'}))
    assert [text.member for text in formats.texts(tmp_path / 'a')] == ['a', 'b']


@pytest.mark.parametrize('make', [tar_of, zip_of])
@pytest.mark.parametrize('suffix', ['', '.gz'])
def test_torn_archives_are_refused(tmp_path, make, suffix):
    rng = random.Random(0)
    words = ' '.join(str(rng.random()) for _ in range(20_000)).encode()
    data = make({'a': words, 'b': words})
    data = PACK[suffix](data) if suffix else data
    if make is zip_of and suffix:
        assert 'zip file inside another' in read(tmp_path / 'a', data)[0][2]
        return
    for size in [len(data) * 3 // 4, len(data) // 4]:
        with pytest.raises(compressed.TornError):
            read(tmp_path / 'a', data[:size])


def test_a_member_without_a_name_is_damage(tmp_path):
    data = zip_of({'a': b'one'})
    at = data.rindex(b'PK\x01\x02')  # the directory; its entry starts with the name at byte 46
    nameless = data[: at + 28] + b'\0\0' + data[at + 30 : at + 46] + data[at + 47 :]
    end = nameless.rindex(b'PK\x05\x06')
    size = int.from_bytes(nameless[end + 12 : end + 16], 'little') - 1
    nameless = nameless[: end + 12] + size.to_bytes(4, 'little') + nameless[end + 16 :]
    with pytest.raises(compressed.TornError, match='no name'):
        read(tmp_path / 'a', nameless)


def test_archives_after_one_another_are_refused(tmp_path):
    with pytest.raises(compressed.TornError, match='ignore-zeros'):
        read(tmp_path / 'a', tar_of({'a': b'one'}) + tar_of({'b': b'two'}))


def test_damage_inside_a_zip_file_is_found(tmp_path):
    data = bytearray(zip_of({'a.txt': b'one two three' * 9}, zipfile.ZIP_STORED))
    data[60] ^= 1
    with pytest.raises(compressed.TornError, match='CRC'):
        read(tmp_path / 'a', bytes(data))


def test_a_zip_file_of_a_version_that_there_is_not_is_damaged(tmp_path):
    data = bytearray(zip_of({'a.txt': b'one two three' * 9}))
    data[data.rindex(b'PK\x01\x02') + 6] = 84
    with pytest.raises(compressed.TornError, match=r'version 8\.4'):
        read(tmp_path / 'a', bytes(data))


@pytest.mark.parametrize(
    ('data', 'words'),
    [
        (b'%PDF-1.7\n\xff', 'pdftotext'),
        (b'PAR1\x15\x04', 'parquet:'),
        (b'SQLite format 3\0' + bytes(80), 'sqlite3'),
        (b'7z\xbc\xaf\x27\x1c' + bytes(80), '7z x'),
        (zip_of({'[Content_Types].xml': b'<', 'word/document.xml': b'<'}), 'pandoc'),
        (zip_of({'mimetype': b'application/epub+zip'}), 'pandoc'),
        (TEXT.encode('gb18030'), 'iconv'),
        ('Привет, мир.'.encode('cp1251'), 'iconv'),
        ('今日は東京に行く'.encode('iso-2022-jp'), 'iconv'),
        ('สวัสดีชาวโลก'.encode('utf-16-be'), 'iconv'),
        (random.Random(0).randbytes(5000), 'not text'),
        (bytes(5000), 'not text'),
        (struct.pack('<2000i', *random.Random(0).choices(range(30522), k=2000)), 'not text'),
        (struct.pack('<2000H', *random.Random(0).choices(range(30522), k=2000)), 'not text'),
    ],
)
def test_what_is_no_text_has_a_command_that_helps(tmp_path, data, words):
    ((_, text, problem),) = read(tmp_path / 'a b', data)
    assert not text and words in problem and ('{}' not in problem)
    assert words == 'not text' or "a b'" in problem


def test_some_damage_does_not_change_what_text_is():
    assert formats.of(b'fine\n\nbad \xff byte\n\nNUL \x00 here\n\nbad \xfe too\n').is_plain
    assert formats.of('déjà vu, où est-ce ?\n'.encode('latin-1') * 9).is_plain
    assert formats.of(b'\x1b[31mred\x1b[0m in a terminal\n' * 9).is_plain
    assert formats.of(b'').is_plain
    assert formats.of('字'.encode()[:2]).is_plain


def test_a_zip_file_whose_directory_seems_empty_is_damaged(tmp_path):
    data = bytearray(zip_of({'a.txt': b'text'}))
    data[-10:-6] = bytes(4)  # the size of the directory
    with pytest.raises(compressed.TornError, match='holds no file'):
        read(tmp_path / 'a', bytes(data))


def test_a_zip_file_with_a_password_has_the_command(tmp_path):
    data = bytearray(zip_of({'a.txt': b'one'}))
    for magic, at in ((b'PK\x03\x04', 6), (b'PK\x01\x02', 8)):
        data[data.index(magic) + at] |= 1
    ((member, _, problem),) = read(tmp_path / 'a.zip', bytes(data))
    assert member == 'a.txt' and f'unzip {tmp_path}/a.zip' in problem


def test_archives_in_one_another_have_a_limit(tmp_path):
    data = b'text'
    for _ in range(10):
        data = gzip.compress(data)
    ((_, text, problem),) = read(tmp_path / 'a', data)
    assert not text and 'archives in one another' in problem


def test_line_ends():
    lines = b'a\nb\r\nc\rd\r\r\ne\n\rf'
    assert formats.with_line_feeds(lines) == b'a\nb\nc\nd\ne\n\nf'
