"""Text as people write it: known lines in any script, encoding, line ends, packing and file name.

What is written is known, so a reader that gives back something else is caught.
"""

import bz2
import codecs
import gzip
import io
import lzma
import pathlib
import random
import tarfile
import zipfile
from collections.abc import Callable, Sequence
from typing import NamedTuple

import zstandard

from tools.fuzz.target import fresh

STEM = 'known'  # in the name of every file, by which a refusal is recognized


def _letters(first: str, last: str) -> str:
    return ''.join(map(chr, range(ord(first), ord(last) + 1)))


# Words of most scripts have spaces between; those of the last ones do not.
SCRIPTS = {
    'latin': 'abcdefghijklmnopqrstuvwxyz',
    'accents': 'éèüßñçøåæ',
    'capitals': 'ABCDEFGHIJ' + 'İÉÜ',
    'greek': _letters('\u03b1', '\u03c9'),
    'cyrillic': _letters('\u0430', '\u044f'),
    'hebrew': _letters('א', 'ת'),
    'arabic': _letters('\u0627', '\u063a'),
    'devanagari': _letters('क', 'ह') + 'ािी्',
    'hangul': _letters('가', '깋'),
    'digits': '0123456789',
    'marks': '.,!?:()-/&%…“”',
    'emoji': '🙂🎉🚀👩\u200d',
    'astral': _letters('\U0001d400', '\U0001d419') + '𠀀𠀋',
    'decomposed': 'e\u0301a\u0308o',
    'han': _letters('一', '亿'),
    'kana': _letters('あ', 'ん') + 'アイウ',
    'thai': _letters('ก', 'ฮ') + 'ะัา',
}
_WITHOUT_SPACES = ('han', 'kana', 'thai')

# Encodings of one script or a few: codec -> scripts that it can write.
_NATIONAL = {
    'latin-1': ('latin', 'accents'),
    'cp1252': ('latin', 'accents'),
    'cp1251': ('cyrillic', 'latin'),
    'gb18030': ('han', 'latin'),
    'shift_jis': ('kana',),
    'iso2022_jp': ('kana',),
    'euc_kr': ('hangul', 'latin'),
}
_UNICODE = ('utf-16-le', 'utf-16-be', 'utf-32-le', 'utf-32-be')


class Encoding(NamedTuple):
    """How text becomes bytes."""

    codec: str
    mark: bytes  # before the text
    scripts: Sequence[str]  # that it can write
    sure: bool  # whether every reader of text files can know it

    def encode(self, text: str) -> bytes:
        """The bytes of a whole file; with the mark where they would be another text in ASCII.

        They are those of UTF-8 where those of an old encoding would be another text in UTF-8.
        """
        data = self.mark + text.encode(self.codec)
        if self.codec in _NATIONAL and not data.isascii() and _is_utf8(data):
            return text.encode()
        if (
            self.codec in _UNICODE
            and data.isascii()
            and data.decode().replace('\n', '').isprintable()
        ):
            return '\ufeff'.encode(self.codec) + data
        return data


def _is_utf8(data: bytes) -> bool:
    try:
        data.decode()
    except UnicodeDecodeError:
        return False
    return True


def encoding(rng: random.Random) -> Encoding:
    """Mostly UTF-8; otherwise another Unicode encoding, with its mark or without, or an old one."""
    kind = rng.random()
    if kind < 0.6:
        return Encoding('utf-8', rng.choice((b'', b'', codecs.BOM_UTF8)), list(SCRIPTS), True)
    if kind < 0.85:
        codec = rng.choice(_UNICODE)
        marked = rng.random() < 0.6
        return Encoding(codec, '\ufeff'.encode(codec) * marked, list(SCRIPTS), marked)
    codec = rng.choice(list(_NATIONAL))
    return Encoding(codec, b'', _NATIONAL[codec], False)


def word(rng: random.Random, scripts: Sequence[str] = tuple(SCRIPTS)) -> str:
    """Some letters of one script."""
    letters = SCRIPTS[rng.choice(scripts)]
    return ''.join(rng.choices(letters, k=rng.choice((1, 2, 3, 5, 8))))


def line(rng: random.Random, scripts: Sequence[str] = tuple(SCRIPTS), most: int = 8) -> str:
    """Some words of one or two scripts; without white space at its ends."""
    chosen = rng.sample(list(scripts), min(len(scripts), rng.choice((1, 1, 2))))
    between = '' if chosen[0] in _WITHOUT_SPACES else ' '
    if 'accents' in scripts and rng.random() < 0.05:
        between = '\u00a0'
    return between.join(word(rng, chosen) for _ in range(rng.randint(1, most)))


