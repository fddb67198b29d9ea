"""Files of text cut into parts that are alike whatever the number of workers."""

import dataclasses
import glob
import os
import pathlib
import re
import shlex
import stat
from collections.abc import Iterable, Iterator
from typing import BinaryIO

from electra_jax.core import compressed, formats
from electra_jax.core.complaints import Complaints
from electra_jax.core.errors import DataError
from electra_jax.core.files import explained
from electra_jax.corpus import arrays, documents

# Kind -> the endings of the files that count inside a folder or an archive; '': none.
ENDINGS = {
    documents.TEXT: {'', '.txt', '.text'},
    documents.JSONL: {'', '.jsonl', '.ndjson', '.json'},
    documents.PARQUET: {'.parquet', '.pq'},
}
# Ending of a file that is read as plain text, because it was named -> the complaint about that.
_AS_TEXT = dict.fromkeys(('.csv', '.tsv'), 'table_as_text')
_AS_TEXT |= dict.fromkeys(('.html', '.htm', '.xhtml', '.xml'), 'markup_as_text')
# Before the ending of a compression anything may stand ('news.2020.en.shuffled.gz'), but for these.
_OTHERS = {'.csv', '.tsv', '.xml', '.html', '.warc', '.sql', '.npy', '.npz', '.bin'}
_OTHERS |= {'.md', '.rst', '.pdf'}.union(*ENDINGS.values())
_ENDING = re.compile(r'\.[a-z][a-z0-9_~+-]{0,11}')  # not of 'part.0001' or 'Mr. Smith'
_JSON = re.compile(rb'(\xef\xbb\xbf)?\s*(\[\s*)?\{\s*"[^"]*"\s*:')  # a first object with a field

REACH_BYTES = 4_000_000  # how far a cut looks for the end of a document
MAX_JSON_LINE_BYTES = 256_000_000  # a longer one is no document but an accident, or an attack
_EXPANSION = 4  # text is about so many times larger than its compressed file

_BLANK_LINE = re.compile(rb'\n[ \t\r]*\n')


def find_files(where: str, kind: str, complaints: Complaints) -> list[pathlib.Path]:
    """The files that a path, folder or glob stands for, sorted, each once.

    A file that is named may have any ending. What is left out of a folder is counted.

    Raises:
        DataError: there are none.
    """
    try:
        path = pathlib.Path(where)
        if where and path.is_dir():
            return _files_of_folder(where, kind, complaints)
        if path.is_file():
            return [path]
        matches = list(map(pathlib.Path, glob.glob(where, recursive=True)))
    except (OSError, ValueError) as error:  # too long for a name, or with a NUL in it
        raise DataError(f'data.source names {where!r:.200}: {error}') from error
    for folder in (match for match in matches if match.is_dir() and '**' not in where):
        complaints.count('left_out:folder', str(folder))
    matching = _once((match for match in matches if match.is_file()), complaints)
    if not matching:
        raise DataError(
            f'data.source names {where!r}, but no file, folder or pattern of that name is there '
            f'(looked from {pathlib.Path.cwd()})'
        )
    return matching


def _files_of_folder(where: str, kind: str, complaints: Complaints) -> list[pathlib.Path]:
    left_out = Complaints(complaints.setting)
    files, above = [], len(pathlib.Path(where).parts)
    for path in _once(_walk(where), left_out):
        reason = _left_out('/'.join(path.parts[above:]), kind) or _not_of_kind(path, kind)
        if reason:
            left_out.count(f'left_out:{reason}', str(path))
        else:
            files.append(path)
    complaints.add(left_out.counts)
    if not files:
        endings = ', '.join(sorted(ENDINGS[kind] - {''}))
        raise DataError(
            f'data.source names the folder {where}, but no file in it ends in {endings}'
            f'{"".join(f"; {line}" for line in left_out.lines())} (a pattern names others: '
            f"'{kind}:{where}/**/*.ENDING')"
        )
    return files


