"""One alphabet of dimensions, for names, einsum strings and sharding alike.

A tensor's name ends in the letters of its dimensions (`hidden_BLD`), the same letters stand in
einsum strings (`'BLD,DHK->BLHK'`) and in the sharding rules of `parallel/rules.py`. The model
says only which letters an activation has, by `constrain(x, 'BLD')`; what a letter means for the
mesh is decided by whoever runs the model, through `sharding_activations`.
"""

import contextlib
import contextvars
from collections.abc import Callable, Iterator

import jax

ALPHABET = {
    'B': 'batch, rows',
    'L': 'length of a row, tokens',
    'S': 'length again, where both sides of attention appear: the attended side',
    'D': 'model width',
    'E': 'embedding width',
    'H': 'attention heads',
    'K': 'width of a head',
    'F': 'feed-forward width',
    'V': 'vocabulary, padded',
    'P': 'masked positions of a row, padded',
    'C': 'classes',
    'N': 'layers, stacked',
    'T': 'token types',
    'X': 'blocks of the vocabulary',
    'Y': 'tokens of such a block',
}

_constraint: contextvars.ContextVar[Callable[[jax.Array, str], jax.Array] | None] = (
    contextvars.ContextVar('activation constraint', default=None)
)


def constrain(x: jax.Array, letters: str) -> jax.Array:
    """Lays `x` over the mesh as the running program's rules say for these letters.

    Args:
        x: array with one letter of `ALPHABET` per dimension.
        letters: for example ``'BLD'``.

    Returns:
        `x` itself where no mesh is in use.
    """
    assert x.ndim == len(letters), (x.shape, letters)
    apply = _constraint.get()
    return x if apply is None else apply(x, letters)


@contextlib.contextmanager
def sharding_activations(apply: Callable[[jax.Array, str], jax.Array]) -> Iterator[None]:
    """While a function is traced inside, `constrain` calls `apply(x, letters)`."""
    token = _constraint.set(apply)
    try:
        yield
    finally:
        _constraint.reset(token)
