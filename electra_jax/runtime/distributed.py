"""The processes of a run, on one or more hosts: joining them, and agreeing with them."""

import os
from typing import Any

import jax
import numpy as np
from jax.experimental import multihost_utils

from electra_jax.core.errors import ConfigError
from electra_jax.runtime import joining

# JAX aborts a process that loses its coordinator for so long, with a trace of its own code: it is
# much longer than `runtime.watchdog` takes, which reports more.
_HEARTBEAT_SECONDS = 120
# So, too, where not all join: `runtime.joining` ends it before.
_JOIN_SECONDS = joining.SECONDS + 60


def initialize() -> None:
    """Joins the other processes of the run, where there are any.

    Either JAX_COORDINATOR_ADDRESS, JAX_NUM_PROCESSES and JAX_PROCESS_ID give the address where
    they meet, their number and the number of this one; or JAX finds that out by itself: in a Slurm
    step of several tasks, and where ELECTRA_JAX_HOSTS is 'auto' (on the workers of a TPU slice).
    """
    if jax.distributed.is_initialized():
        return
    if 'JAX_COORDINATOR_ADDRESS' in os.environ:
        _join(
            num_processes=_whole_number('JAX_NUM_PROCESSES'),
            process_id=_whole_number('JAX_PROCESS_ID'),
        )
    elif _jax_finds_the_processes():
        try:
            _join()
        except ValueError as error:
            raise ConfigError(
                f'the other processes of this run cannot be found ({error}): set '
                'JAX_COORDINATOR_ADDRESS, JAX_NUM_PROCESSES and JAX_PROCESS_ID, or train on this '
                'machine alone without ELECTRA_JAX_HOSTS'
            ) from error


def _join(**processes: Any) -> None:
    with joining.reported():
        jax.distributed.initialize(
            **processes,
            initialization_timeout=_JOIN_SECONDS,
            heartbeat_timeout_seconds=_HEARTBEAT_SECONDS,
        )


def told_to_stop(step: int) -> bool:
    """Whether every process stops after this step, because one of them has received SIGTERM.

    All processes must ask after every step: JAX chooses a step that none of them has passed yet.
    A single process handles its signals itself (`train.signals`).
    """
    return jax.process_count() > 1 and multihost_utils.reached_preemption_sync_point(step)


def is_first() -> bool:
    """Whether this process writes the files that a run writes once."""
    return jax.process_index() == 0


def agree(number: int | None) -> int | None:
    """The number (not negative, or None) that the first process was given, in every process."""
    if jax.process_count() == 1:
        return number
    agreed = int(multihost_utils.broadcast_one_to_all(np.int32(-1 if number is None else number)))
    return None if agreed < 0 else agreed


def _jax_finds_the_processes() -> bool:
    hosts = os.environ.get('ELECTRA_JAX_HOSTS', '')
    if hosts not in ('', 'auto'):
        raise ConfigError(f"ELECTRA_JAX_HOSTS is {hosts!r}, allowed: 'auto', or not set")
    # srun sets both; in a batch script, which is a single process, only SLURM_NTASKS is set.
    slurm = 'SLURM_STEP_NODELIST' in os.environ and os.environ.get('SLURM_NTASKS', '1') != '1'
    return slurm or hosts == 'auto'


def _whole_number(name: str) -> int:
    try:
        return int(os.environ.get(name, ''))
    except ValueError:
        raise ConfigError(
            f'JAX_COORDINATOR_ADDRESS is set and {name} is {os.environ.get(name)!r}: each process '
            'needs JAX_NUM_PROCESSES and JAX_PROCESS_ID too, whole numbers'
        ) from None