def _walk(where: str) -> Iterator[pathlib.Path]:
    """All files below a folder; folders that are linked come last, and no folder comes twice."""

    def refuse(error: OSError) -> None:
        raise DataError(
            f'cannot read the folder {error.filename} ({error.strerror}), and its files would be '
            f'missing: type chmod -R u+rX {shlex.quote(str(error.filename))}, or name '
            'the others, each as a source of its own: --config.data.source=text:ONE,text:OTHER'
        ) from error

    seen, waiting = set(), [where]
    while waiting:
        links = []
        for top, names, files in os.walk(waiting.pop(0), onerror=refuse):
            about = os.stat(top)
            if (about.st_dev, about.st_ino) in seen:
                names.clear()
                continue
            seen.add((about.st_dev, about.st_ino))
            names.sort()
            links += [path for name in names if os.path.islink(path := os.path.join(top, name))]
            yield from (pathlib.Path(top, name) for name in files)
        waiting += links


def _once(paths: Iterable[pathlib.Path], complaints: Complaints) -> list[pathlib.Path]:
    """Files, sorted; one that is also linked, from here to here, is there once."""
    found: dict[tuple[int, int], pathlib.Path] = {}
    # There may be millions of files, and paths themselves compare slowly.
    for path in sorted(paths, key=lambda path: (path.is_symlink(), path.parts)):
        try:
            about = path.stat()
        except OSError:
            complaints.count('left_out:broken link', str(path))
            continue
        if not stat.S_ISREG(about.st_mode):
            complaints.count('left_out:pipe, socket or device', str(path))
        elif found.setdefault((about.st_dev, about.st_ino), path) is not path:
            complaints.count('left_out:second link to a file', str(path))
    return sorted(found.values(), key=lambda path: path.parts)


def _left_out(name: str, kind: str) -> str:
    """Why a file with this name in a folder is not read; '': it is."""
    name, is_parquet = name.lower(), kind == documents.PARQUET
    hidden = ('.', '_') if is_parquet else '.'  # Spark writes _SUCCESS
    if any(part.startswith(hidden) and part != '.' for part in name.split('/')):
        return 'hidden'
    name, ending = os.path.splitext(name)
    if is_parquet:  # compressed inside
        return '' if ending in ENDINGS[kind] else ending or 'without an ending'
    is_packed = ending in compressed.DECOMPRESSORS
    if is_packed:
        ending = os.path.splitext(name)[1]
    if not _ENDING.fullmatch(ending) or (is_packed and ending not in _OTHERS | compressed.ARCHIVES):
        ending = ''
    return '' if ending in ENDINGS[kind] | compressed.ARCHIVES else ending


def _not_of_kind(path: pathlib.Path, kind: str) -> str:
    """Why a file of a folder without an ending is not read; '': it is, or it has an ending."""
    if _ENDING.fullmatch(path.suffix.lower()):
        return ''
    with explained('read', path):
        head = _head(path)
    found = formats.of(head)
    if found.problem:
        return 'without an ending that are not text'
    if kind == documents.JSONL and found.is_plain and not _JSON.match(head):
        return 'without an ending that are not JSON'
    return ''


def _head(path: pathlib.Path) -> bytes:
    with path.open('rb') as file:
        return file.read(formats.HEAD_BYTES)


def _as_text(name: str, data: bytes) -> str:
    """The complaint about a file that begins so, if it is more than plain text; '': it is not."""
    name, ending = os.path.splitext(name.lower())
    if ending in compressed.DECOMPRESSORS:
        ending = os.path.splitext(name)[1]
    return 'json_as_text' if _JSON.match(data) else _AS_TEXT.get(ending, '')


