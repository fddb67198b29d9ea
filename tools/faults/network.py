"""Faults of the network between the hosts of a run: rows of `faults.FAULTS`, and a command.

    python -m tools.faults.network --folder=/tmp/network

plays each of them once (`--rounds` for more). The hosts are network namespaces of this machine
(`namespaces`), which needs root on Linux. The other flags are those of `tools.faults.harness`,
which plays these faults among all others, too.
"""

import functools
import sys
import time
from collections.abc import Callable, Sequence

from tools.faults import namespaces
from tools.faults.processes import DEADLINE, Hang, Missed, Process
from tools.faults.rounds import Round

SECONDS = 60.0  # in which each process has to end with a message, or to go on
_STEP = {'FAULTS_STEP_SECONDS': '0.2'}  # so that training lasts longer than cutting a link
_SLOW_BITS = 1_000_000  # a second
_LOST_SHARE = 0.1
_OUTAGE = (2.0, 8.0)  # seconds, of a link that comes back
_WAITS = 'waiting for the other processes'


def cut(phase: str, run: Round) -> None:
    """The link of one of two hosts goes down, and stays down."""
    network, hosts = _start(run, 2)
    lost = run.draw.randrange(2)
    when = run.moment(hosts[lost], phase)
    network.cut(lost)
    run.notes.append(f'link of host{lost} down at {when}')
    _all_report(run, hosts, {0: 'host1', 1: 'host0'})
    network.fix()


def cut_before(run: Round) -> None:
    """A link is down when the run is started, and comes back: both wait, and report it."""
    run.hosts, run.network = 2, namespaces.Network(2)
    lost = run.draw.randrange(2)
    run.network.cut(lost)
    hosts = run.start_hosts()
    for host in hosts:
        host.wait_for(lambda mark: mark.name == 'started')
    began = time.monotonic()
    while not all(_WAITS in host.output() for host in hosts):
        if time.monotonic() - began > SECONDS or any(h.status() is not None for h in hosts):
            run.complaints.append('a host that could not join did not report that it waits')
            break
        time.sleep(0.1)
    run.notes.append(
        f'link of host{lost} down from the start, {_seconds(began)} until both said so'
    )
    run.network.fix()
    _all_finish(run, hosts)


def outage(run: Round) -> None:
    """A link goes down and comes back after seconds: the run goes on."""
    network, hosts = _start(run, 2)
    lost = run.draw.randrange(2)
    when = run.moment(hosts[lost], 'stepping')
    network.cut(lost)
    seconds = run.draw.uniform(*_OUTAGE)
    time.sleep(seconds)
    network.fix()
    run.notes.append(f'link of host{lost} down for {seconds:.1f} s at {when}')
    _all_finish(run, hosts)


def slow(run: Round) -> None:
    """A link lets 1 Mbit/s through, from the start: the run goes on."""
    _weak(run, lambda network, host: network.slow(host, _SLOW_BITS), '1 Mbit/s')


def lossy(run: Round) -> None:
    """A link loses a tenth of its packets, each way, from the start: the run goes on."""
    _weak(run, lambda network, host: network.lose(host, _LOST_SHARE), 'a tenth lost')


def _weak(run: Round, change: Callable[[namespaces.Network, int], None], what: str) -> None:
    run.hosts, run.network = 2, namespaces.Network(2)
    weak = run.draw.randrange(2)
    change(run.network, weak)
    run.notes.append(f'link of host{weak}: {what}')
    _all_finish(run, run.start_hosts())
    run.network.fix()


def parted(run: Round) -> None:
    """Two of four hosts cannot reach each other, but all others."""
    network, hosts = _start(run, 4)
    when = run.moment(hosts[0], 'stepping')
    network.part(1, 2)
    run.notes.append(f'host1 and host2 cannot reach each other at {when}')
    _all_report(run, hosts, {})
    network.fix()


def _start(run: Round, count: int) -> tuple[namespaces.Network, list[Process]]:
    run.hosts, run.network = count, namespaces.Network(count)
    return run.network, run.start_hosts(_STEP)


def _all_report(run: Round, hosts: Sequence[Process], named: dict[int, str]) -> None:
    """All end within a minute, each with a message that has the name of the other host in it."""
    began, running = time.monotonic(), dict(enumerate(hosts))
    while running:
        time.sleep(0.1)
        for number in [n for n, host in running.items() if host.status() is not None]:
            status = running.pop(number).wait()
            run.notes.append(f'host{number} ended after {_seconds(began)} with status {status}')
            if time.monotonic() - began > SECONDS:
                run.complaints.append(f'host{number} took {_seconds(began)} to end')
        if time.monotonic() - began > DEADLINE:
            raise Hang(f'still running: {[str(host.log) for host in running.values()]}')
    if not any(host.status() for host in hosts):
        raise Missed('all was done before the link was cut')
    for number, host in enumerate(hosts):
        run.expect_clear_end(host)
        error = host.output().rpartition('error: ')
        if not error[1] or 'type the same command again' not in error[2].replace('\n', ' '):
            run.complaints.append(f'host{number} ended without a clear message')
        elif named.get(number, '') not in error[2]:
            run.complaints.append(f'the message of host{number} does not name the other host')
    run.note_checkpoints()


def _all_finish(run: Round, hosts: Sequence[Process]) -> None:
    """All train to the end."""
    statuses = [host.wait() for host in hosts]
    run.notes.append(f'all went on, {max(time.monotonic() - h.began for h in hosts):.0f} s in all')
    if any(statuses):
        run.complaints.append(f'it did not go on, but ended with {statuses}')
    for host in hosts:
        run.expect_clear_end(host)


def _seconds(since: float) -> str:
    return f'{time.monotonic() - since:.0f} s'


FAULTS: dict[str, Callable[[Round], None]] = {
    **{
        f'link down while {phase}': functools.partial(cut, phase)
        for phase in ('compiling', 'stepping', 'saving', 'evaluating')
    },
    'link down before the start': cut_before,
    'link down for seconds': outage,
    'link slow': slow,
    'link loses a tenth of the packets': lossy,
    'two of four hosts cut from each other': parted,
}


def main() -> int:
    """Plays these faults alone; flags as of the harness."""
    from tools.faults import harness  # it plays the faults of this file, too

    return harness.main(['--stand-in', f'--rounds={len(FAULTS)}', '--only', *FAULTS, *sys.argv[1:]])


if __name__ == '__main__':
    sys.exit(main())
