"""Devices that are not here, by name: programs can be compiled for them, and never run on them."""

import re

import jax

from electra_jax.aot import gpu, tpu
from electra_jax.aot.definition import Platform
from electra_jax.core.errors import ConfigError

PLATFORMS = (tpu.PLATFORM, gpu.PLATFORM)


def find(topology: str) -> Platform:
    """The platform of a topology, such as ``'v5e:4x4'`` or ``'h100:8'``.

    Raises:
        ConfigError: no platform has a topology of that form.
    """
    name, _, sizes = topology.partition(':')
    for platform in PLATFORMS:
        if name in platform.names and re.fullmatch(platform.pattern, sizes):
            return platform
    allowed = '; or '.join(platform.allowed for platform in PLATFORMS)
    raise ConfigError(f'--topology is {topology!r}, allowed: {allowed}')


def devices(topology: str, groups: int = 1) -> list[jax.Device]:
    """The devices of a topology, or of several connected ones, as their compiler describes them.

    Call it before anything else has made JAX look for devices: it keeps JAX on the CPU, so that
    JAX does not wait for devices that are not here.
    """
    platform = find(topology)
    if jax.config.jax_platforms is None:  # type: ignore[attr-defined]
        jax.config.update('jax_platforms', 'cpu')
    return platform.devices(topology, groups)
