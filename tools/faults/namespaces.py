"""Hosts on one switch, as network namespaces of this machine: their links can be cut or made bad.

Each host has its own network card, address and host name; a bridge in one more namespace joins
them. Nothing here touches the machine's own network. It needs root on Linux.

Where the kernel has no `netem`, packets are lost by a filter of the packet scheduler: a program of
five instructions that draws a number for each packet and hands some to a device that is down.
"""

import contextlib
import itertools
import os
import pathlib
import re
import shutil
import subprocess
from collections.abc import Sequence
from typing import NamedTuple

_PORT = 7654  # where process 0 waits for the others
_MTU = 1500
_NUMBERS = itertools.count()  # rounds run at once, each with a network of its own
_HOSTS_FILES = pathlib.Path('/etc/netns')  # `ip netns exec` puts what is there over /etc


class Unable(Exception):  # noqa: N818
    """This machine cannot have such a network; the message says why."""


class Crossed(NamedTuple):
    """What a host's network card has received and sent: bytes with all headers, and packets."""

    received: int
    sent: int
    packets_sent: int


class Network:
    """Hosts named host0, host1, ... on one switch, until `close`."""

    def __init__(self, hosts: int):
        """Makes the namespaces.

        Raises:
            Unable: it is not allowed here, or a tool is missing.
        """
        if reason := unable():
            raise Unable(reason)
        name = f'electra-{os.getpid()}-{next(_NUMBERS)}'
        self._switch = f'{name}-switch'
        self._hosts = [f'{name}-host{number}' for number in range(hosts)]
        try:
            self._build()
        except BaseException:
            self.close()
            raise

    def _build(self) -> None:
        _ip('netns', 'add', self._switch)
        _ip('link', 'add', 'bridge', 'type', 'bridge', space=self._switch)
        _ip('link', 'set', 'bridge', 'up', space=self._switch)
        names = ''.join(f'{_address(n)} host{n}\n' for n in range(len(self._hosts)))
        for number, host in enumerate(self._hosts):
            _ip('netns', 'add', host)
            port = f'port{number}'
            _ip(
                'link', 'add', port, 'netns', self._switch, 'mtu', str(_MTU), 'type', 'veth',
                'peer', 'name', 'eth0', 'netns', host,
            )  # fmt: skip
            # Packets as on a wire: of one MTU each, so that counts and losses are those of a wire.
            whole = ('gso_max_segs', '1', 'gso_max_size', str(_MTU))
            _ip('link', 'set', port, 'master', 'bridge', 'up', *whole, space=self._switch)
            _ip('link', 'set', 'eth0', 'up', *whole, space=host)
            _ip('link', 'set', 'lo', 'up', space=host)
            _ip('address', 'add', f'{_address(number)}/24', 'dev', 'eth0', space=host)
            folder = _HOSTS_FILES / host
            folder.mkdir(parents=True)
            (folder / 'hosts').write_text(f'127.0.0.1 localhost\n{names}')

    def close(self) -> None:
        """Deletes the namespaces; processes in them must have ended."""
        for name in (*self._hosts, self._switch):
            with contextlib.suppress(Unable):
                _ip('netns', 'delete', name)
            shutil.rmtree(_HOSTS_FILES / name, ignore_errors=True)

    def words_before(self, host: int) -> list[str]:
        """What to put before a command so that it runs on that host."""
        renamed = ['unshare', '--uts', 'sh', '-c', 'hostname "$0"; exec "$@"', f'host{host}']
        return ['ip', 'netns', 'exec', self._hosts[host], *renamed]

    def environment(self, host: int) -> dict[str, str]:
        """By which the process on that host finds the others."""
        return {
            'JAX_COORDINATOR_ADDRESS': f'host0:{_PORT}',
            'JAX_NUM_PROCESSES': str(len(self._hosts)),
            'JAX_PROCESS_ID': str(host),
        }

    def cut(self, host: int) -> None:
        """Sets the link of a host down."""
        _ip('link', 'set', f'port{host}', 'down', space=self._switch)

    def part(self, one: int, other: int) -> None:
        """Drops what two hosts send each other; both still reach the rest."""
        for a, b in ((one, other), (other, one)):
            _ip('route', 'add', 'blackhole', f'{_address(b)}/32', space=self._hosts[a])

    def slow(self, host: int, bits: int) -> None:
        """Lets so many bits a second through the link of a host, each way."""
        for space, device in self._ends(host):
            _run(
                'tc', '-n', space, 'qdisc', 'add', 'dev', device, 'root', 'tbf', 'rate',
                f'{bits}bit', 'burst', '5kb', 'latency', '400ms',
            )  # fmt: skip

    def lose(self, host: int, share: float) -> None:
        """Loses this share of the packets on the link of a host, each way."""
        for space, device in self._ends(host):
            try:
                _run(
                    'tc', '-n', space, 'qdisc', 'add', 'dev', device, 'root', 'netem', 'loss',
                    f'{share:%}',
                )  # fmt: skip
            except Unable:
                _lose_by_filter(space, device, share)

    def fix(self) -> None:
        """Makes all links whole again."""
        for number, host in enumerate(self._hosts):
            _ip('link', 'set', f'port{number}', 'up', space=self._switch)
            for space, device in self._ends(number):
                for kind in ('root', 'ingress'):
                    with contextlib.suppress(Unable):
                        _run('tc', '-n', space, 'qdisc', 'delete', 'dev', device, kind)
            _ip('route', 'flush', 'type', 'blackhole', space=host)

    def crossed(self) -> list[Crossed]:
        """What has crossed the link of each host since the network was made, by its interface."""
        # Seen from the switch, whose counters are read at once: what a host sends is received.
        ports = [f'/sys/class/net/port{number}/statistics' for number in range(len(self._hosts))]
        counters = ('tx_bytes', 'rx_bytes', 'rx_packets')
        files = [f'{port}/{counter}' for port in ports for counter in counters]
        numbers = [int(n) for n in _run('ip', 'netns', 'exec', self._switch, 'cat', *files).split()]
        return [Crossed(*numbers[i : i + 3]) for i in range(0, len(numbers), 3)]

    def repeated(self, host: int) -> int:
        """Packets that a host has sent again, because nobody confirmed them in time."""
        text = _run('ip', 'netns', 'exec', self._hosts[host], 'cat', '/proc/net/snmp')
        names, numbers = (line.split() for line in text.splitlines() if line.startswith('Tcp:'))
        return int(numbers[names.index('RetransSegs')])

    def _ends(self, host: int) -> Sequence[tuple[str, str]]:
        """Both ends of the link of a host: namespace and device."""
        return (self._hosts[host], 'eth0'), (self._switch, f'port{host}')


