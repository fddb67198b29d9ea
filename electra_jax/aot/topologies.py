"""TPU slices that are not here: devices that programs can be compiled for, and never run on."""

import importlib.util
import os
import re
from typing import Any

import jax
from jax.experimental import topologies

from electra_jax.core.errors import ConfigError, first_line

# Chips of a host's board; XLA assumes four, two by two, unless the slice is smaller.
_FULL_BOARD = (2, 2, 1)
# Options for libtpu beyond the name: both cores of a v4 chip are one device, as JAX has it on a
# real one.
_OPTIONS: dict[str, dict[str, Any]] = {
    'v4': {'chip_config_name': 'megacore', 'chips_per_host_bounds': _FULL_BOARD},
    'v5e': {},
    'v5p': {},
    'v6e': {},
    'tpu7x': {},
}
# There is no machine to ask about its TPU (without these, minutes of requests and warnings), and no
# TPU that two programs at once could want.
_ENVIRONMENT = {
    'TPU_SKIP_MDS_QUERY': '1',
    'TPU_ACCELERATOR_TYPE': 'v5litepod-4',
    'TPU_WORKER_HOSTNAMES': 'localhost',
    'ALLOW_MULTIPLE_LIBTPU_LOAD': 'true',
}
_EXAMPLES = 'v4:2x2x2, v5e:4x4, v5e:16x16, v5p:8x8x8, v6e:8x8, tpu7x:4x4x4'


def devices(topology: str, slices: int = 1) -> list[jax.Device]:
    """The devices of slices of a topology, such as ``'v5e:4x4'``, as libtpu describes them.

    Call it before anything else has made JAX look for devices: it keeps JAX on the CPU, so that
    JAX does not wait for a TPU that is not here.
    """
    generation = topology.partition(':')[0]
    if generation not in _OPTIONS or not re.fullmatch(r'\w+:\d+x\d+(x\d+)?', topology):
        raise ConfigError(
            f'--topology is {topology!r}, allowed: a generation ({", ".join(_OPTIONS)}) and the '
            f'chips along each side, for example {_EXAMPLES}'
        )
    if not has_libtpu():
        raise ConfigError(
            "the TPU compiler (libtpu) is not installed: type pip install 'libtpu>=0.0.30', or "
            "pip install -e '.[tpu_compile]' in a clone; it needs no TPU"
        )
    if jax.config.jax_platforms is None:  # type: ignore[attr-defined]
        jax.config.update('jax_platforms', 'cpu')
    for name, value in _ENVIRONMENT.items():
        os.environ.setdefault(name, value)
    options = {**_OPTIONS[generation], **({'num_slices': slices} if slices > 1 else {})}
    try:
        described = topologies.get_topology_desc(platform='tpu', topology_name=topology, **options)
    except (jax.errors.JaxRuntimeError, RuntimeError) as error:
        raise ConfigError(
            f'--topology={topology} is not a slice that libtpu knows ({first_line(error)}): for '
            f'example {_EXAMPLES}'
        ) from error
    return list(described.devices)


def has_libtpu() -> bool:
    """Whether programs can be compiled for TPUs here."""
    return importlib.util.find_spec('libtpu') is not None
