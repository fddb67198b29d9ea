"""Settings that fit, near ones that do not: compiled, or estimated."""

import dataclasses
import math
from collections.abc import Callable, Iterator, Mapping
from typing import Any, NamedTuple

import jax
from jax.sharding import Mesh

from electra_jax.aot.compile import Compiled
from electra_jax.config.settings import Config
from electra_jax.train.state import TrainState

_TRIES = 3  # compilations, at most


class Memory(NamedTuple):
    """Bytes of one device; state: parameters, moments and counters."""

    needed: int
    limit: int
    params: int
    state: int

    @property
    def fixed(self) -> int:
        """The part that does not shrink with the rows: state and gradients."""
        return min(self.needed, self.state + self.params)

    @property
    def rows(self) -> int:
        """The part that does: activations and all that is made from them."""
        return self.needed - self.fixed


class Suggestion(NamedTuple):
    """Changes that fit, by dotted name; compiled: whether that is certain, not estimated."""

    changes: dict[str, Any]
    hbm_bytes: int
    compiled: bool


def memory(needed: int, limit: int, state: TrainState) -> Memory:
    """Of a step that needs `needed` bytes, with its abstract state."""
    return Memory(needed, limit, shard_bytes(state.params), shard_bytes(state))


def shard_bytes(tree: Any) -> int:
    """Bytes of one device's part of abstract arrays with shardings."""
    leaves = jax.tree.leaves(tree)
    return sum(math.prod(x.sharding.shard_shape(x.shape)) * x.dtype.itemsize for x in leaves)


def nearest(
    config: Config,
    used: Memory,
    mesh: Mesh,
    try_out: Callable[[Config], Compiled] | None,
) -> Suggestion | None:
    """The first of `candidates` that fits.

    Args:
        config: of a step that does not fit.
        used: memory of the config.
        mesh: that it was compiled for.
        try_out: compiles a config; None where that takes too long.

    Returns:
        None where nothing tried or estimated fits.
    """
    tries = 0
    for changes, estimate in candidates(config, used, mesh):
        if estimate is not None and estimate > used.limit:
            continue
        if try_out is None:
            if estimate is not None:
                return Suggestion(changes, estimate, compiled=False)
            continue
        compiled = try_out(changed(config, changes))
        if compiled.fits(used.limit):
            return Suggestion(changes, compiled.hbm_bytes, compiled=True)
        tries += 1
        if tries == _TRIES:
            try_out = None
    return None


def candidates(
    config: Config, used: Memory, mesh: Mesh
) -> Iterator[tuple[dict[str, Any], int | None]]:
    """Changes and estimates of bytes, those that change the training least first.

    The estimates assume that what depends on rows shrinks in proportion to the rows of a
    microbatch; what remat saves is not estimated. Accumulated gradients are one more array like the
    parameters.
    """
    if config.model.remat != 'full':
        yield {'model.remat': 'full'}, None
    ways = mesh.shape['data'] * mesh.shape['fsdp']
    settings = config.optimizer
    rows = config.batch_size // ways // settings.microbatches
    cuts = [cut for cut in (2, 4, 8, 16, 32, 64) if rows % cut == 0]
    for cut in cuts:
        estimate = used.fixed + used.params + used.rows // cut
        yield {'optimizer.microbatches': settings.microbatches * cut}, estimate
    more = mesh.shape['data']  # ways in which fsdp could cut the state, beyond what it does
    if more > 1:
        spread = {'mesh.data': 1, 'mesh.fsdp': ways}
        yield spread, used.fixed // more + used.rows
        for cut in cuts:
            estimate = (used.fixed + used.params) // more + used.rows // cut
            yield {**spread, 'optimizer.microbatches': settings.microbatches * cut}, estimate
    for cut in cuts:
        yield {'batch_size': config.batch_size // cut}, used.fixed + used.rows // cut


def changed(config: Config, changes: Mapping[str, Any]) -> Config:
    """The config with some settings of dotted names replaced."""
    for name, value in changes.items():
        group, _, leaf = name.rpartition('.')
        if group:
            value = dataclasses.replace(getattr(config, group), **{leaf: value})
        config = dataclasses.replace(config, **{group or leaf: value})
    return config
