"""The mesh of devices, and putting a batch on it."""

import jax
import numpy as np
from jax.sharding import Mesh

from electra_jax.config.schema import Config, MeshConfig
from electra_jax.core.errors import ConfigError

AXES = ('data', 'fsdp', 'tensor', 'sequence')


def mesh_shape(settings: MeshConfig, num_devices: int) -> tuple[int, int, int, int]:
    """Sizes of `AXES`, with -1 replaced by the devices that are left.

    Raises:
        ConfigError: the sizes do not multiply to the number of devices.

    >>> mesh_shape(MeshConfig(tensor=2), 8)
    (4, 1, 2, 1)
    """
    sizes = [getattr(settings, axis) for axis in AXES]
    fixed = int(np.prod([size for size in sizes if size != -1]))
    if -1 in sizes and num_devices % fixed == 0:
        sizes[sizes.index(-1)] = num_devices // fixed
    if int(np.prod(sizes)) != num_devices:
        spelled = ', '.join(f'config.mesh.{axis}={getattr(settings, axis)}' for axis in AXES)
        raise ConfigError(
            f'{spelled} does not fit {num_devices} devices: the four must multiply to '
            f'{num_devices} (one may be -1: the rest)'
        )
    return tuple(sizes)


def make_mesh(settings: MeshConfig, devices: list[jax.Device] | None = None) -> Mesh:
    """The run's mesh over all devices (or those given)."""
    devices = jax.devices() if devices is None else devices
    shape = mesh_shape(settings, len(devices))
    # Auto: XLA propagates shardings from the constraints; JAX's own default is Explicit.
    auto = (jax.sharding.AxisType.Auto,) * len(AXES)
    return jax.make_mesh(shape, AXES, axis_types=auto, devices=devices)


def check_batch(config: Config, mesh: Mesh, num_hosts: int) -> None:
    """Refuses a batch or row length that the mesh cannot divide.

    Raises:
        ConfigError: naming the setting and the nearest sizes that fit.
    """
    ways = mesh.shape['data'] * mesh.shape['fsdp']
    step = ways * config.optimizer.microbatches
    step = step * num_hosts // np.gcd(step, num_hosts)
    if config.batch_size % step:
        below, above = config.batch_size // step * step, -(-config.batch_size // step) * step
        fits = ' or '.join(str(size) for size in (below, above) if size)
        raise ConfigError(
            f'config.batch_size is {config.batch_size}, but it is cut into {step} equal parts '
            f'(mesh data {mesh.shape["data"]} x fsdp {mesh.shape["fsdp"]}, '
            f'{config.optimizer.microbatches} microbatches, {num_hosts} hosts): use {fits}'
        )
    if config.data.row_length % mesh.shape['sequence']:
        raise ConfigError(
            f'config.data.row_length is {config.data.row_length}, not a multiple of '
            f'config.mesh.sequence, which is {mesh.shape["sequence"]}'
        )
