"""Hosts and chips: joining a multi-host run, and what a chip can do at most."""

import os

import jax

from electra_jax.core.errors import ConfigError

# Dense bfloat16 FLOP/s of one JAX device, from the vendors' data sheets.
PEAK_FLOPS: dict[str, float] = {
    'TPU v4': 275e12,
    'TPU v5 lite': 197e12,
    'TPU v5e': 197e12,
    'TPU v5': 459e12,
    'TPU v5p': 459e12,
    'TPU v6 lite': 918e12,
    'TPU v6e': 918e12,
    'NVIDIA A100': 312e12,
    'NVIDIA H100': 989e12,
    'NVIDIA H200': 989e12,
}


def initialize() -> None:
    """Joins the other hosts of the run, where JAX_COORDINATOR_ADDRESS is set.

    JAX_NUM_PROCESSES and JAX_PROCESS_ID say how many there are and which one this is.

    Raises:
        ConfigError: one of the three is missing or is not a number.
    """
    if 'JAX_COORDINATOR_ADDRESS' not in os.environ or jax.distributed.is_initialized():
        return
    numbers = {}
    for name in ('JAX_NUM_PROCESSES', 'JAX_PROCESS_ID'):
        try:
            numbers[name] = int(os.environ.get(name, ''))
        except ValueError:
            raise ConfigError(
                f'JAX_COORDINATOR_ADDRESS is set and {name} is {os.environ.get(name)!r}: each host '
                'needs all three, the last two whole numbers'
            ) from None
    jax.distributed.initialize(
        num_processes=numbers['JAX_NUM_PROCESSES'], process_id=numbers['JAX_PROCESS_ID']
    )


def peak_flops(devices: list[jax.Device]) -> float | None:
    """Of all devices together, FLOP/s; None where the kind is not in `PEAK_FLOPS`."""
    kind = devices[0].device_kind
    # The longest name that fits: 'TPU v5 lite' is not a 'TPU v5'.
    known = sorted((name for name in PEAK_FLOPS if kind.startswith(name)), key=len)
    return PEAK_FLOPS[known[-1]] * len(devices) if known else None
