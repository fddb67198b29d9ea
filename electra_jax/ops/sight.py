"""Which tokens of its document a token sees."""

from collections.abc import Callable
from typing import NamedTuple

import jax

# Which side, by the positions of two tokens: its own [L, 1], and the other [S].
SIDES: dict[str, Callable[[jax.Array, jax.Array], jax.Array | bool]] = {
    'document': lambda own_L1, other_S: True,
    'before': lambda own_L1, other_S: other_S <= own_L1,
    'after': lambda own_L1, other_S: other_S >= own_L1,
}


class Sight(NamedTuple):
    """The part of its document that a token sees, itself always included.

    Attributes:
        side: a key of `SIDES`.
        window: tokens that on each side of itself that it sees; None: all.
    """

    side: str = 'document'
    window: int | None = None

    def sees(self, own_L1: jax.Array, other_S: jax.Array) -> jax.Array | bool:
        """Whether a token at one position sees one at another of the same document."""
        seen = SIDES[self.side](own_L1, other_S)
        if self.window is not None:
            seen &= abs(own_L1 - other_S) <= self.window
        return seen
