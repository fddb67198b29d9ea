"""What attention works on, and which tokens of its document a token sees."""

import math
from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp

from electra_jax.core.dims import lift


class Operands(NamedTuple):
    """What attention works on; S = L."""

    query_BLHK: jax.Array  # compute dtype, as keys and values
    key_BSHK: jax.Array
    value_BSHK: jax.Array
    documents_BL: jax.Array  # int32; tokens see their own number only, padding (0) sees padding

    @property
    def scale(self) -> float:
        """1 / sqrt(K), by which a query's products with keys are multiplied."""
        return 1 / math.sqrt(self.query_BLHK.shape[-1])


class Blocks(NamedTuple):
    """A row in blocks of queries, each with all keys that a window lets it see."""

    number: int  # of blocks: J
    own: int  # tokens of a block: W
    seen: int  # tokens that it meets, its own and a window's more on either side: U


# Tokens of a block behind a narrow window: products of a few rows each are slow.
_FEWEST = 16

# Which side, by the positions of two tokens: its own [L, 1], the other [1, S].
SIDES: dict[str, Callable[[jax.Array, jax.Array], jax.Array | bool]] = {
    'document': lambda own_L1, other_1S: True,
    'before': lambda own_L1, other_1S: other_1S <= own_L1,
    'after': lambda own_L1, other_1S: other_1S >= own_L1,
}


class Sight(NamedTuple):
    """The part of its document that a token sees, itself always included."""

    side: str = 'document'  # a key of `SIDES`
    window: int | None = None  # tokens on each side of itself that it sees; None: all

    def sees(self, own_L1: jax.Array, other_1S: jax.Array) -> jax.Array | bool:
        """Whether a token at one position sees one at another of the same document."""
        seen = SIDES[self.side](own_L1, other_1S)
        if self.window is not None:
            seen &= abs(own_L1 - other_1S) <= self.window
        return seen

    def blocks(self, L: int) -> Blocks | None:
        """How the plain form goes through rows of L tokens; None: at once, which is less work.

        >>> Sight(window=3).blocks(64)
        Blocks(number=4, own=16, seen=22)
        >>> Sight(window=128).blocks(512)
        Blocks(number=4, own=128, seen=384)
        >>> Sight(window=128).blocks(384) is None
        True
        """
        if self.window is None:
            return None
        own = max(self.window, _FEWEST)
        blocks = Blocks(-(-L // own), own, own + 2 * self.window)
        return blocks if blocks.seen < L else None


def visible(documents_BL: jax.Array, sight: Sight) -> jax.Array:
    """Who sees whom: bool [B, L, S].

    >>> visible(jnp.array([[1, 1, 0]]), Sight('before')).astype(int).tolist()
    [[[1, 0, 0], [1, 1, 0], [0, 0, 1]]]
    """
    positions_L = jnp.arange(documents_BL.shape[1])
    seen_LS = sight.sees(positions_L[:, None], positions_L[None])
    same_BLS = documents_BL[:, :, None] == documents_BL[:, None, :]
    return same_BLS & lift(jnp.asarray(seen_LS), 3)
