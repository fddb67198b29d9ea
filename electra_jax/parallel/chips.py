"""What chips can do at most."""

from collections.abc import Sequence
from typing import NamedTuple

import jax


class Chip(NamedTuple):
    """What one JAX device can do at most, from the vendor's data sheets; None: not looked up."""

    flops: float  # FLOP/s, dense bfloat16
    hbm_bytes: float | None = None  # of a TPU what XLA leaves to a program, less than there is
    hbm_bandwidth: float | None = None  # bytes/s
    ici_bandwidth: float | None = None  # bytes/s that leave it over all its links together
    dcn_bandwidth: float | None = None  # bytes/s that leave it to other slices


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
    # Memory of a card as CUDA reports it, of which JAX takes a share; NVLink in one direction; of
    # the network, what a DGX has for each card.
    'NVIDIA A100': Chip(312e12),
    'NVIDIA A100-SXM4-80GB': Chip(312e12, 85100068864, 2039e9, 300e9, 25e9),
    'NVIDIA H100': Chip(989e12),
    'NVIDIA H100 80GB HBM3': Chip(989e12, 84942979072, 3350e9, 450e9, 50e9),
    'NVIDIA H200': Chip(989e12, 151397597184, 4800e9, 450e9, 50e9),
}


def chip(device: jax.Device) -> Chip | None:
    """What the device can do; None where its kind is not in `CHIPS`."""
    known = [name for name in CHIPS if device.device_kind.startswith(name)]
    return CHIPS[max(known, key=len)] if known else None


def peak_flops(devices: Sequence[jax.Device]) -> float | None:
    """FLOP/s of all devices together; None where the kind is not in `CHIPS`."""
    one = chip(devices[0])
    return one.flops * len(devices) if one else None
