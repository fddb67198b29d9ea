"""What a file is, by its first bytes and not by its name; and the texts in it, as UTF-8.

Texts are found inside compressed files and archives, and inside those that are in one another.
"""

import codecs
import contextlib
import itertools
import lzma
import pathlib
import re
import shlex
import unicodedata
import zlib
from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple

from electra_jax.core import compressed
from electra_jax.core.errors import first_line

# A character written as in HTML; what begins so in text is hardly ever anything else.
ENTITY = re.compile(r'&(?:amp|lt|gt|quot|apos|nbsp|#[0-9]{1,7}|#x[0-9a-fA-F]{1,6});')
HEAD_BYTES = 4096  # so much of a file shows what it is
_MOST_LAYERS = 6  # of compressions and archives in one another
_CHUNK_BYTES = 1 << 16

_MARKS = {
    b'\xef\xbb\xbf': 'utf-8',
    b'\xff\xfe\0\0': 'utf-32-le',  # before UTF-16, whose mark it begins with
    b'\0\0\xfe\xff': 'utf-32-be',
    b'\xff\xfe': 'utf-16-le',
    b'\xfe\xff': 'utf-16-be',
}
_COMPRESSED = {
    rb'\x1f\x8b\x08': '.gz',
    rb'BZh[1-9](1AY&SY|\x17rE8P\x90)': '.bz2',
    rb'\xfd7zXZ\0': '.xz',
    rb'(\x28\xb5\x2f|[\x50-\x5f]\x2a\x4d)[\xfd\x18]': '.zst',
}
_ZIP = rb'PK(\x03\x04|\x05\x06)'
_OFFICE = 'pandoc -t plain {} -o NEW.txt'
_OF_WORKBOOKS = 'libreoffice --headless --convert-to csv --outdir NEW {}'
# Magic number -> what it is, and what makes text of it.
_OTHERS = {
    rb'%PDF-': ('a PDF document', 'pdftotext {} NEW.txt'),
    rb'\{\\rtf': ('an RTF document', _OFFICE),
    rb'\xd0\xcf\x11\xe0': (
        'an old Office document',
        'libreoffice --headless --convert-to txt:Text {}',
    ),
    rb'PAR1\x15': ('a Parquet file', '--config.data.source=parquet:{}'),
    rb'ARROW1\0\0|\xff\xff\xff\xff.{3}\0\x10\0\0\0': ('an Arrow file', ''),
    rb'SQLite format 3\0': (
        'an SQLite database',
        "sqlite3 {} 'SELECT COLUMN FROM TABLE' > NEW.txt",
    ),
    rb'7z\xbc\xaf\x27\x1c': ('a 7-Zip archive', '7z x {}'),
    rb'Rar!\x1a\x07': ('a RAR archive', 'unrar x {}'),
    rb'\x04\x22\x4d\x18': ('compressed by lz4', 'lz4 -d {} NEW.txt'),
    rb'\x1f\x9d': ('compressed by compress', 'gzip -dc {} > NEW.txt'),
    rb'\x5d\0\0.{2}': ('compressed by lzma', 'xz -dc --format=lzma {} > NEW.txt'),
}
# At once, because a corpus may have millions of files.
_ANY = re.compile(b'|'.join([*map(re.escape, _MARKS), *_COMPRESSED, _ZIP, *_OTHERS]), re.DOTALL)
# What writes the content of a compressed file.
_UNPACKING = {'.gz': 'gzip -dc', '.bz2': 'bzip2 -dc', '.xz': 'xz -dc', '.zst': 'zstd -dc'}
# The least share of usable characters; and of spaces, line ends and the like in text of any
# language, which an array of numbers lacks.
_LEAST_UTF8, _LEAST_GUESS, _LEAST_ASCII = 0.7, 0.95, 0.01
# Thai, Greek and others in UTF-16 may be controls and letters of ASCII, which is UTF-8.
_CONTROLS, _MOST_CONTROLS = re.compile(rb'[\x01-\x08\x0e-\x1a\x1c-\x1f]'), 0.1
_JAPANESE = b'\x1b$B'
_OTHER_ENCODING = (
    'it is not UTF-8; if it is text, name its encoding (GB18030, CP1251, SHIFT_JIS, ISO-2022-JP, '
    '...): iconv -f ENCODING -t UTF-8 {} > NEW.txt'
)
_NO_TEXT = 'it is not text: its bytes are not UTF-8, nor UTF-16 or UTF-32 as far as can be known'
_NOT_TEXT = {'Cc', 'Cn', 'Co', 'Cs'}  # Unicode's control, unassigned, private, surrogates
_HALF_HANDLER = 'electra_jax.half_character'
# What half a surrogate pair of UTF-16 becomes: bytes that are not UTF-8, so that every reader of
# text counts or refuses them.
HALF_CHARACTER = '\udcff'.encode('utf-8', 'surrogatepass')


