"""Hosts in network namespaces: what their links do, runs whose links fail, and bytes that cross."""

import subprocess
import sys

import pytest

from tools.faults import crossing, namespaces, setting

REASON = namespaces.unable()
needs_namespaces = [
    pytest.mark.slow,
    pytest.mark.skipif(REASON is not None, reason=f'no network namespaces here: {REASON}'),
]


def test_why_there_are_none_is_reported(monkeypatch):
    monkeypatch.setattr(namespaces.os, 'geteuid', lambda: 1000)
    assert 'root' in namespaces.unable()
    with pytest.raises(namespaces.Unable, match='root'):
        namespaces.Network(2)
    monkeypatch.setattr(namespaces.os, 'geteuid', lambda: 0)
    monkeypatch.setattr(namespaces.shutil, 'which', lambda tool: None)
    assert 'iproute2' in namespaces.unable()


PROGRAM = """\
HloModule jit_step

%add (a: f32[], b: f32[]) -> f32[] {
  %a = f32[] parameter(0)
  %b = f32[] parameter(1)
  ROOT %sum = f32[] add(%a, %b)
}

ENTRY %main (grads: f32[1000], loss: f32[]) -> (f32[1000], f32[]) {
  %grads = f32[1000]{0} parameter(0)
  %loss = f32[] parameter(1)
  %all = f32[1000]{0} all-reduce(%grads), replica_groups={{0,1,2,3}}, to_apply=%add
  %mean = f32[] all-reduce(%loss), replica_groups={{0,1,2,3}}, to_apply=%add
  ROOT %both = (f32[1000]{0}, f32[]) tuple(%all, %mean)
}
"""


def test_what_the_compiled_step_asks_for_is_that_of_the_program_with_most(tmp_path):
    (tmp_path / 'module_0000.jit_step.cpu_after_optimizations.txt').write_text(PROGRAM)
    other = PROGRAM.replace('1000', '10')
    (tmp_path / 'module_0001.jit_other.cpu_after_optimizations.txt').write_text(other)
    assert crossing.compiled(tmp_path, 4) == (2, 4004)
    found = crossing.Count(4, 2, 4004, 7000.0, 6306.3, 0.5)
    assert found.ring == 6006 and found.cells()[-2:] == ['1.050', '0.5']


SEND = """
import socket, sys
with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
    for _ in range(int(sys.argv[2])):
        sender.sendto(bytes(100), (sys.argv[1], 9))
"""


@pytest.fixture
def network():
    network = namespaces.Network(3)
    yield network
    network.close()


def arrived(network, sender, receiver, packets=400):
    """How many of so many packets of 100 bytes reach the interface of another host."""
    before = network.crossed()[receiver]
    words = network.words_before(sender)
    # A host that has no way to the other refuses to send.
    subprocess.run([*words, sys.executable, '-c', SEND, f'host{receiver}', str(packets)])
    return (network.crossed()[receiver].received - before.received) / 142  # with headers


ALL, NONE = pytest.approx(400, abs=30), pytest.approx(0, abs=30)  # hosts also look for routers


@pytest.mark.usefixtures('network')
class TestLinks:
    pytestmark = needs_namespaces

    def test_hosts_have_names_and_packets_are_counted(self, network):
        named = subprocess.run([*network.words_before(1), 'hostname'], capture_output=True)
        assert named.stdout == b'host1\n'
        assert arrived(network, 0, 1) == ALL

    def test_a_link_that_is_cut_carries_nothing_until_it_is_fixed(self, network):
        network.cut(1)
        assert arrived(network, 0, 1) == NONE and arrived(network, 0, 2) == ALL
        network.fix()
        assert arrived(network, 0, 1) == ALL

    def test_two_that_are_parted_reach_the_third(self, network):
        network.part(0, 1)
        assert arrived(network, 0, 1) == NONE and arrived(network, 0, 2) == ALL
        network.fix()
        assert arrived(network, 0, 1) == ALL

    def test_a_link_loses_its_share(self, network):
        assert arrived(network, 0, 1) == ALL  # they have learned each other's addresses
        network.lose(0, 0.5)
        assert 120 < arrived(network, 0, 1) < 280
        network.fix()
        assert arrived(network, 0, 1) == ALL


@pytest.mark.parametrize(
    'fault',
    [
        pytest.param(name, marks=needs_namespaces)
        for name in (
            'link down while stepping',
            'link down before the start',
            'link loses a tenth',
            'two of four hosts cut',
        )
    ],
)
def test_each_process_ends_with_a_message_or_goes_on(tmp_path_factory, fault):
    folder = tmp_path_factory.getbasetemp() / 'network'  # undisturbed runs are made once
    command = [sys.executable, '-m', 'tools.faults.network', f'--folder={folder}']
    (folder / 'rounds.jsonl').unlink(missing_ok=True)
    done = subprocess.run(
        [*command, '--rounds=1', '--only', fault], capture_output=True, text=True, cwd=setting.ROOT
    )
    assert done.returncode == 0, done.stdout + done.stderr
