"""JSON arrays of objects as JSON lines, without holding more than a piece of them."""

import re
from collections.abc import Iterable, Iterator

from electra_jax.core import formats
from electra_jax.core.compressed import TornError

_BEGINS = re.compile(rb'(\xef\xbb\xbf)?\s*\[\s*\{')
_MARK = re.compile(rb'["\[\]{},\n\r]')
_STRING = re.compile(rb'(?:[^"\\]+|\\.)*', re.DOTALL)  # from inside a string to its end
_SPACE, _LINE_END = b' \n'


def begins(head: bytes) -> bool:
    """Whether text of these first bytes is an array of objects."""
    return _BEGINS.match(head) is not None


def opened(chunks: Iterable[bytes]) -> tuple[bool, Iterator[bytes]]:
    """Whether text is an array of objects, and the text, with an object a line if it is."""
    head, whole = formats.peek(chunks)
    return begins(head), as_lines(whole) if begins(head) else whole


def as_lines(chunks: Iterable[bytes]) -> Iterator[bytes]:
    r"""The values of an array with a line each; every byte stays where it is.

    What follows the array stays as it is.

    >>> b''.join(as_lines([b'[{"a": 1},\n{"b":', b' [2, "]"]}]\n']))
    b' {"a": 1}\n {"b": [2, "]"]}\n\n'

    Raises:
        TornError: the text ends inside the array.
    """
    chunks = iter(chunks)
    depth, in_string, held = 0, False, b''
    for chunk in chunks:
        data, at = bytearray(held + chunk), 0
        held = b''
        while at < len(data):
            if in_string:
                at = _end_of_string(data, at)
                if data[at:] == b'\\':  # the character that it escapes is in the next chunk
                    held = b'\\'
                    del data[at:]
                in_string = at >= len(data)
                at += 1
                continue
            found = _MARK.search(data, at)
            if found is None:
                break
            at, mark = found.end(), found[0]
            in_string = mark == b'"'
            depth += (mark in b'[{') - (mark in b']}')
            if mark in b'\n\r' or (mark == b'[' and depth == 1):
                data[at - 1] = _SPACE
            elif (mark == b',' and depth == 1) or not depth:
                data[at - 1] = _LINE_END
            if not depth:
                yield bytes(data)
                yield from chunks
                return
        yield bytes(data)
    raise TornError('it is torn: it ends inside a JSON array')


def _end_of_string(data: bytearray, at: int) -> int:
    found = _STRING.match(data, at)
    return found.end() if found else at