# ---------------------------------------------------------------------------------------------
# Lines


class Ends(NamedTuple):
    """What is at the end of a line."""

    choices: Sequence[str]
    sure: bool = True  # whether every reader of text files knows these as line ends

    @property
    def simple(self) -> bool:
        """Whether they are those of one system, or of two that end lines alike."""
        return self.sure and ('\r' not in self.choices or len(self.choices) == 1)

    def join(self, rng: random.Random, lines: Sequence[str], last: bool = True) -> str:
        """The lines, each with its end; at `last` also the last one."""
        out = []
        for number, text in enumerate(lines):
            following = lines[number + 1 : number + 2]
            end = rng.choice(self.choices)
            if end == '\r' and len(self.choices) > 1 and not (following and following[0]):
                end = '\n'  # before the end of a blank line it would be half of '\r\n'
            out += [text, end if following or last else '']
        return ''.join(out)


LINE_FEEDS, WINDOWS, OLD_MAC = Ends(('\n',)), Ends(('\r\n',)), Ends(('\r',))


def ends(rng: random.Random) -> Ends:
    """Those of one system, or a mixture."""
    return rng.choice(
        (
            LINE_FEEDS, LINE_FEEDS, LINE_FEEDS, WINDOWS, WINDOWS, OLD_MAC, Ends(('\n', '\r\n')),
            Ends(('\n', '\r\n', '\r')), Ends(('\r\r\n',), False),
        )
    )  # fmt: skip


# ---------------------------------------------------------------------------------------------
# Packing


def _zstd(data: bytes) -> bytes:
    return zstandard.ZstdCompressor(level=1, write_checksum=True).compress(data)


COMPRESS: dict[str, Callable[[bytes], bytes]] = {
    '.gz': lambda data: gzip.compress(data, 1, mtime=0),
    '.bz2': lambda data: bz2.compress(data, 1),
    '.xz': lambda data: lzma.compress(data, preset=0),
    '.zst': _zstd,
}
ARCHIVES = ('.tar', '.tar.gz', '.tgz', '.tar.bz2', '.tar.xz', '.zip')


def compress(rng: random.Random, data: bytes, suffix: str) -> bytes:
    """One member or frame, or two one after the other."""
    pack = COMPRESS[suffix]
    at = rng.randint(0, len(data)) if rng.random() < 0.2 else 0
    return pack(data[:at]) + pack(data[at:]) if at else pack(data)


def archive(rng: random.Random, members: Sequence[tuple[str, bytes]], suffix: str) -> bytes:
    """An archive of named members, with a folder or without."""
    out, folder = io.BytesIO(), rng.choice(('', '', 'data/', './'))
    if suffix == '.zip':
        kind = rng.choice((zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED))
        with zipfile.ZipFile(out, 'w', kind) as zipped:
            if folder == 'data/':
                zipped.writestr(zipfile.ZipInfo(folder), b'')
            for name, data in members:
                zipped.writestr(zipfile.ZipInfo(folder + name), data, kind)
        return out.getvalue()
    form = rng.choice((tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT))
    with tarfile.open(fileobj=out, mode='w', format=form) as tarred:
        for name, data in members:
            info = tarfile.TarInfo(folder + name)
            info.size = len(data)
            tarred.addfile(info, io.BytesIO(data))
    data = out.getvalue()
    inner = {'.tgz': '.gz'}.get(suffix, suffix.removeprefix('.tar'))
    return COMPRESS[inner](data) if inner else data


def damaged(rng: random.Random, packed: bytes) -> bytes:
    """Packed data that was cut off, or has other bytes at a position."""
    at = rng.randrange(len(packed))
    if rng.random() < 0.5:
        return packed[:at]
    data = bytearray(packed)
    if rng.random() < 0.5:
        data[at] ^= 1 << rng.randrange(8)
    else:
        stop = min(at + rng.choice((4, 64)), len(data))
        data[at:stop] = bytes(stop - at)
    return bytes(data)


# ---------------------------------------------------------------------------------------------
# Files


def path_of(
    rng: random.Random, folder: pathlib.Path, ending: str, plain: bool = False
) -> pathlib.Path:
    """A path in a new folder, whose name has the ending; not `plain`: in any case, or without."""
    case = fresh(folder / 'case')
    name = rng.choice(
        (STEM, STEM, f'{STEM} (1)', f'{STEM}.v2', f'{STEM}é東', f'{STEM},a', f'{STEM}[1]')
    )
    if not plain:
        ending = rng.choice((ending,) * 6 + (ending.upper(), '', '.txt', '.1'))
        name = rng.choice((name,) * 9 + (f'.{name}',))
    return case / f'{name}{ending}'