@dataclasses.dataclass(frozen=True, kw_only=True)
class FilePart(documents.Part):
    """A range of bytes of a file of UTF-8, or the whole of another one."""

    kind: str  # TEXT or JSONL
    field: str  # of JSON lines
    ends: str  # what ends a document of TEXT, as `data.document_ends` has it
    is_plain: bool  # a range of UTF-8; otherwise it is compressed, an archive, a JSON array, ...
    start: int
    stop: int
    file_size: int  # with `file_mtime` (ns) it stands for the content of the whole file
    file_mtime: int
    block_bytes: int  # so much text of a file that is not plain, about, is in memory at a time

    @property
    def read_bytes(self) -> int:
        return self.stop - self.start

    def open(self, complaints: Complaints) -> Iterator[documents.Block]:
        """Reads a range at once, and what is not plain a block at a time."""
        with explained('read', self.name):
            for data, origin in self._plain() if self.is_plain else self._texts(complaints):
                if origin.offset == 0 and self.kind == documents.TEXT:
                    reason = _as_text(origin.name, data)
                    if reason:
                        complaints.count(reason, origin.name)
                yield self.block(data, origin, complaints)

    def block(
        self, data: bytes, origin: documents.Origin, complaints: Complaints
    ) -> documents.Block:
        """The documents in some bytes of the file."""
        if self.kind == documents.JSONL:
            texts = documents.json_texts(data, origin, self.field, complaints)
        else:
            texts = documents.plain_texts(data, origin, self.ends, complaints)
        return documents.block_of(len(data), texts, complaints)

    def _plain(self) -> Iterator[tuple[bytes, documents.Origin]]:
        with open(self.name, 'rb') as file:
            file.seek(self.start)
            data = file.read(self.stop - self.start)
        if len(data) != self.stop - self.start:
            raise DataError(
                f'{self.name} has become shorter than {self.stop} bytes while it was being read'
            )
        yield documents.line_feeds(data), documents.Origin(self.name, self.start)

    def _texts(self, complaints: Complaints) -> Iterator[tuple[bytes, documents.Origin]]:
        """Blocks of all texts in the file, up to where it is damaged."""
        try:
            for text in formats.texts(pathlib.Path(self.name)):
                reason = _left_out(text.member, self.kind)
                if reason:
                    complaints.count(f'left_out:{reason}', text.name)
                elif text.problem:
                    complaints.refuse('unreadable_file', text.name, text.problem)
                else:
                    if text.guessed:
                        complaints.count('guessed_encoding', f'{text.name} ({text.guessed})')
                    yield from self._blocks(text)
        except compressed.TornError as error:
            complaints.refuse('torn_file', self.name, str(error))

    def _blocks(self, text: formats.Text) -> Iterator[tuple[bytes, documents.Origin]]:
        """A text in blocks that end where documents end; what follows damage is lost."""
        torn: list[compressed.TornError] = []
        chunks, unit = _until_torn(text.chunks, torn), 'line'
        if self.kind == documents.JSONL:
            is_array, chunks = arrays.opened(chunks)
            unit = 'object' if is_array else unit
            chunks = _until_torn(chunks, torn)
        buffer, ended = bytearray(), False
        offset, line = 0, 1
        while not ended or buffer:
            cut, reach = None, 0
            while cut is None:
                _check_line(reach, text.name)
                reach += REACH_BYTES
                while not ended and len(buffer) < self.block_bytes + reach:
                    chunk = next(chunks, None)
                    ended = chunk is None
                    buffer += chunk or b''
                cut = find_cut(buffer[self.block_bytes :], self.kind, ended)
            data = documents.line_feeds(bytes(buffer[: self.block_bytes + cut]))
            del buffer[: len(data)]
            if data:
                yield data, documents.Origin(text.name, offset, line, unit)
            offset, line = offset + len(data), line + data.count(b'\n')
        for error in torn:
            raise error


def _until_torn(chunks: Iterator[bytes], torn: list[compressed.TornError]) -> Iterator[bytes]:
    """Chunks up to where they are damaged; the damage is put into `torn`."""
    try:
        yield from chunks
    except compressed.TornError as error:
        torn.append(error)


