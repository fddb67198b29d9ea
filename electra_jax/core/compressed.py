"""Streams of compressed data, which raise an error where they are torn or damaged."""

import bz2
import lzma
import pathlib
import zlib
from collections.abc import Callable, Iterable, Iterator
from typing import Any, BinaryIO

import zstandard

# Of compressed data at a time. A bomb unpacks to some 30,000 times its size (zstd; gzip 1,000): 60
# MB here, and this module keeps nothing.
_READ_BYTES = 2 * 1024
_MAX_MEMORY = 1 << 31  # of a decompressor's own window, which the file asks for

# Suffix -> a fresh decompressor. All kinds have decompress, eof and unused_data.
DECOMPRESSORS: dict[str, Callable[[], Any]] = {
    '.gz': lambda: zlib.decompressobj(wbits=31),
    '.bz2': bz2.BZ2Decompressor,
    '.xz': lambda: lzma.LZMADecompressor(memlimit=_MAX_MEMORY),
    '.zst': lambda: zstandard.ZstdDecompressor(max_window_size=_MAX_MEMORY).decompressobj(),
}
ARCHIVES = {'.tar', '.tgz', '.tbz2', '.txz', '.zip'}  # whose members have endings of their own
_ERRORS = (zlib.error, OSError, lzma.LZMAError, zstandard.ZstdError)


class TornError(Exception):
    """A compressed file or an archive ends early or is damaged, as its message explains."""


def is_packed(path: pathlib.Path) -> bool:
    """Whether the name has the ending of a compression or an archive, in any letter case."""
    return path.suffix.lower() in DECOMPRESSORS.keys() | ARCHIVES


def chunks_of(file: BinaryIO) -> Iterator[bytes]:
    """The content of a file in small chunks."""
    while data := file.read(_READ_BYTES):
        yield data


def unpacked(chunks: Iterable[bytes], suffix: str) -> Iterator[bytes]:
    """Decompressed chunks of compressed ones; `suffix` is a key of DECOMPRESSORS.

    Several members or frames one after another are read to their end.

    Raises:
        TornError: after everything before the damage has been yielded.
    """
    make = DECOMPRESSORS[suffix]
    decompressor, started, consumed = make(), False, 0
    for chunk in chunks:
        consumed += len(chunk)
        data = chunk
        while data:
            try:
                out = decompressor.decompress(data)
            except _ERRORS as error:
                raise TornError(
                    f'it is damaged near compressed byte {consumed} ({error})'
                ) from error
            started = True
            if out:
                yield out
            data = b''
            if decompressor.eof:
                # Padding of zeros after the last member is allowed, as gzip and xz do.
                data = decompressor.unused_data.lstrip(b'\0')
                decompressor, started = make(), False
    if started and not decompressor.eof:
        raise TornError(f'it is torn: the compressed stream ends at byte {consumed}')