class Format(NamedTuple):
    """What a file is: text, compressed, an archive, or something that is not read here."""

    encoding: str = ''  # of text: 'utf-8', 'utf-16-le', ...
    mark_bytes: int = 0  # of the text's byte order mark
    packed: str = ''  # a key of compressed.DECOMPRESSORS, '.tar' or '.zip'
    problem: str = ''  # what it is, for a person; with {}, the path, in the command that helps

    @property
    def is_plain(self) -> bool:
        """Whether the bytes of the file are UTF-8 text, with or without a mark."""
        return self.encoding == 'utf-8'

    def problem_of(self, name: pathlib.Path | str) -> str:
        """What is wrong with the file or the member `name`, for a person."""
        problem, colon, advice = self.problem.partition(': ')
        return problem + colon + (advice and typed(advice, name))


class Text(NamedTuple):
    """One text of a file; `chunks` are read before the next text is asked for."""

    name: str  # the path; in an archive followed by that of the member
    member: str  # the path in the archive; '' where the file is none
    chunks: Iterator[bytes]  # UTF-8, unpacked, without a byte order mark
    problem: str = ''  # why it cannot be read, and what to type
    guessed: str = ''  # the encoding, if no mark names it and it is not UTF-8


def typed(advice: str, name: pathlib.Path | str) -> str:
    """A command or setting, in which {} is a file, for a person to type about the file `name`.

    Of a compressed file the content is needed; a member of an archive must be unpacked.
    """
    path = pathlib.Path(name)
    if not path.is_file():
        return advice.format('FILE')
    quoted, packed = shlex.quote(str(path)), look(path).packed
    if packed not in _UNPACKING:
        return advice.format(quoted)
    joint = ', and' if advice.startswith('--') else ' &&'
    return f'{_UNPACKING[packed]} {quoted} > FILE{joint} {advice.format("FILE")}'


def as_json_lines(line: str, error: ValueError, name: pathlib.Path | str) -> str:
    """What to type where a first line that is no JSON begins an object over several lines."""
    if getattr(error.__cause__ or error, 'pos', -1) < len(line):
        return ''
    command = typed('jq -c . {} > NEW.jsonl', name)
    return f'; an object over several lines becomes JSON lines by: {command}'


def look(path: pathlib.Path) -> Format:
    """What a file is, from its first bytes; an OSError if it cannot be read."""
    with path.open('rb') as file:
        return of(file.read(HEAD_BYTES))


def of(head: bytes) -> Format:
    r"""What begins with these bytes (HEAD_BYTES of them, or the whole).

    >>> of('text'.encode('utf-16-le')).encoding, of(b'\x1f\x8b\x08').packed
    ('utf-16-le', '.gz')
    """
    if _ANY.match(head):
        return _by_magic(head)
    if b'\0' in head and _is_tar(head):
        return Format(packed='.tar')
    return _guessed(head)


def _by_magic(head: bytes) -> Format:
    for mark, encoding in _MARKS.items():
        if head.startswith(mark):
            return Format(encoding, len(mark))
    for magic, suffix in _COMPRESSED.items():
        if re.match(magic, head):
            return Format(packed=suffix)
    if re.match(_ZIP, head):
        return Format(packed='.zip')
    name, command = next(x for magic, x in _OTHERS.items() if re.match(magic, head, re.DOTALL))
    advice = command and f'; this helps: {command}'
    return Format(problem=f'it is {name}, and text is needed{advice}')


def _is_tar(head: bytes) -> bool:
    """Whether a member of a tar archive begins here; old ones have a checksum but no magic."""
    import tarfile

    try:
        tarfile.TarInfo.frombuf(head[:512], 'utf-8', 'surrogateescape')
    except (tarfile.HeaderError, ValueError):
        return False
    return True


