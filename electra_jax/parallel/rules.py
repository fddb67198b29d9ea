"""Which mesh axis each dimension letter is spread over, for parameters and for activations.

Two maps and one table decide every sharding of a run. The table has the letters of each
parameter, by its path; the maps have the meaning of the letters. A mesh axis of size 1
makes its entry a no-op, so one set of rules serves a laptop and a pod.
"""

import functools
import math
from collections.abc import Callable, Mapping, Sequence
from itertools import zip_longest
from typing import Any

import jax
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from electra_jax.core.dims import Layout, join_heads, sharding_activations, split_heads
from electra_jax.core.errors import ConfigError
from electra_jax.core.trees import Tree, count, match_rules, named_leaves

Axes = str | tuple[str, ...] | None

# Stored: width over fsdp, everything that tensor parallelism splits over tensor.
PARAMETER_AXES: Mapping[str, Axes] = {
    'D': 'fsdp', 'E': 'fsdp', 'M': 'fsdp', 'H': 'tensor', 'F': 'tensor', 'V': 'tensor',
    'K': None, 'N': None, 'L': None, 'T': None, 'C': None, 'G': None, 'I': None, 'O': None,
}  # fmt: skip

# Computed: rows over data and fsdp together, so that fsdp shards storage without idling.
ACTIVATION_AXES: Mapping[str, Axes] = {
    'B': ('data', 'fsdp'), 'L': 'sequence', 'H': 'tensor', 'F': 'tensor', 'V': 'tensor',
    'D': None, 'E': None, 'K': None, 'S': None, 'P': None, 'C': None, 'G': None,
    'X': 'tensor', 'Y': None, 'O': None,
}  # fmt: skip

# Letters of each array in the training state, by its path; first match wins.
PARAMETER_RULES: tuple[tuple[str, str], ...] = (
    (r'.*embedding(s|_delta)/word', 'VE'),
    (r'.*embedding(s|_delta)/position', 'LE'),
    (r'.*embedding(s|_delta)/type', 'TE'),
    (r'.*embedding(s|_delta)/patch', 'OE'),
    (r'.*embedding(s|_delta)/image_(row|column)', 'IE'),
    (r'.*embedding(s|_delta)/norm/(scale|bias)', 'E'),
    (r'.*/project/kernel', 'ED'),
    (r'.*/project/bias', 'D'),
    (r'.*/layers/attention/(query|key|value)/kernel', 'NDHK'),
    (r'.*/layers/attention/(query|key|value)/bias', 'NHK'),
    (r'.*/layers/memory_attention/query/kernel', 'NDHK'),
    (r'.*/layers/memory_attention/(key|value)/kernel', 'NMHK'),
    (r'.*/layers/memory_attention/(query|key|value)/bias', 'NHK'),
    (r'.*/layers/attention/qkv/kernel', 'NDGHK'),
    (r'.*/layers/attention/qkv/bias', 'NGHK'),
    (r'.*/layers/(memory_)?attention/(query|key)_norm/scale', 'NK'),
    (r'.*/layers/(memory_)?attention/output/kernel', 'NHKD'),
    (r'.*/layers/feed_forward/up/kernel', 'NDF'),
    (r'.*/layers/feed_forward/up/bias', 'NF'),
    (r'.*/layers/feed_forward/gate_up/kernel', 'NDGF'),
    (r'.*/layers/feed_forward/gate_up/bias', 'NGF'),
    (r'.*/layers/feed_forward/down/kernel', 'NFD'),
    (r'.*/layers/((memory_)?attention/output|feed_forward/down)/bias', 'ND'),
    (r'.*/layers/\w+_norm/(scale|bias)', 'ND'),
    (r'.*(generator|generator_ltr|generator_rtl|discriminator|detector)/norm/(scale|bias)', 'D'),
    (r'.*task_head/norm/(scale|bias)', 'D'),
    (r'.*task_head/pointer/query/kernel', 'DM'),
    (r'.*task_head/pointer/query/bias', 'M'),
    (r'.*task_head/pointer/share/kernel', 'DC'),
    (r'.*task_head/pointer/share/bias', 'C'),
    (r'.*(generator|language|selection)_head/dense/kernel', 'DE'),
    (r'.*(generator|language|selection)_head/(dense|norm)/(scale|bias)', 'E'),
    (r'.*(generator|language)_head/output_bias', 'V'),
    (r'.*(discriminator_head|task_head)/(\w+_)?dense/kernel', 'DF'),
    (r'.*(discriminator_head|task_head)/(\w+_)?dense/bias', 'F'),
    (r'.*(discriminator_head|task_head)/norm/(scale|bias)', 'F'),
    (r'.*(discriminator_head|copy_gate|task_head)/(start|(\w+_)?output)/kernel', 'DC'),
    (r'.*(discriminator_head|copy_gate|task_head)/(start|(\w+_)?output)/bias', 'C'),
    (r'(.*/)?(step|count)', ''),
    (r'memory/token_loss', 'V'),
    (r'.*/ns_coeffs', 'O'),  # Muon's three numbers
)


