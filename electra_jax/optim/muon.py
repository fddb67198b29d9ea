"""Muon for the matrices of layers, by `optax.contrib` (Jordan 2024; Liu et al. 2025, 2502.16982).

The momentum of each matrix is made orthogonal by five Newton-Schulz steps. Layers are stacked, and
queries, keys, values and gates may be, too: each matrix in such an array is one by itself. Heads
of an attention are one matrix together. Updates are scaled to the root mean square of 0.2 that
Adam's usually have (Liu et al., section 2.2), so that AdamW's learning rate is a good start.
Embeddings, heads, norms and biases are not among these matrices.
"""

import math

import jax
import optax
from optax import contrib

from electra_jax.core.trees import Tree, match_rules

_RMS = 0.2
_Axes = contrib.MuonDimensionNumbers
# Which axes of a parameter a matrix maps from and to, by path; None: it is no matrix of a layer.
# Axes that are not named, of layers (N) and of parts (G), count matrices.
MATRIX_RULES: tuple[tuple[str, contrib.MuonDimensionNumbers | None], ...] = (
    (r'.*/layers/(memory_)?attention/(query|key|value)/kernel', _Axes(1, (2, 3))),  # N D H K
    (r'.*/layers/attention/qkv/kernel', _Axes(1, (3, 4))),  # N D G H K
    (r'.*/layers/(memory_)?attention/output/kernel', _Axes((1, 2), 3)),  # N H K D
    (r'.*/layers/feed_forward/(up|down)/kernel', _Axes(1, 2)),  # N D F, N F D
    (r'.*/layers/feed_forward/gate_up/kernel', _Axes(1, 3)),  # N D G F
    (r'.*', None),
)


def dimensions(params: Tree) -> Tree:
    """The axes of each parameter (or its shape) in `MATRIX_RULES`."""
    return match_rules(MATRIX_RULES, params, 'matrix')


def optimizer_table(params: Tree) -> Tree:
    """'muon' or 'adamw' for every parameter (or its shape)."""
    rules = [(path, 'adamw' if axes is None else 'muon') for path, axes in MATRIX_RULES]
    return match_rules(rules, params, 'optimizer')


def scale_by_muon(momentum: float) -> optax.GradientTransformation:
    """Orthogonalized momentum (Nesterov's) of parameters that are all matrices of layers."""
    muon = contrib.scale_by_muon(beta=momentum, weight_dimension_numbers=dimensions)
    return optax.chain(muon, optax.stateless(_with_rms))


def _with_rms(updates: Tree, _params: Tree) -> Tree:
    """Updates of root mean square `_RMS`: those of an m x n matrix have 1 / sqrt(max(m, n))."""

    def scaled(update: jax.Array, axes: contrib.MuonDimensionNumbers) -> jax.Array:
        sides = [(one,) if isinstance(one, int) else one for one in axes]
        longest = max(math.prod(update.shape[axis] for axis in side) for side in sides)
        return _RMS * math.sqrt(longest) * update

    return jax.tree.map(scaled, updates, dimensions(updates))