def _guessed(head: bytes) -> Format:
    """The encoding of text without a mark."""
    encodings = ['utf-8']
    if b'\0' in head or len(_CONTROLS.findall(head)) > len(head) * _MOST_CONTROLS:
        encodings += ['utf-16-le', 'utf-16-be', 'utf-32-le', 'utf-32-be']
    elif _decoded(head, 'utf-8', 'strict') is not None:
        # Japanese in seven bits looks like ASCII, but for the escapes between its alphabets.
        return Format(problem=_OTHER_ENCODING) if _JAPANESE in head else Format('utf-8')
    scores = {encoding: _usable(head, encoding) for encoding in encodings}
    best = max(scores, key=lambda encoding: scores[encoding][0] + scores[encoding][1] / 2)
    usable, in_ascii = scores[best]
    if best == 'utf-8':
        is_text = usable >= _LEAST_UTF8
    else:
        is_text = usable >= _LEAST_GUESS and in_ascii >= _LEAST_ASCII
    if is_text:
        return Format(best)
    return Format(problem=_NO_TEXT if b'\0' in head else _OTHER_ENCODING)


def _decoded(head: bytes, encoding: str, errors: str) -> str | None:
    """Text that may end inside a character; None: it is not in this encoding."""
    try:
        return codecs.getincrementaldecoder(encoding)(errors).decode(head)
    except UnicodeDecodeError:
        return None


def _usable(head: bytes, encoding: str) -> tuple[float, float]:
    """The shares of characters that can be text, and of those in ASCII, if read so."""
    text = _decoded(head, encoding, 'replace' if encoding == 'utf-8' else 'strict')
    if not text:
        return 0.0, 0.0
    good = [x for x in text if x.isspace() or unicodedata.category(x) not in _NOT_TEXT]
    good_count = len(good) - good.count('\ufffd')
    return good_count / len(text), sum(map(str.isascii, good)) / len(text)


# ---------------------------------------------------------------------------------------------
# Reading


def texts(path: pathlib.Path) -> Iterator[Text]:
    """The text of a file, or those in its archive, in the archive's order.

    Raises:
        OSError: the file cannot be read.
        TornError: it is damaged; also while the chunks of a text are read.
    """
    with path.open('rb') as file:
        yield from texts_of(str(path), compressed.chunks_of(file), path)


def only_text(path: pathlib.Path) -> bytes:
    r"""The one text of a file, as UTF-8, with lines that end in \n alone.

    Raises:
        OSError: the file cannot be read.
        TornError: it is damaged.
        ValueError: it is not one text, as the message explains.
    """
    found = [(b''.join(text.chunks), text.problem) for text in texts(path)]
    if len(found) != 1:
        raise ValueError(f'it holds {len(found)} files, and one text is needed')
    ((data, problem),) = found
    if problem:
        raise ValueError(problem)
    return with_line_feeds(data)


def texts_of(
    name: str, chunks: Iterator[bytes], path: pathlib.Path | None = None
) -> Iterator[Text]:
    """As `texts`, of what has been opened; `path`: the file with these chunks, if it is one."""
    return _texts(name, '', chunks, path, _MOST_LAYERS)


def with_line_feeds(data: bytes) -> bytes:
    r"""The same lines, each ended by \n, where \r\n or \r alone end them as well.

    >>> with_line_feeds(b'Windows\r\nold Mac\rUnix\n')
    b'Windows\nold Mac\nUnix\n'
    """
    if b'\r' not in data:
        return data
    # Two are what a text file becomes when its line ends are written for Windows twice.
    return data.replace(b'\r\r\n', b'\n').replace(b'\r\n', b'\n').replace(b'\r', b'\n')


def _texts(
    name: str, member: str, chunks: Iterator[bytes], path: pathlib.Path | None, layers: int
) -> Iterator[Text]:
    """The texts in `chunks`; `path` is the file that holds just these."""
    head, chunks = peek(chunks)
    found = of(head)
    if found.encoding:
        guessed = '' if found.is_plain or found.mark_bytes else found.encoding
        yield Text(name, member, _as_utf8(chunks, found), guessed=guessed)
    elif found.problem:
        yield Text(name, member, iter(()), found.problem_of(name))
    elif not layers:
        yield Text(name, member, iter(()), f'more than {_MOST_LAYERS} archives in one another')
    elif found.packed == '.tar':
        yield from _tar_texts(name, chunks, layers - 1)
    elif found.packed == '.zip':
        yield from _zip_texts(name, member, path, layers - 1)
    else:
        inner = compressed.unpacked(chunks, found.packed)
        yield from _texts(name, member, inner, None, layers - 1)


def peek(chunks: Iterable[bytes]) -> tuple[bytes, Iterator[bytes]]:
    """The first HEAD_BYTES or more, and all chunks again."""
    chunks, head = iter(chunks), b''
    for chunk in chunks:
        head += chunk
        if len(head) >= HEAD_BYTES:
            break
    return head[:HEAD_BYTES], itertools.chain([head], chunks)


