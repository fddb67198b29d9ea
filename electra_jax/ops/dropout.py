"""Dropout whose mask is recomputed in the backward pass instead of being stored.

Two sources of bits: JAX's threefry, and a counter hash of a few integer operations. Both are
functions of (key, element index) alone, so a mask does not depend on how an array is sharded.
"""

import functools
from collections.abc import Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp


class Counter(NamedTuple):
    """What `mix` hashes; uint32, of shapes that broadcast."""

    low: jax.Array  # number of an element, its lower word
    seed: jax.Array
    between: jax.Array  # a second seed, to which the upper word is added


def mix(counter: Counter) -> jax.Array:
    """A keyed integer mixer over the element index (xor-shift-multiply, two rounds).

    Good enough to drop activations, not for sampling. The second seed enters between the rounds,
    so that two keys never give shifted copies of one stream.
    """
    bits = counter.low ^ counter.seed
    bits = (bits ^ (bits >> 16)) * jnp.uint32(0x7FEB352D) + counter.between
    bits = (bits ^ (bits >> 15)) * jnp.uint32(0x846CA68B)
    return bits ^ (bits >> 16)


def threshold(rate: float) -> jax.Array:
    """Elements whose bits are below it are dropped; uint32."""
    return jnp.uint32(round(rate * 2**32))


def counter(key: jax.Array, shape: tuple[int, ...], indices: Sequence[jax.Array]) -> Counter:
    """The counter of elements of an array of `shape`, by their indices along each axis, uint32."""
    return _seeded(key, *_element_number(shape, indices))


def _seeded(key: jax.Array, low: jax.Array, high: jax.Array | None) -> Counter:
    seeds = jax.random.bits(key, (2,), jnp.uint32)  # well mixed for every key
    between = seeds[1] if high is None else seeds[1] + high * jnp.uint32(0x9E3779B9)
    return Counter(low, seeds[0], between)


def _hash_bits(key: jax.Array, shape: tuple[int, ...]) -> jax.Array:
    indices = [jax.lax.broadcasted_iota(jnp.uint32, shape, axis) for axis in range(len(shape))]
    return mix(counter(key, shape, indices))


def _element_number(
    shape: tuple[int, ...], indices: Sequence[jax.Array]
) -> tuple[jax.Array, jax.Array | None]:
    """A unique number for each element, by its indices along each axis, uint32.

    Returns:
        The lower word of 32 bits, and the upper one, None where it is 0 throughout.
    """
    low, high = jnp.zeros(indices[0].shape if indices else (), jnp.uint32), None
    stride, high_stride = 1, 1
    for index, size in zip(reversed(indices), reversed(shape), strict=True):
        if high is None and stride * size <= 2**32:
            low += index * jnp.uint32(stride % 2**32)
            stride *= size
        elif high is None:  # the axis on which the lower word is full
            fits = max(1, 2**32 // stride)
            low += index % fits * jnp.uint32(stride % 2**32)
            high, high_stride = index // fits, -(-size // fits)
        else:
            high += index * jnp.uint32(high_stride)
            high_stride *= size
    return low, high


BITS = {'hash': _hash_bits, 'threefry': jax.random.bits}  # key, shape -> uint32


def dropout(x: jax.Array, rate: float, key: jax.Array | None, bits: str) -> jax.Array:
    """Zeroes each element with probability `rate` and scales the rest by 1 / (1 - rate).

    Without a key nothing is dropped. `bits` is a key of `BITS`.
    """
    if key is None or rate == 0.0:
        return x
    return _dropout(x, jax.random.key_data(key), rate, bits)


@functools.partial(jax.custom_vjp, nondiff_argnums=(2, 3))
def _dropout(x: jax.Array, key_data: jax.Array, rate: float, bits: str) -> jax.Array:
    random = BITS[bits](jax.random.wrap_key_data(key_data, impl='threefry2x32'), x.shape)
    keep = random >= threshold(rate)
    return jnp.where(keep, x * jnp.asarray(1 / (1 - rate), x.dtype), jnp.zeros((), x.dtype))


def _forward(
    x: jax.Array, key_data: jax.Array, rate: float, bits: str
) -> tuple[jax.Array, jax.Array]:
    return _dropout(x, key_data, rate, bits), key_data


def _backward(
    rate: float, bits: str, key_data: jax.Array, grad: jax.Array
) -> tuple[jax.Array, None]:
    # The same mask and scale, applied to the gradient.
    return _dropout(grad, key_data, rate, bits), None


_dropout.defvjp(_forward, _backward)


class Drop(NamedTuple):
    """Dropout of an array, here of attention probabilities; see `dropout`."""

    rate: float = 0.0
    key: jax.Array | None = None
    bits: str = 'hash'

    @property
    def is_on(self) -> bool:
        """Whether anything is dropped."""
        return self.key is not None and self.rate > 0.0

    def __call__(self, probs: jax.Array) -> jax.Array:
        """Drops some of `probs`."""
        return dropout(probs, self.rate, self.key, self.bits)