def parts(entry: documents.Entry, piece_bytes: int, complaints: Complaints) -> Iterator[FilePart]:
    """Parts of the files that an entry names, each with about `piece_bytes` of text at most.

    A file that is not plain is one part: nothing in it can be found without reading what comes
    before. Files that are empty or left out are counted.

    Raises:
        DataError: there are no files, or one cannot be read, or is not text.
    """
    for path in find_files(entry.where, entry.kind, complaints):
        with explained('read', path):
            about = path.stat()
            if not about.st_size:
                complaints.count('empty_file', str(path))
                continue
            head = _head(path)
            found = formats.of(head)
            if found.problem:
                complaints.refuse('unreadable_file', str(path), found.problem_of(path))
                continue
            if found.encoding and compressed.is_packed(path):
                complaints.count('not_packed', str(path))
            size, start = about.st_size, 0
            is_plain = found.is_plain and not (
                entry.kind == documents.JSONL and arrays.begins(head)
            )
            for stop in _ends(path, size, entry.kind, piece_bytes if is_plain else size):
                if stop > start:
                    yield FilePart(
                        weight=entry.weight,
                        text_bytes=(stop - start) * (_EXPANSION if found.packed else 1),
                        name=str(path),
                        kind=entry.kind,
                        field=entry.field,
                        ends=entry.ends,
                        is_plain=is_plain,
                        start=start,
                        stop=stop,
                        file_size=size,
                        file_mtime=about.st_mtime_ns,
                        block_bytes=piece_bytes,
                    )
                start = stop


def _ends(path: pathlib.Path, size: int, kind: str, piece_bytes: int) -> Iterator[int]:
    """Offsets at which a file is cut into stretches of `piece_bytes`, the last one its size."""
    number = -(-size // max(piece_bytes, 1))
    if number > 1:
        with path.open('rb') as file:
            yield from _cuts(file, size, kind, number)
    yield size


def _cuts(file: BinaryIO, size: int, kind: str, number: int) -> Iterator[int]:
    """Where a file is cut into so many stretches."""
    stop = 0
    for i in range(1, number):
        stop = max(size * i // number, stop)
        file.seek(stop)
        window, cut = bytearray(), None
        while cut is None:
            _check_line(len(window), file.name)
            wanted = max(len(window), REACH_BYTES // 64)  # most documents end soon
            more = file.read(wanted)
            window += more
            cut = find_cut(window, kind, ended=len(more) < wanted)
        stop += cut
        yield stop


def _check_line(size: int, path: pathlib.Path | str) -> None:
    if size > MAX_JSON_LINE_BYTES:
        raise DataError(
            f'{path}: a JSON line is longer than {MAX_JSON_LINE_BYTES:,} bytes; a line holds one '
            'document: is it JSON lines?'
        )


def find_cut(window: bytes | bytearray, kind: str, ended: bool) -> int | None:
    r"""Where to cut text that goes on with `window`: at a document's end if one is in reach.

    Failing that at a line's end, failing that at white space, failing that at a character. A
    JSON line is never cut. None asks for a longer window.

    >>> find_cut(b'end of one.\n\nAnother', documents.TEXT, ended=False)
    13
    """
    far = ended or len(window) >= REACH_BYTES
    if far and b'\r' in window and b'\n' not in window:
        window = window.replace(b'\r', b'\n')  # an old Mac's lines
    if kind == documents.JSONL:
        end = window.find(b'\n')
        return end + 1 if end >= 0 else len(window) if ended else None
    match = _BLANK_LINE.search(window)
    if match:
        return match.end()
    if ended:
        return len(window)
    if not far:
        return None
    for mark in (b'\n', b' ', b'\t'):
        end = window.find(mark)
        if end >= 0:
            return end + 1
    # No white space at all: at least not inside a UTF-8 character (at most 3 bytes follow).
    return next((i for i in range(min(4, len(window))) if window[i] & 0xC0 != 0x80), 0)