def _half_character(error: UnicodeError) -> tuple[str, int]:
    if not isinstance(error, UnicodeDecodeError):
        raise error
    return HALF_CHARACTER.decode('utf-8', 'surrogatepass'), error.end


codecs.register_error(_HALF_HANDLER, _half_character)


def _as_utf8(chunks: Iterator[bytes], found: Format) -> Iterator[bytes]:
    decoder = None
    if not found.is_plain:
        decoder = codecs.getincrementaldecoder(found.encoding)(_HALF_HANDLER)
    skipped = found.mark_bytes
    for chunk in chunks:
        data, skipped = chunk[skipped:], 0
        yield decoder.decode(data).encode('utf-8', 'surrogatepass') if decoder else data
    if decoder:
        yield decoder.decode(b'', final=True).encode('utf-8', 'surrogatepass')


class _Stream:
    """Chunks as the file that tarfile reads."""

    def __init__(self, chunks: Iterator[bytes]) -> None:
        self._chunks, self._chunk, self._at = chunks, b'', 0

    def read(self, size: int) -> bytes:
        """So many bytes, or fewer, but none only at the end."""
        while self._at == len(self._chunk):
            self._chunk, self._at = next(self._chunks, None) or b'', 0
            if not self._chunk:
                return b''
        data = self._chunk[self._at : self._at + size]
        self._at += len(data)
        return data


@contextlib.contextmanager
def _damage() -> Iterator[None]:
    """Turns what the readers of archives raise into a TornError."""
    import tarfile
    import zipfile

    kinds = (
        *(tarfile.TarError, zipfile.BadZipFile, zlib.error, lzma.LZMAError, ValueError, EOFError),
        NotImplementedError,  # a version of zip that there is not
    )
    try:
        yield
    except kinds as error:
        raise compressed.TornError(f'the archive is damaged ({first_line(error)})') from error


def _content(file: Any) -> Iterator[bytes]:
    with _damage():
        while data := file.read(_CHUNK_BYTES):
            yield data


def _tar_texts(name: str, chunks: Iterator[bytes], layers: int) -> Iterator[Text]:
    import tarfile

    with _damage(), tarfile.open(fileobj=_Stream(chunks), mode='r|') as archive:  # type: ignore[call-overload]
        while info := archive.next():
            archive.members.clear()  # it keeps all that it has read
            file = archive.extractfile(info) if info.isreg() else None
            if file is not None:
                inner = f'{name}/{info.name.removeprefix("./")}'
                yield from _texts(inner, info.name, _content(file), None, layers)
        if any(chunk.strip(b'\0') for chunk in _content(archive.fileobj)):
            raise compressed.TornError(
                'more follows after the end of the archive; if it is several archives, unpack it '
                'by: tar --ignore-zeros -xf'
            )


def _zip_texts(name: str, member: str, path: pathlib.Path | None, layers: int) -> Iterator[Text]:
    import zipfile

    def unusable(problem: str) -> Text:
        return Text(name, member, iter(()), problem)

    if path is None:
        # The directory of a zip file is at its end.
        yield unusable('it is a zip file inside another file; unpack that one')
        return
    unzip, quoted = f'unpack it by: unzip {shlex.quote(name)}', shlex.quote(name)
    with _damage(), zipfile.ZipFile(path) as archive:
        infos = archive.infolist()
        if not all(info.filename for info in infos):
            raise compressed.TornError('a member of the archive has no name')
        infos = [info for info in infos if not info.is_dir()]
        if not infos:  # so it seems, too, where the record at its end is damaged
            raise compressed.TornError('the archive holds no file, or its directory is damaged')
        if {info.filename for info in infos} & {'[Content_Types].xml', 'mimetype'}:
            kind, command = 'an Office document or a book', _OFFICE
            if any(info.filename.startswith('xl/') for info in infos):
                kind, command = 'an Excel workbook', _OF_WORKBOOKS
            yield unusable(f'it is {kind}; this helps: {command.format(quoted)}')
            return
        for info in infos:
            inner = f'{name}/{info.filename}'
            try:
                file = archive.open(info)
            except (NotImplementedError, RuntimeError) as error:
                # A compression that Python does not have, or a password is needed.
                yield Text(inner, info.filename, iter(()), f'{first_line(error)}; {unzip}')
                continue
            with file:
                yield from _texts(inner, info.filename, _content(file), None, layers)
