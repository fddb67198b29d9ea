"""Hosts and chips: joining a multi-host run, and what a chip can do at most."""

import os

import jax

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
    """Joins the other hosts where the environment says that there are any.

    JAX finds them by itself on TPU pods, Slurm and Kubernetes; elsewhere set
    JAX_COORDINATOR_ADDRESS, JAX_NUM_PROCESSES and JAX_PROCESS_ID.
    """
    if jax.distributed.is_initialized():
        return
    if 'JAX_COORDINATOR_ADDRESS' in os.environ:
        jax.distributed.initialize(
            num_processes=int(os.environ['JAX_NUM_PROCESSES']),
            process_id=int(os.environ['JAX_PROCESS_ID']),
        )
    elif len(os.environ.get('TPU_WORKER_HOSTNAMES', '').split(',')) > 1:
        jax.distributed.initialize()


def peak_flops(devices: list[jax.Device]) -> float | None:
    """Of all devices together, FLOP/s; None where the kind is not in `PEAK_FLOPS`."""
    kind = devices[0].device_kind
    # The longest name that fits: 'TPU v5 lite' is not a 'TPU v5'.
    known = sorted((name for name in PEAK_FLOPS if kind.startswith(name)), key=len)
    return PEAK_FLOPS[known[-1]] * len(devices) if known else None
