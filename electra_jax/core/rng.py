"""Randomness by position, not by history: a stream's key is fold_in(fold_in(root, step), stream).

A run that resumes at step k therefore draws what an uninterrupted run draws there, the checkpoint
holds no random state, and no stream can disturb another. A stream's key may be folded further, and
an evaluation has a root of its own, from its batch's number instead of the seed.
"""

import jax

# The numbers are part of the meaning of a seed: add new streams at the end.
STREAMS = {
    'init': 0,
    'positions': 1,
    'keep': 2,
    'sample': 3,
    'dropout': 4,
    'evaluate': 5,
    'candidates': 6,
}


def root_key(seed: int | jax.Array) -> jax.Array:
    """The run's root key; threefry, whose draws do not depend on the mesh."""
    return jax.random.key(seed, impl='threefry2x32')


def stream_key(root: jax.Array, step: jax.Array | int, stream: str) -> jax.Array:
    """The key of one stream (a name in `STREAMS`) at one step."""
    return jax.random.fold_in(jax.random.fold_in(root, step), STREAMS[stream])


def step_keys(root: jax.Array, step: jax.Array | int) -> dict[str, jax.Array]:
    """Every stream's key at one step."""
    return {stream: stream_key(root, step, stream) for stream in STREAMS}
