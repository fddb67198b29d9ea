"""What a config is measured against: PyTorch on transformers, or another recipe."""

from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

from electra_jax.config.fields import Settings
from electra_jax.core.errors import UserError, unknown

# On a GPU, JAX would take most of the memory at once, and leave the peer none.
SHARING = {'XLA_PYTHON_CLIENT_PREALLOCATE': 'false'}
# Platform -> variants of the peer that may be the fastest; of those timed the fastest counts.
PEER_VARIANTS = {'cpu': ('eager', 'compiled'), 'gpu': ('compiled', 'cuda_graphs')}
# The part of a record about the peer where there is none.
ALONE: dict[str, Any] = {
    'peer': None,
    'peer_tokens_per_second': None,
    'ratio': None,
}


class Rival(NamedTuple):
    """What a config is measured against.

    Attributes:
        name: in tables.
        config: of another recipe; None: transformers.
        variants: of transformers; None: all that may be the fastest.
    """

    name: str
    config: Settings | None
    variants: tuple[str, ...] | None = None


def check_variants(rival: Rival, known: Iterable[str]) -> None:
    """Refuses a variant that does not exist.

    Raises:
        ConfigError: naming it, and those that exist.
    """
    for variant in rival.variants or ():
        if variant not in known:
            raise unknown('--peer_variants', variant, known)


def peer_device(ready: Mapping[str, Any]) -> dict[str, str]:
    """Device and dtype of the PyTorch peer: the same as ours.

    Raises:
        UserError: PyTorch does not run there.
    """
    platform = ready['platform']
    if platform not in PEER_VARIANTS:
        raise UserError(f'--versus=transformers is timed on a CPU or a GPU, not on a {platform}')
    return {'device': 'cpu' if platform == 'cpu' else 'cuda', 'dtype': ready['dtype']}
