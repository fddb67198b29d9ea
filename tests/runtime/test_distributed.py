"""Which environments mean several processes, and the messages about broken ones."""

import jax
import pytest

from electra_jax.core.errors import ConfigError
from electra_jax.runtime import distributed, joining

VARIABLES = (
    'JAX_COORDINATOR_ADDRESS', 'JAX_NUM_PROCESSES', 'JAX_PROCESS_ID', 'ELECTRA_JAX_HOSTS',
    'SLURM_STEP_NODELIST', 'SLURM_NTASKS',
)  # fmt: skip
# Those of JAX, which ends in an abort: our own are shorter, and end in a message.
WAITS = {'heartbeat_timeout_seconds': 120, 'initialization_timeout': joining.SECONDS + 60}


@pytest.fixture
def joined(monkeypatch):
    """The arguments of each call that joins other processes."""
    calls = []
    for name in VARIABLES:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(jax.distributed, 'is_initialized', lambda: False)
    monkeypatch.setattr(jax.distributed, 'initialize', lambda **words: calls.append(words))
    return calls


@pytest.mark.parametrize(
    ('environment', 'expected'),
    [
        ({}, []),
        ({'SLURM_NTASKS': '8'}, []),  # a batch script, not a step
        ({'SLURM_NTASKS': '1', 'SLURM_STEP_NODELIST': 'a'}, []),
        ({'SLURM_NTASKS': '8', 'SLURM_STEP_NODELIST': 'a,b'}, [WAITS]),
        ({'ELECTRA_JAX_HOSTS': 'auto'}, [WAITS]),
        (
            {'JAX_COORDINATOR_ADDRESS': 'a:1', 'JAX_NUM_PROCESSES': '2', 'JAX_PROCESS_ID': '1'},
            [{'num_processes': 2, 'process_id': 1, **WAITS}],
        ),
    ],
)
def test_a_process_joins_where_there_are_several(joined, monkeypatch, environment, expected):
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    distributed.initialize()
    assert joined == expected


@pytest.mark.parametrize(
    ('environment', 'message'),
    [
        ({'JAX_COORDINATOR_ADDRESS': 'a:1'}, 'JAX_NUM_PROCESSES is None'),
        (
            {'JAX_COORDINATOR_ADDRESS': 'a:1', 'JAX_NUM_PROCESSES': '2', 'JAX_PROCESS_ID': 'x'},
            "JAX_PROCESS_ID is 'x'",
        ),
        ({'ELECTRA_JAX_HOSTS': 'all'}, "ELECTRA_JAX_HOSTS is 'all', allowed: 'auto'"),
    ],
)
def test_what_is_missing_is_named(joined, monkeypatch, environment, message):
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(ConfigError, match=message):
        distributed.initialize()
    assert joined == []


def test_auto_where_jax_finds_no_processes_names_what_to_set(joined, monkeypatch):
    def nobody(**words):
        raise ValueError('coordinator_address should be defined.')

    monkeypatch.setenv('ELECTRA_JAX_HOSTS', 'auto')
    monkeypatch.setattr(jax.distributed, 'initialize', nobody)
    with pytest.raises(ConfigError, match='set JAX_COORDINATOR_ADDRESS'):
        distributed.initialize()


def test_a_single_process_never_asks_others_whether_to_stop(monkeypatch):
    monkeypatch.setattr(
        distributed.multihost_utils, 'reached_preemption_sync_point', lambda n: True
    )
    assert distributed.told_to_stop(3) is False
