"""Hosts and chips: joining a multi-host run, and what a chip can do at most."""

import os
import sys
from typing import NamedTuple, NoReturn

import jax
import numpy as np
from jax.experimental import multihost_utils

from electra_jax.core.errors import ConfigError


class Chip(NamedTuple):
    """What one JAX device can do at most, from the vendor's data sheets; None: not looked up."""

    flops: float  # dense bfloat16, FLOP/s
    hbm_bytes: float | None = None  # what XLA leaves to a program, a little less than there is
    hbm_bandwidth: float | None = None  # bytes/s
    ici_bandwidth: float | None = None  # bytes/s out of it over all its links together
    dcn_bandwidth: float | None = None  # bytes/s out of it to other slices


_GIB = 2**30

# By the beginning of JAX's name for the device; the longest one that fits counts.
CHIPS: dict[str, Chip] = {
    'TPU v4': Chip(275e12, 30.75 * _GIB, 1200e9, 300e9),  # both cores of a chip are one device
    'TPU v5 lite': Chip(197e12, 15.75 * _GIB, 819e9, 200e9, 3.125e9),
    'TPU v5e': Chip(197e12, 15.75 * _GIB, 819e9, 200e9, 3.125e9),
    'TPU v5': Chip(459e12, 95.73 * _GIB, 2765e9, 600e9, 6.25e9),
    'TPU v5p': Chip(459e12, 95.73 * _GIB, 2765e9, 600e9, 6.25e9),
    'TPU v6 lite': Chip(918e12, 31.24 * _GIB, 1638e9, 400e9),
    'TPU v6e': Chip(918e12, 31.24 * _GIB, 1638e9, 400e9),
    'TPU7x': Chip(1153.5e12, 94.74 * _GIB, 3690e9, 300e9),  # half a chip: each core is a device
    'NVIDIA A100': Chip(312e12),
    'NVIDIA H100': Chip(989e12),
    'NVIDIA H200': Chip(989e12),
}


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


def chip(device: jax.Device) -> Chip | None:
    """What the device can do; None where its kind is not in `CHIPS`."""
    known = [name for name in CHIPS if device.device_kind.startswith(name)]
    return CHIPS[max(known, key=len)] if known else None


def peak_flops(devices: list[jax.Device]) -> float | None:
    """Of all devices together, FLOP/s; None where the kind is not in `CHIPS`."""
    one = chip(devices[0])
    return one.flops * len(devices) if one else None
