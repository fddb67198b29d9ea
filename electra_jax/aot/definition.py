"""What a platform is to this command: all in which TPUs and GPUs differ, in one record each."""

from collections.abc import Callable, Collection, Mapping
from typing import Any, NamedTuple

import jax

from electra_jax.config.settings import Config


class Platform(NamedTuple):
    """Devices that are not here: how they are named, described, compiled for and counted."""

    kind: str  # JAX's name of it, on which the defaults of a config depend
    group: str  # one of what `--slices` counts, in words
    links: str  # what a collective inside a group takes, in the roofline's times
    network: str  # what one between groups takes
    names: Collection[str]  # of what a topology begins with
    pattern: str  # a regular expression of what follows the name and a colon
    allowed: str  # the same for people, with examples
    devices: Callable[[str, int], list[jax.Device]]  # topology, number of groups -> devices
    check: Callable[[Config], None]  # refuses what cannot be compiled without a device
    group_of: Callable[[jax.Device], int]  # number of the group that a device belongs to
    memory_share: Callable[[], float]  # of a device's memory, which a run gets
    options: Mapping[str, Any] = {}  # for the compiler
    # What a kernel costs in addition to what it reads, writes and computes; None: a program is not
    # launched kernel by kernel.
    launch_seconds: float | None = None
    assumptions: tuple[str, ...] = ()  # of the roofline, beyond those of every platform
