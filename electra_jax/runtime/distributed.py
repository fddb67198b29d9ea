"""Hosts: joining a multi-host run, and agreeing with the others."""

import os
import sys
from typing import NoReturn

import jax
import numpy as np
from jax.experimental import multihost_utils

from electra_jax.core.errors import ConfigError

# JAX itself ends a process whose coordinator, or whose own heartbeat, is lost for so long:
# later than `runtime.watchdog`, which says more.
_HEARTBEAT_SECONDS = 50


def initialize() -> None:
    """Joins the other processes of the run, where there are any.

    Either JAX_COORDINATOR_ADDRESS, JAX_NUM_PROCESSES and JAX_PROCESS_ID say where they meet, how
    many they are and which one this is; or JAX finds that out by itself: in a Slurm step of
    several tasks, and where ELECTRA_JAX_HOSTS is 'auto' (on the workers of a TPU slice).

    Raises:
        ConfigError: one of the three is missing or is not a number, ELECTRA_JAX_HOSTS is something
            else, or JAX finds no other processes.
    """
    if jax.distributed.is_initialized():
        return
    if 'JAX_COORDINATOR_ADDRESS' in os.environ:
        jax.distributed.initialize(
            num_processes=_whole_number('JAX_NUM_PROCESSES'),
            process_id=_whole_number('JAX_PROCESS_ID'),
            heartbeat_timeout_seconds=_HEARTBEAT_SECONDS,
        )
    elif _jax_knows_the_others():
        try:
            jax.distributed.initialize(heartbeat_timeout_seconds=_HEARTBEAT_SECONDS)
        except ValueError as error:
            raise ConfigError(
                f'the other processes of this run cannot be found ({error}): set '
                'JAX_COORDINATOR_ADDRESS, JAX_NUM_PROCESSES and JAX_PROCESS_ID, or train on this '
                'machine alone without ELECTRA_JAX_HOSTS'
            ) from error


def told_to_stop(step: int) -> bool:
    """Whether every process stops after this step, because one of them has got SIGTERM.

    All of them must ask after every step: JAX picks a step that none has passed yet. Always False
    where there is one process, whose signals are its own affair.
    """
    return jax.process_count() > 1 and multihost_utils.reached_preemption_sync_point(step)


def is_first() -> bool:
    """Whether this is the process that writes what is written once."""
    return jax.process_index() == 0


def end_now(message: str) -> NoReturn:
    """Says why, and ends this process at once, from whatever thread."""
    sys.stderr.write(f'\nerror: {message}\n')
    sys.stderr.flush()
    os._exit(1)


def agree(number: int | None) -> int | None:
    """The first process's number (not negative, or None), in every process."""
    if jax.process_count() == 1:
        return number
    told = multihost_utils.broadcast_one_to_all(np.int32(-1 if number is None else number))
    return None if int(told) < 0 else int(told)


def _jax_knows_the_others() -> bool:
    hosts = os.environ.get('ELECTRA_JAX_HOSTS', '')
    if hosts not in ('', 'auto'):
        raise ConfigError(f"ELECTRA_JAX_HOSTS is {hosts!r}, allowed: 'auto', or not set")
    # Both are set for what srun starts; SLURM_NTASKS alone also in a batch script, which is one
    # process whatever it says.
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
