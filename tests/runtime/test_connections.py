"""Connections whose other end confirms nothing, by the kernel's table."""

import os
import pathlib
import socket

import pytest

from electra_jax.runtime import connections
from electra_jax.runtime.connections import Unanswered, Waiting

HEAD = '  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout'
# As Linux prints them on a little-endian machine; 03004D0A is 10.77.0.3.
LISTENS = '02004D0A:8CE5 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 {}'
QUIET = '02004D0A:8CE5 03004D0A:C394 01 00000000:00000000 00:00000000 00000000     0        0 {}'
FRESH = '02004D0A:8CE5 03004D0A:C394 01 000000C4:00000000 01:00000014 00000000     0        0 {}'
REPEATS = '03004D0A:C0D2 03004D0A:8CE5 01 00000060:00000000 01:00002216 00000009     0        0 {}'
PROBES = '02004D0A:8CE5 03004D0A:C0D2 01 000000C4:00000000 04:00002252 00000000     0        9 {}'
MAPPED = REPEATS.replace('03004D0A:8CE5', '0000000000000000FFFF000003004D0A:8CE5')


@pytest.fixture
def table(monkeypatch, tmp_path):
    """Writes the kernel's table: lines about a socket of this process, or of another one."""
    monkeypatch.setattr(connections.sys, 'byteorder', 'little')
    monkeypatch.setattr(connections, '_TABLES', [tmp_path / 'tcp', tmp_path / 'absent'])
    with socket.socket() as ours:
        own = os.readlink(f'/proc/self/fd/{ours.fileno()}')[len('socket:[') : -1]

        def write(line, inode=own):
            (tmp_path / 'tcp').write_text(f'{HEAD}\n   0: {line.format(inode)} 1 0000\n')

        yield write


linux = pytest.mark.skipif(not pathlib.Path('/proc/self/net/tcp').exists(), reason='needs Linux')


@linux
@pytest.mark.parametrize('line', [REPEATS, PROBES, MAPPED])
def test_what_is_repeated_and_not_confirmed_is_found_by_its_address(table, line):
    table(line)
    found = connections.waiting(['10.77.0.3'])
    assert [(one.address, one.repeats) for one in found] == [('10.77.0.3', 9)]
    assert not connections.waiting(['10.77.0.4'])
    table(line, inode=1)
    assert not connections.waiting(['10.77.0.3'])  # of another process


@linux
@pytest.mark.parametrize('line', [LISTENS, QUIET, FRESH, ''])
def test_a_connection_that_was_answered_or_has_nothing_to_send_does_not_wait(table, line):
    table(line)
    assert not connections.waiting(['10.77.0.3', '0.0.0.0'])


def test_seconds_count_from_the_first_repeat_and_anew_once_it_was_answered():
    unanswered = Unanswered()

    def seconds(now, *repeats):
        waiting = [Waiting('a', str(inode), count) for inode, count in enumerate(repeats)]
        return unanswered.seconds(waiting, now)

    assert seconds(10.0, 1) == {'a': 0.0}
    assert seconds(20.0, 4, 1) == {'a': 10.0}  # the longest of two
    assert seconds(30.0, 2, 3) == {'a': 10.0}  # the first was answered in between
    assert seconds(40.0) == {}
    assert seconds(50.0, 9) == {'a': 0.0}


def test_the_own_address_is_the_one_that_reaches_the_other():
    assert connections.own_address('127.0.0.1:80') == '127.0.0.1'
    assert connections.own_address('[::1]:80') in ('::1', '?')  # a machine may have no IPv6
    assert connections.own_address('no port') == '?'
