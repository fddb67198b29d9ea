"""Streams of .gz, .xz and .zst files, which raise an error when they are torn."""

import lzma
import pathlib
import zlib
from collections.abc import Callable, Iterator
from typing import Any

import zstandard

# Of compressed data at a time. A bomb unpacks to some 30,000 times its size (zstd; gzip 1,000): 60
# MB here, and this module keeps nothing.
_READ_BYTES = 2 * 1024
_MAX_MEMORY = 1 << 31  # of a decompressor's own window, which the file asks for

# Suffix -> a fresh decompressor. All three kinds have decompress, eof and unused_data.
DECOMPRESSORS: dict[str, Callable[[], Any]] = {
    '.gz': lambda: zlib.decompressobj(wbits=31),
    '.xz': lambda: lzma.LZMADecompressor(memlimit=_MAX_MEMORY),
    '.zst': lambda: zstandard.ZstdDecompressor(max_window_size=_MAX_MEMORY).decompressobj(),
}


class TornError(Exception):
    """A compressed file ends early or is damaged, as its message explains."""


def is_compressed(path: pathlib.Path) -> bool:
    """Whether the name has the ending of a compression that we read."""
    return path.suffix in DECOMPRESSORS


def stream(path: pathlib.Path) -> Iterator[bytes]:
    """Decompressed chunks of a file.

    Files of several members or frames one after another are read to their end.

    Raises:
        TornError: after everything before the damage has been yielded.
    """
    make = DECOMPRESSORS[path.suffix]
    decompressor, started, consumed = make(), False, 0
    with path.open('rb') as file:
        while data := file.read(_READ_BYTES):
            consumed += len(data)
            while data:
                try:
                    out = decompressor.decompress(data)
                except (zlib.error, lzma.LZMAError, zstandard.ZstdError) as error:
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
