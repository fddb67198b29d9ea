"""What is printed while the processes of a run wait for one another to start."""

import socket
import threading
import types

import pytest

from electra_jax.runtime import joining


@pytest.fixture
def state(monkeypatch):
    state = types.SimpleNamespace(coordinator_address=None, process_id=1)
    monkeypatch.setattr(joining.coordination, 'global_state', state)
    return state


@pytest.fixture
def unused():
    """A port of this machine at which nobody listens."""
    with socket.socket() as probe:
        probe.bind(('localhost', 0))
        return probe.getsockname()[1]


def printed(capsys, seconds=60.0):
    """What one report prints, and how the process would have been ended."""
    ended, messages = threading.Event(), []

    def end(message):
        messages.append(message)
        ended.set()

    with joining.reported(end, every=0.02, seconds=seconds):
        ended.wait(0.3 if seconds else 5)
    return capsys.readouterr().err, messages


def test_a_first_process_that_cannot_be_reached_is_named_with_its_address(state, capsys, unused):
    state.coordinator_address = f'localhost:{unused}'
    text, messages = printed(capsys)
    assert f'cannot be reached at localhost:{unused} from {socket.gethostname()}' in text
    assert 'refused' in text and not messages


def test_where_it_answers_others_are_missing(state, capsys):
    with socket.create_server(('localhost', 0)) as server:
        state.coordinator_address = f'localhost:{server.getsockname()[1]}'
        text, _ = printed(capsys)
        assert 'process 0 answers' in text and 'not all of the processes' in text
        state.process_id = 0
        text, _ = printed(capsys)
        assert 'listens at localhost' in text and 'not all of the processes' in text


def test_a_cluster_that_has_no_address_yet(state, capsys):
    assert 'the cluster has not reported' in printed(capsys)[0]


def test_in_the_end_the_process_ends_with_the_reason_and_the_cure(state, capsys, unused):
    state.coordinator_address = f'localhost:{unused}'
    messages = printed(capsys, seconds=0)[1]
    assert 'cannot be reached' in messages[0] and 'type the same command again' in messages[0]


def test_processes_that_meet_at_once_print_nothing(state, capsys):
    with joining.reported(every=5.0):
        pass
    assert capsys.readouterr().err == ''
