"""Bytes that cross the network in a training step, next to what the compiled program asks for.

    python -m tools.faults.crossing --folder=/tmp/crossing

trains a small ELECTRA on 1, 2 and 4 hosts (`namespaces`; needs root on Linux), each with one device
and the same rows in a batch of all. Between two steps it counts what the hosts' network interfaces
send, with all headers, and without those of Ethernet, IP and TCP. The compiler's optimized program
of that step names its collectives: a ring sends each byte of an all-reduce 2 (N - 1) / N times from
each of N hosts.
"""

import argparse
import os
import pathlib
import random
import shutil
import subprocess
import sys
from typing import NamedTuple

from electra_jax.aot import hlo, traffic
from electra_jax.runtime.terminal import markdown
from tools.faults import namespaces, rounds, setting
from tools.faults.processes import Process

_HEADERS = 14 + 20 + 32  # bytes of a packet: Ethernet, IPv4, TCP with time stamps
_FIRST, _LAST = 4, 14  # steps between whose beginnings is counted: nothing else goes on there
_WORDS = (
    f'--config.stop_at={_LAST + 2}',
    '--config.checkpoint.every_steps=1000', '--config.eval.every_steps=1000',
    '--config.model.hidden_size=128', '--config.model.num_heads=2',
    '--config.model.embedding_size=64', '--config.model.num_layers=2',
)  # fmt: skip
_HEAD = (
    'hosts', 'all-reduces a step', 'their bytes', 'a ring sends, a host and step',
    'counted', 'without headers', 'without headers / ring', 'packets sent again',
)  # fmt: skip


class Count(NamedTuple):
    """A step on so many hosts."""

    hosts: int
    collectives: int  # in the compiled step
    payload: int  # bytes that one device puts into them
    sent: float  # bytes a step by the interface of a host, the mean of all
    data: float  # of them, without headers
    repeated: float  # packets a step that a host sent again

    @property
    def ring(self) -> float:
        """Bytes that a ring sends from each host."""
        return 2 * (self.hosts - 1) / self.hosts * self.payload

    def cells(self) -> list[str]:
        """The row of the table."""
        ratio = f'{self.data / self.ring:.3f}' if self.ring else '-'
        shown = [f'{number:,.0f}' for number in (self.payload, self.ring, self.sent, self.data)]
        return [str(self.hosts), str(self.collectives), *shown, ratio, f'{self.repeated:.1f}']


def count(where: setting.Setting, hosts: int) -> Count:
    """Trains on so many hosts and counts."""
    folder = where.folder / f'hosts_{hosts}'
    shutil.rmtree(folder, ignore_errors=True)
    run = rounds.Round(where, folder, random.Random(0), rounds.Spans(), lambda hosts: {})
    run.hosts, run.network, run.words = hosts, namespaces.Network(hosts), list(_WORDS)
    dump = folder / 'program'
    environment = {
        'FAULTS_NO_CACHE': '1',  # what comes out of the cache is not written down
        'FAULTS_STEP_SECONDS': '1.5',  # time to count, after one step and before the next
        'XLA_FLAGS': f'{os.environ["XLA_FLAGS"]} --xla_dump_to={dump} --xla_dump_hlo_as_text',
    }
    try:
        started = run.start_hosts(environment)
        seen = [_at_step(run, started[0], step) for step in (_FIRST, _LAST - _FIRST)]
        if any(process.wait() for process in started):
            raise SystemExit(f'training failed: {started[0].output()}')
    finally:
        run.close(keep=True)
    rates = [
        (after - before) / hosts / (_LAST - _FIRST) for before, after in zip(*seen, strict=True)
    ]
    sent, packets, repeated = rates
    return Count(hosts, *compiled(dump, hosts), sent, sent - _HEADERS * packets, repeated)


def _at_step(run: rounds.Round, process: Process, steps: int) -> tuple[int, int, int]:
    """Bytes and packets that all hosts have sent once so many more steps have begun; repeated."""
    for _ in range(steps):
        process.wait_for(lambda mark: mark.name == 'stepping')
    crossed = run.network.crossed()
    repeated = sum(run.network.repeated(host) for host in range(run.hosts))
    return sum(one.sent for one in crossed), sum(one.packets_sent for one in crossed), repeated


def compiled(dump: pathlib.Path, hosts: int) -> tuple[int, int]:
    """Number of collectives of the training step, and the bytes that a device puts into them.

    Of all programs that were compiled, it is the one that puts in most: nothing else has gradients.
    """
    programs = sorted(dump.glob('*after_optimizations.txt'))
    if not programs:
        raise SystemExit(f'the compiler has left no program in {dump}')
    return max((_asked(path.read_text(), hosts) for path in programs), key=lambda found: found[1])


def _asked(program: str, hosts: int) -> tuple[int, int]:
    found = traffic.collectives(hlo.parse(program), [0] * hosts)
    found = [one for one in found if one.devices > 1 and one.kind == 'all-reduce']
    return sum(one.count for one in found), sum(one.bytes for one in found)


def main() -> int:
    """Reads the command line, prints the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('--folder', type=pathlib.Path, required=True, help='of all files')
    parser.add_argument('--hosts', type=int, nargs='+', default=[1, 2, 4])
    args = parser.parse_args()
    if reason := namespaces.unable():
        raise SystemExit(reason)
    where = setting.prepare(args.folder)
    namespaces.remove_leftovers()
    if not where.corpus.exists():  # several processes need one that is built
        words = ['-m', 'electra_jax.prepare', f'--config={where.recipe}']
        subprocess.run([sys.executable, *words], check=True, cwd=setting.ROOT)
    counts = [count(where, hosts) for hosts in args.hosts]
    shown = markdown(_HEAD, [one.cells() for one in counts])
    (where.folder / 'crossing.md').write_text(shown)
    print(shown)
    return 0


if __name__ == '__main__':
    sys.exit(main())
