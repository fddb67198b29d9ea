"""Parameter trees by name: paths, and tables of rules matched against them."""

import functools
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax

from electra_jax.core.errors import ConfigError

Tree = Any  # nested dicts of arrays

_joined = functools.partial(jax.tree_util.keystr, simple=True, separator='/')


def named_leaves(tree: Tree) -> list[tuple[str, Any]]:
    """Each leaf with its path, such as ``'generator/encoder/query/kernel'``."""
    leaves, _ = jax.tree_util.tree_flatten_with_path(tree)
    return [(_joined(path), leaf) for path, leaf in leaves]


def match_rules(rules: Sequence[tuple[str, Any]], tree: Tree, table: str) -> Tree:
    """For each leaf the value of the first (pattern, value) that matches its whole path.

    Raises:
        ConfigError: a leaf matches no rule of the `table`.

    >>> match_rules([('.*bias', 0.0), ('.*', 1.0)], {'a': {'bias': 1, 'kernel': 2}}, 'decay')
    {'a': {'bias': 0.0, 'kernel': 1.0}}
    """

    def value(path: tuple, _: Any) -> Any:
        name = _joined(path)
        for pattern, value in rules:
            if re.fullmatch(pattern, name):
                return value
        raise ConfigError(f'no {table} rule matches {name}: add one to its table')

    return jax.tree_util.tree_map_with_path(value, tree)


def keep(tree: Tree, wanted: Callable[[str], bool]) -> Tree:
    """A nested dict of only the leaves whose path is wanted, without empty dicts.

    >>> keep({'a': {'x': 1}, 'b': {'x': 2, 'y': 3}}, lambda name: name.endswith('b/x'))
    {'b': {'x': 2}}
    """
    return nested({path: leaf for path, leaf in named_leaves(tree) if wanted(path)})


def nested(leaves: Mapping[str, Any]) -> Tree:
    """Nested dicts of leaves that are given by their paths."""
    tree: Tree = {}
    for path, leaf in leaves.items():
        *parents, last = path.split('/')
        branch = tree
        for name in parents:
            branch = branch.setdefault(name, {})
        branch[last] = leaf
    return tree


def count(tree: Tree) -> int:
    """Number of scalars in all leaves."""
    return sum(leaf.size for leaf in jax.tree.leaves(tree))


def updated_mean(mean: Tree, new: Tree, number: int | jax.Array) -> Tree:
    """The mean of `number` trees, of which `new` is one and `mean` the mean of the others.

    >>> updated_mean({'a': 2.0}, {'a': 5.0}, 3)
    {'a': 3.0}
    """
    return jax.tree.map(lambda old, one: old + (one - old) / number, mean, new)
