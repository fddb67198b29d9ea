"""The mesh of devices, and putting a batch on it."""

import math

import jax
from jax.experimental import mesh_utils
from jax.sharding import Mesh

from electra_jax.config.settings import Config, MeshConfig
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
    fixed = math.prod(size for size in sizes if size != -1)
    if -1 in sizes and fixed and num_devices % fixed == 0:
        sizes[sizes.index(-1)] = num_devices // fixed
    if math.prod(sizes) != num_devices or -1 in sizes:
        spelled = ', '.join(f'config.mesh.{axis}={getattr(settings, axis)}' for axis in AXES)
        raise ConfigError(
            f'{spelled} does not fit {num_devices} devices: the four must multiply to '
            f'{num_devices} (only one may be -1: the rest)'
        )
    return tuple(sizes)


def make_mesh(settings: MeshConfig, devices: list[jax.Device] | None = None) -> Mesh:
    """The run's mesh over all devices (or those given).

    Where they belong to several TPU slices, the data axis goes over the slices first: between
    slices travel the gradients alone, once a step.

    Raises:
        ConfigError: the sizes do not fit the devices, or the data axis their slices.
    """
    devices = jax.devices() if devices is None else devices
    shape = mesh_shape(settings, len(devices))
    slices = len({slice_of(device) for device in devices})
    if shape[0] % slices:
        raise ConfigError(
            f'config.mesh.data is {shape[0]}, not a multiple of the {slices} slices that the '
            f'{len(devices)} devices belong to: only the data axis may cross slices'
        )
    # Axes of the chips' torus are split where the mesh asks for it, on every kind of chip.
    if slices > 1:
        inside = (shape[0] // slices, *shape[1:])
        grid = mesh_utils.create_hybrid_device_mesh(
            inside, (slices, 1, 1, 1), devices, allow_split_physical_axes=True
        )
    else:
        grid = mesh_utils.create_device_mesh(shape, devices, allow_split_physical_axes=True)
    # Auto: XLA propagates shardings from the constraints; JAX's own default is Explicit.
    return Mesh(grid, AXES, axis_types=(jax.sharding.AxisType.Auto,) * len(AXES))


def slice_of(device: jax.Device) -> int:
    """Number of the TPU slice that a device belongs to; 0 where there are no slices."""
    # JAX numbers the hosts of GPUs so, too, between which any axis may go.
    return getattr(device, 'slice_index', 0) if device.platform == 'tpu' else 0


def mesh_line(mesh: Mesh) -> str:
    """Devices and axes in words."""
    devices = mesh.devices.reshape(-1)
    axes = ' x '.join(f'{axis} {size}' for axis, size in mesh.shape.items() if size > 1)
    kind = devices[0].device_kind
    return f'{devices.size} x {kind}' + (f' ({axes})' if axes else '')


def num_hosts(mesh: Mesh) -> int:
    """How many processes the mesh's devices belong to."""
    return len({device.process_index for device in mesh.devices.flat})


def check_batch(config: Config, mesh: Mesh, num_hosts: int) -> None:
    """Refuses a batch or row length that the mesh cannot divide.

    Raises:
        ConfigError: naming the setting and the nearest sizes that fit.
    """
    ways = mesh.shape['data'] * mesh.shape['fsdp']
    step = ways * config.optimizer.microbatches
    step = math.lcm(step, num_hosts)
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