def partition(
    letters: str, shape: tuple[int, ...], axes: Mapping[str, Axes], mesh: Mesh
) -> PartitionSpec:
    """The spec of an array: each letter's axes, unless they do not divide it or are taken.

    Raises:
        ConfigError: the array's rank differs from its letters.
    """
    if len(letters) != len(shape):
        raise ConfigError(f'an array of shape {shape} has sharding letters {letters!r}')
    used: set[str] = set()
    spec = []
    for letter, size in zip(letters, shape, strict=True):
        wanted = axes[letter]
        names = (wanted,) if isinstance(wanted, str) else wanted or ()
        names = tuple(name for name in names if mesh.shape[name] > 1 and name not in used)
        if size % math.prod(mesh.shape[name] for name in names):
            names = ()
        used.update(names)
        spec.append(names if len(names) > 1 else names[0] if names else None)
    return PartitionSpec(*spec)


def parameter_letters(tree: Tree) -> Tree:
    """The letters of every array of a training state (or of parameters alone).

    Raises:
        ConfigError: no rule matches an array.
    """
    return match_rules(PARAMETER_RULES, tree, 'sharding')


def state_shardings(tree: Tree, mesh: Mesh) -> Tree:
    """A NamedSharding for every array of `tree` (arrays or their shapes)."""

    def sharding(letters: str, leaf: jax.Array) -> NamedSharding:
        return NamedSharding(mesh, partition(letters, leaf.shape, PARAMETER_AXES, mesh))

    return jax.tree.map(sharding, parameter_letters(tree), tree)


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


def activation_sharding(mesh: Mesh, letters: str, shape: tuple[int, ...]) -> NamedSharding:
    """Of an activation with these letters."""
    return NamedSharding(mesh, partition(letters, shape, ACTIVATION_AXES, mesh))


def batch_sharding(mesh: Mesh, shape: tuple[int, ...]) -> NamedSharding:
    """Of an input array [B, L], [B] or, of pixels, [B, ...]: rows and length over their axes."""
    rank = len(shape)
    return activation_sharding(mesh, 'BL'[:rank] if rank < 3 else 'B' + 'O' * (rank - 1), shape)


def replicated(mesh: Mesh) -> NamedSharding:
    """A copy on every device."""
    return NamedSharding(mesh, PartitionSpec())


def activation_layout(mesh: Mesh) -> Layout:
    """What `core.dims` does while a program for `mesh` is traced."""

    def constrain(x: jax.Array, letters: str) -> jax.Array:
        spec = _joined(letters, activation_sharding(mesh, letters, x.shape).spec)
        joined = join_heads(x, letters)
        joined = jax.lax.with_sharding_constraint(joined, NamedSharding(mesh, spec))
        return joined.reshape(x.shape)

    def per_shard(function: Callable, inputs: Sequence[str], output: str) -> Callable:
        def sharded(*arrays: jax.Array) -> jax.Array:
            places: dict[str, Axes] = {}
            sizes: dict[str, int] = {}
            for letters, x in zip(inputs, arrays, strict=True):
                spec = activation_sharding(mesh, letters, x.shape).spec
                places.update(zip(letters, spec, strict=True))
                sizes.update(zip(letters, x.shape, strict=True))
            *in_specs, out_specs = (
                _joined(letters, PartitionSpec(*(places[letter] for letter in letters)))
                for letters in (*inputs, output)
            )
            split = functools.partial(split_heads, K=sizes.get('K', 1))

            def on_parts(*parts: jax.Array) -> jax.Array:
                return join_heads(function(*map(split, parts, inputs)), output)

            mapped = jax.shard_map(
                on_parts, mesh=mesh, in_specs=tuple(in_specs), out_specs=out_specs, check_vma=False
            )
            return split(mapped(*map(join_heads, arrays, inputs)), output)

        return sharded if mesh.size > 1 else function

    return Layout(constrain, per_shard)


def _joined(letters: str, spec: PartitionSpec) -> PartitionSpec:
    """Of the array with its heads joined: they are divided, the numbers of one head are not."""
    at_K = letters.find('HK') + 1
    return PartitionSpec(*spec[:at_K], *spec[at_K + 1 :]) if at_K else spec


def on_mesh(function: Callable, mesh: Mesh) -> Callable:
    """`function`, whose trace distributes the model's arrays over `mesh`."""

    def bound(*args: Any) -> Any:
        with sharding_activations(activation_layout(mesh)):
            return function(*args)

    return bound


def put_scalar(mesh: Mesh, value: np.generic) -> jax.Array:
    """A scalar, which every process holds, on every device."""
    return jax.make_array_from_callback((), replicated(mesh), lambda index: np.asarray(value))
