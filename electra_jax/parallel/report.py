"""The lines of the start-up report about parameters and the mesh."""

from itertools import zip_longest

import jax
from jax.sharding import Mesh

from electra_jax.core.trees import Tree, count, named_leaves
from electra_jax.parallel.rules import PARAMETER_AXES, parameter_letters


def parameter_table(params: Tree, mesh: Mesh, decays: Tree) -> str:
    """One line per parameter: path, shape, letters, weight decay, and axes of the mesh.

    A letter whose axis does not divide it, or is taken by an earlier one, is marked. `params` are
    abstract, with shardings; `decays` is `optim.optimizer.decay_table`.
    """
    lines = []
    letters = dict(named_leaves(parameter_letters(params)))
    decay_of = dict(named_leaves(decays))
    for name, leaf in named_leaves(params):
        shape = 'x'.join(map(str, leaf.shape))
        decay = 'decays' if decay_of[name] else '-'
        axes = _axes_of(leaf, letters[name], mesh)
        lines.append(f'{name:<58} {shape:<18} {letters[name]:<6} {decay:<7} {axes}')
    lines.append(f'{count(params):,} parameters')
    return '\n'.join(lines)


def _axes_of(leaf: jax.ShapeDtypeStruct, letters: str, mesh: Mesh) -> str:
    words = []
    for letter, size, placed in zip_longest(letters, leaf.shape, leaf.sharding.spec):
        wanted = PARAMETER_AXES[letter]
        if placed:
            words.append(f'{letter} over {placed}')
        elif isinstance(wanted, str) and mesh.shape[wanted] > 1:
            words.append(f'{letter}={size} not over {wanted} (indivisible or taken)')
    return ', '.join(words) or 'replicated'


def mesh_line(mesh: Mesh) -> str:
    """Devices and axes in words."""
    devices = mesh.devices.reshape(-1)
    axes = ' x '.join(f'{axis} {size}' for axis, size in mesh.shape.items() if size > 1)
    kind = devices[0].device_kind
    return f'{devices.size} x {kind}' + (f' ({axes})' if axes else '')
