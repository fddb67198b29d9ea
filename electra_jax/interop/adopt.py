"""Starts a model from another one's parameters: what fits is taken, the rest is named."""

import dataclasses
from collections.abc import Callable

import jax
import numpy as np

from electra_jax.core.errors import CheckpointError, unknown
from electra_jax.core.trees import Tree, named_leaves


@dataclasses.dataclass
class Adopted:
    """What became of both trees' leaves, by path."""

    taken: list[str] = dataclasses.field(default_factory=list)
    fresh: list[str] = dataclasses.field(default_factory=list)  # the source lacks them
    unused: list[str] = dataclasses.field(default_factory=list)  # only the source has them
    extended: list[str] = dataclasses.field(default_factory=list)  # position tables made longer


def _keep_fresh(source_LE: np.ndarray, fresh_LE: np.ndarray) -> np.ndarray:
    """The known positions, then those that the model started with."""
    return np.concatenate([source_LE, fresh_LE[len(source_LE) :]])


def _repeat(source_LE: np.ndarray, fresh_LE: np.ndarray) -> np.ndarray:
    """The known positions again and again, as Longformer starts (section 5 of its paper).

    >>> _repeat(np.array([[1.0], [2.0]]), np.zeros((5, 1))).ravel().tolist()
    [1.0, 2.0, 1.0, 2.0, 1.0]
    """
    return source_LE[np.arange(len(fresh_LE)) % len(source_LE)]


def _interpolate(source_LE: np.ndarray, fresh_LE: np.ndarray) -> np.ndarray:
    """The known positions spread over the whole table, linearly, ends on ends.

    >>> _interpolate(np.array([[1.0], [3.0]]), np.zeros((3, 1))).ravel().tolist()
    [1.0, 2.0, 3.0]
    """
    place_L = np.linspace(0.0, len(source_LE) - 1, len(fresh_LE))
    below_L = np.minimum(place_L.astype(int), max(len(source_LE) - 2, 0))
    above_L = np.minimum(below_L + 1, len(source_LE) - 1)
    share_L1 = (place_L - below_L)[:, None]
    return ((1 - share_L1) * source_LE[below_L] + share_L1 * source_LE[above_L]).astype(
        source_LE.dtype
    )


# What the positions start as that the source does not have: (source, fresh) -> table, [L, E].
POSITION_RULES: dict[str, Callable[[np.ndarray, np.ndarray], np.ndarray]] = {
    'fresh': _keep_fresh,
    'repeat': _repeat,
    'interpolate': _interpolate,
}
_POSITION_TABLES = (
    'embeddings/position',
    'generator_embeddings/position',
    'embedding_delta/position',
)


def check_shapes(source: Tree, wanted: Tree) -> None:
    """Refuses arrays that have another shape than `wanted`'s of the same name.

    Args:
        source: arrays to start from.
        wanted: the model's, or their shapes alone.

    Raises:
        CheckpointError: as `adopt`.
    """
    have = dict(named_leaves(source))
    for path, leaf in named_leaves(wanted):
        if path in have:
            given = np.asarray(have[path])
            if given.shape != leaf.shape and not _is_longer(path, given, leaf):
                raise CheckpointError(_other_shape(path, given, leaf))


def adopt(source: Tree, fresh: Tree, positions: str = 'fresh') -> tuple[Tree, Adopted]:
    """`fresh` with the leaves of `source` in the place of its own, wherever both have one.

    Args:
        source: parameters to start from.
        fresh: initialized parameters of the model that is trained; arrays of either library.
        positions: a key of `POSITION_RULES`, for position tables longer than the source's.

    Returns:
        A tree of NumPy arrays with the structure, shapes and dtypes of `fresh`, and an account
        of every leaf.

    Raises:
        CheckpointError: a leaf has another shape on both sides, or nothing fits at all.
        ConfigError: the rule is not known.
    """
    if positions not in POSITION_RULES:
        raise unknown('config.init_positions', positions, POSITION_RULES)
    have, account = dict(named_leaves(source)), Adopted()
    wanted = dict(named_leaves(fresh))
    chosen = {}
    for path, leaf in wanted.items():
        leaf = np.asarray(leaf)
        if path not in have:
            account.fresh.append(path)
            chosen[path] = leaf
            continue
        account.taken.append(path)
        given = np.asarray(have[path])
        if _is_longer(path, given, leaf):
            account.extended.append(path)
            given = POSITION_RULES[positions](given, leaf)
        if given.shape != leaf.shape:
            raise CheckpointError(_other_shape(path, given, leaf))
        chosen[path] = given.astype(leaf.dtype)
    account.unused = sorted(set(have) - set(wanted))
    if not account.taken:
        raise CheckpointError(
            'the checkpoint to start from has no parameter of this model: it holds '
            f'{", ".join(sorted({path.split("/")[0] for path in have}))}'
        )
    return jax.tree.unflatten(jax.tree.structure(fresh), list(chosen.values())), account


def _is_longer(path: str, given: np.ndarray, leaf: np.ndarray) -> bool:
    if path not in _POSITION_TABLES or given.shape[1:] != leaf.shape[1:]:
        return False
    return given.ndim > 0 and given.shape[0] < leaf.shape[0]


def _other_shape(path: str, given: np.ndarray, leaf: np.ndarray) -> str:
    advice = 'give the model the sizes of the checkpoint'
    if path in _POSITION_TABLES and given.ndim and given.shape[0] > leaf.shape[0]:
        advice = f'type --config.model.max_positions={len(given)}'
    elif path.endswith(('embeddings/word', 'output_bias')):
        advice = 'use the tokenizer of the checkpoint'
    return (
        f'{path} has shape {list(given.shape)} in the checkpoint to start from and '
        f'{list(leaf.shape)} in this model: {advice}'
    )
