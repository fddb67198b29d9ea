"""Which connections of this process wait for an answer of the other end, by the kernel's own table.

Two hosts may both reach the first one, where all report that they live, and not each other. A
collective operation between them then waits for as long as TCP repeats what it has sent: a quarter
of an hour and more.
"""

import ipaddress
import os
import pathlib
import socket
import sys
from collections.abc import Iterable
from typing import NamedTuple

_TABLES = [pathlib.Path('/proc/self/net/tcp'), pathlib.Path('/proc/self/net/tcp6')]
_ESTABLISHED = '01'


class Waiting(NamedTuple):
    """A connection with something that was sent, repeated, and not confirmed."""

    address: str  # of the other end
    inode: str
    repeats: int  # since something was confirmed for the last time


class Unanswered:
    """For how long each connection has waited."""

    def __init__(self) -> None:
        self._first: dict[str, tuple[int, float]] = {}  # inode -> repeats, and when it began

    def seconds(self, waiting: Iterable[Waiting], now: float) -> dict[str, float]:
        """For how long the other end has confirmed nothing, by its address; the longest of each.

        To be asked every few seconds: a connection that has repeated less than before was answered.
        """
        first, found = {}, dict[str, float]()
        for one in waiting:
            before, since = self._first.get(one.inode, (0, now))
            if one.repeats < before:
                since = now
            first[one.inode] = one.repeats, since
            found[one.address] = max(found.get(one.address, 0.0), now - since)
        self._first = first
        return found


def waiting(addresses: Iterable[str]) -> list[Waiting]:
    """The connections of this process to one of `addresses` that wait; none where not on Linux."""
    wanted, found = set(addresses), []
    for table in _TABLES:
        try:
            lines = table.read_text().splitlines()[1:]
        except OSError:
            continue
        found += [one for one in map(_parsed, lines) if one and one.address in wanted]
    if not found:
        return []
    ours = _inodes()
    return [one for one in found if one.inode in ours]


def own_address(other: str) -> str:
    """The address with which this machine reaches the `host:port` of another; nothing is sent."""
    host, _, port = other.rpartition(':')
    try:
        where = socket.getaddrinfo(host.strip('[]'), int(port), type=socket.SOCK_DGRAM)[0]
        with socket.socket(where[0], socket.SOCK_DGRAM) as probe:
            probe.connect(where[4])
            return str(probe.getsockname()[0])
    except (OSError, ValueError):
        return '?'


def _parsed(line: str) -> Waiting | None:
    """A line: number, local and remote end, state, queues, timer, repeats, user, probes, inode.

    Once the other end has no room, what is repeated are probes, which have a column of their own.
    """
    fields = line.split()
    if len(fields) < 10 or fields[3] != _ESTABLISHED:
        return None
    unconfirmed = int(fields[4].partition(':')[0], 16)
    repeats = int(fields[6], 16) + int(fields[8])
    if not unconfirmed or not repeats:
        return None
    return Waiting(_address(fields[2].partition(':')[0]), fields[9], repeats)


def _address(text: str) -> str:
    """As people write it: the kernel prints words of four bytes, each in the machine's order."""
    words = [int(text[i : i + 8], 16) for i in range(0, len(text), 8)]
    address = ipaddress.ip_address(b''.join(word.to_bytes(4, sys.byteorder) for word in words))
    inner = getattr(address, 'ipv4_mapped', None)
    return str(inner or address)


def _inodes() -> set[str]:
    found = set()
    for descriptor in pathlib.Path('/proc/self/fd').iterdir():
        try:
            found.add(os.readlink(descriptor).removeprefix('socket:[').removesuffix(']'))
        except OSError:  # it was closed meanwhile
            continue
    return found