def remove_leftovers() -> None:
    """Deletes the namespaces of processes that were killed before they could."""
    if unable():
        return
    for line in _run('ip', 'netns', 'list').splitlines():
        name = line.split()[0]
        owner = re.fullmatch(r'electra-(\d+)-\d+-\w+', name)
        if owner and not pathlib.Path(f'/proc/{owner[1]}').exists():
            _ip('netns', 'delete', name)
            shutil.rmtree(_HOSTS_FILES / name, ignore_errors=True)


def unable() -> str | None:
    """Why this machine cannot have such a network; None: it can."""
    if os.geteuid() != 0:
        return 'network namespaces need root'
    missing = [tool for tool in ('ip', 'tc', 'unshare', 'hostname') if shutil.which(tool) is None]
    if missing:
        return f'{", ".join(missing)}: not installed (packages iproute2, util-linux, hostname)'
    probe = f'electra-{os.getpid()}-probe'
    try:
        _ip('netns', 'add', probe)
        _ip('netns', 'delete', probe)
    except Unable as error:
        return str(error)
    return None


def _lose_by_filter(space: str, device: str, share: float) -> None:
    with contextlib.suppress(Unable):  # it is there already
        _ip('link', 'add', 'void', 'type', 'veth', 'peer', 'name', 'void2', space=space)
    limit = int((1 - share) * 2**32)
    # Load a random number; where it is greater than the limit, the filter matches.
    program = f'4,32 0 0 4294963256,37 0 1 {limit},6 0 0 4294967295,6 0 0 0'
    _run('tc', '-n', space, 'qdisc', 'add', 'dev', device, 'ingress')
    _run(
        'tc', '-n', space, 'filter', 'add', 'dev', device, 'parent', 'ffff:', 'protocol', 'all',
        'bpf', 'bytecode', program, 'action', 'mirred', 'egress', 'redirect', 'dev', 'void',
    )  # fmt: skip


def _address(host: int) -> str:
    return f'10.77.0.{host + 1}'


def _ip(*words: str, space: str | None = None) -> None:
    _run('ip', *(() if space is None else ('-n', space)), *words)


def _run(*words: str) -> str:
    done = subprocess.run(words, capture_output=True, text=True)
    if done.returncode:
        raise Unable(f'{" ".join(words)}: {done.stderr.strip() or done.returncode}')
    return done.stdout
