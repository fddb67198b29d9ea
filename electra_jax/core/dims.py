"""One alphabet of dimensions, for names, einsum strings and sharding alike.

A tensor's name ends in the letters of its dimensions (`hidden_BLD`), the same letters stand in
einsum strings (`'BLD,DHK->BLHK'`) and in the sharding rules of `parallel/rules.py`. A file that
needs another letter declares it at its head: ``# R: tokens of an answer``. The model names only
the letters that an activation has, by `constrain(x, 'BLD')`, or what a function's arrays have, by
`per_shard`; the program that runs the model decides what a letter means for the mesh, with
`sharding_activations`.
"""

import contextlib
import contextvars
from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

import jax

ALPHABET = {
    'B': 'batch, rows',
    'L': 'length of a row, tokens',
    'S': 'length again, where both sides of attention appear: the attended side',
    'D': 'model width',
    'M': 'model width of the encoder that a decoder reads',
    'E': 'embedding width',
    'H': 'attention heads',
    'K': 'width of a head',
    'F': 'feed-forward width',
    'G': 'parts of a product that is several in one: query, key, value; gate, value',
    'V': 'vocabulary, padded',
    'P': 'masked positions of a row, padded',
    'C': 'classes',
    'A': 'alternatives for a masked position, of which one is the original',
    'N': 'layers, stacked',
    'T': 'token types',
    'I': 'patches of an image; rows and columns of patches',
    'O': 'numbers of a patch: its pixels, in each colour',
    'X': 'blocks of the vocabulary',
    'Y': 'tokens of such a block',
    'J': 'blocks of a row, in local attention',
    'W': 'tokens of such a block',
    'U': 'tokens that such a block sees, itself and both neighbours',
}


def lift(x: jax.Array, rank: int) -> jax.Array:
    """`x` with axes of size 1 in front, to meet arrays of `rank` axes: [D] -> [1, 1, D].

    Written out because the tests forbid JAX to do it silently, which hides mistaken shapes.
    """
    return jax.lax.expand_dims(x, range(rank - x.ndim))


def join_heads(x: jax.Array, letters: str) -> jax.Array:
    """[..., H, K, ...] -> [..., H K, ...]; `x` itself if its letters have no heads.

    A TPU stores [H, K] and [H K] in different orders, and its attention reads the second. So heads
    are joined wherever XLA would not see that a reshape is taken back: otherwise every activation
    is copied from one order to the other.
    """
    first = letters.find('HK')
    return x if first < 0 else x.reshape(*x.shape[:first], -1, *x.shape[first + 2 :])


def split_heads(x: jax.Array, letters: str, K: int) -> jax.Array:
    """The inverse of `join_heads`; `letters` are those of the result."""
    first = letters.find('HK')
    return x if first < 0 else x.reshape(*x.shape[:first], -1, K, *x.shape[first + 1 :])


class Layout(NamedTuple):
    """How a running program distributes arrays over its devices."""

    # Array and letters -> the array, distributed by them.
    constrain: Callable[[jax.Array, str], jax.Array]
    # Function, letters of its arrays, letters of its result -> a function of whole arrays that
    # runs `function` on each device's own part.
    per_shard: Callable[[Callable, Sequence[str], str], Callable]


_layout: contextvars.ContextVar[Layout | None] = contextvars.ContextVar('layout', default=None)


def constrain(x: jax.Array, letters: str) -> jax.Array:
    """Distributes `x` by the running program's rules for its letters; without a mesh `x` itself."""
    assert x.ndim == len(letters), (x.shape, letters)
    layout = _layout.get()
    return x if layout is None else layout.constrain(x, letters)


def per_shard(function: Callable, inputs: Sequence[str], output: str) -> Callable:
    """`function` run on each device's part of the arrays, for kernels that XLA cannot divide.

    It must give a part of its result, whose letters are `output`, from the same parts of its
    arrays, whose letters are `inputs`, for example ``('BLHK', 'BL')``.
    """
    layout = _layout.get()
    return function if layout is None else layout.per_shard(function, inputs, output)


@contextlib.contextmanager
def sharding_activations(layout: Layout) -> Iterator[None]:
    """While a function is traced inside, `constrain` and `per_shard` follow `layout`."""
    token = _layout.set(layout)
    try:
        yield
    finally:
        _layout.reset(token)
