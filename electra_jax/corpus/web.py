"""Files at web addresses, read on from where a connection broke."""

import time
from collections.abc import Iterator
from typing import Any

from electra_jax.core.errors import DataError, first_line
from electra_jax.runtime import terminal

CHUNK_BYTES = 1 << 20
WAITS = (1, 2, 4, 8, 16, 32, 60)  # s, before each further try; a chunk that arrives begins again
FIRST_WAITS = (1, 2)  # before anything has arrived: perhaps there is no network at all
_TIMEOUT = 60  # s
_TRY_AGAIN = {408, 425, 429, 500, 502, 503, 504}
_NOT_THERE = {403, 404, 410}  # a bucket that may not be listed answers 403 for what is not there


class MissingError(DataError):
    """The server answers, but has nothing at the address."""


class UnreachableError(DataError):
    """No server answers, or none as it should; `reason` is the last problem."""

    def __init__(self, url: str, reason: str) -> None:
        super().__init__(f'cannot read {url}: {reason}')
        self.reason = reason


def read(url: str) -> bytes:
    """The whole file at an address; raises what `stream` does."""
    return b''.join(stream(url))


def stream(url: str) -> Iterator[bytes]:
    """The file at an address in chunks.

    Raises:
        MissingError: there is none.
        DataError: it cannot be read, also after several tries, or it changes while it is read.
    """
    # Imported here, because most text is on this machine.
    import http.client
    import urllib.error

    offset, size, tag = 0, None, None
    waits = iter(FIRST_WAITS)
    while True:
        try:
            with _open(url, offset) as response:
                # A server may answer a request for the rest with all of it.
                skip = offset if response.status == http.client.OK else 0
                length = response.headers.get('Content-Length')
                size = size if length is None else offset - skip + int(length)
                if offset and response.headers.get('ETag') != tag:
                    raise DataError(f'{url} has changed while it was being read')
                tag = response.headers.get('ETag')
                while chunk := response.read(CHUNK_BYTES):
                    new = chunk[skip:]
                    skip = max(skip - len(chunk), 0)
                    if new:
                        offset, waits = offset + len(new), iter(WAITS)
                        yield new
            if size is None or offset >= size:
                return
            problem = f'the connection ended after {offset:,} of {size:,} bytes'
        except urllib.error.HTTPError as error:
            error.close()
            if error.code in _NOT_THERE:
                raise MissingError(f'{url} is not there (HTTP status {error.code})') from error
            if error.code not in _TRY_AGAIN:
                raise DataError(f'cannot read {url}: {first_line(error)}') from error
            problem = first_line(error)
        except ValueError as error:  # it is no address
            raise DataError(f'cannot read {url!r}: {first_line(error)}') from error
        except (OSError, http.client.HTTPException) as error:
            problem = first_line(getattr(error, 'reason', None) or error)
        if (seconds := next(waits, None)) is None:
            raise UnreachableError(url, problem)
        wait(url, problem, seconds)


def wait(what: str, problem: object, seconds: float) -> None:
    """Reports that there was no answer, and waits before it is asked for again."""
    terminal.ERR.print(f'note: {what}: {problem}; it is asked for again in {seconds} s')
    time.sleep(seconds)


def _open(url: str, offset: int) -> Any:
    import urllib.request

    request = urllib.request.Request(url, headers={'Range': f'bytes={offset}-'} if offset else {})
    return urllib.request.urlopen(request, timeout=_TIMEOUT)
