"""TPU slices that are not here, as libtpu describes them."""

import importlib.util
import os
from typing import Any

import jax
from jax.experimental import topologies

from electra_jax.aot.definition import Platform
from electra_jax.core.errors import ConfigError, first_line
from electra_jax.parallel import mesh

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


def devices(topology: str, slices: int) -> list[jax.Device]:
    """The devices of slices of a topology."""
    if not has_libtpu():
        raise ConfigError(
            "the TPU compiler (libtpu) is not installed: type pip install 'libtpu>=0.0.30', or "
            "pip install -e '.[tpu-compile]' in a clone; it needs no TPU"
        )
    for name, value in _ENVIRONMENT.items():
        os.environ.setdefault(name, value)
    generation = topology.partition(':')[0]
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


PLATFORM = Platform(
    kind='tpu',
    group='slice',
    links='ici',
    network='dcn',
    names=tuple(_OPTIONS),
    pattern=r'\d+x\d+(x\d+)?',
    allowed=f'a TPU ({", ".join(_OPTIONS)}) and the chips along each side, for example {_EXAMPLES}',
    devices=devices,
    check=lambda config: None,
    group_of=mesh.slice_of,
    memory_share=lambda: 1.0,  # the table of chips has what XLA leaves to a program
)
