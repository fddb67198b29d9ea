"""The reference's variables as this package's parameter tree, and back.

Written out for the tests alone, so that a mistake in the package's own table of names cannot hide.
"""

import re
from collections.abc import Mapping
from typing import Any

import numpy as np

from tests.reference.blocks import Variables
from tests.reference.settings import Settings, variable_shapes

# In this order; each name is rewritten by every rule that matches it.
RENAMES = (
    (r'^electra/embeddings/', 'embeddings/'),
    (r'^generator/embeddings/', 'generator_embeddings/'),
    (r'^electra/', 'discriminator/'),
    (r'^(generator|cloze)_predictions/', 'generator_head/'),
    (r'^discriminator_predictions/dense_1/', 'discriminator_head/output/'),
    (r'^discriminator_predictions/', 'discriminator_head/'),
    (r'/embeddings_project/', '/project/'),
    (r'/encoder/layer_\d+/', '/layers/'),
    (r'/layers/attention/self/', '/layers/attention/'),
    (r'/layers/attention/output/dense/', '/layers/attention/output/'),
    (r'/layers/attention/output/LayerNorm/', '/layers/attention_norm/'),
    (r'/layers/intermediate/dense/', '/layers/feed_forward/up/'),
    (r'/layers/output/dense/', '/layers/feed_forward/down/'),
    (r'/layers/output/LayerNorm/', '/layers/feed_forward_norm/'),
    (r'/LayerNorm/', '/norm/'),
    (r'/gamma$', '/scale'),
    (r'/beta$', '/bias'),
    (r'/word_embeddings$', '/word'),
    (r'/token_type_embeddings$', '/type'),
    (r'/position_embeddings$', '/position'),
)


def path_of(name: str) -> tuple[str, int | None]:
    """Where our tree keeps a variable, and its index on the leading axis of stacked layers.

    >>> path_of('generator/encoder/layer_3/attention/output/LayerNorm/gamma')
    ('generator/layers/attention_norm/scale', 3)
    """
    layer = re.search(r'encoder/layer_(\d+)/', name)
    for pattern, replacement in RENAMES:
        name = re.sub(pattern, replacement, name)
    return name, int(layer.group(1)) if layer else None


def to_ours(variables: Variables, like: Mapping[str, Any]) -> dict[str, Any]:
    """The variables as a tree of float32 with the shapes of `like`; rows that pad the vocabulary
    are zero.

    Raises:
        ValueError: a leaf of `like` has no variable, or a variable no leaf.
    """
    arrays: dict[str, list[np.ndarray]] = {}
    for name, array in variables.items():  # layers come in order
        arrays.setdefault(path_of(name)[0], []).append(array)

    def fill(tree: Mapping[str, Any], prefix: str) -> dict[str, Any]:
        return {
            key: fill(value, f'{prefix}{key}/')
            if isinstance(value, Mapping)
            else _fit(arrays.pop(f'{prefix}{key}', None), f'{prefix}{key}', value.shape)
            for key, value in tree.items()
        }

    result = fill(like, '')
    if arrays:
        raise ValueError(f'our tree has no parameters of these names: {sorted(arrays)}')
    return result


def _fit(arrays: list[np.ndarray] | None, path: str, shape: tuple[int, ...]) -> np.ndarray:
    if arrays is None:
        raise ValueError(f'{path} has no variable')
    array = np.stack(arrays) if '/layers/' in path else arrays[0]
    if path.endswith(('/word', '/output_bias')):
        padding = [(0, shape[0] - len(array))] + [(0, 0)] * (array.ndim - 1)
        array = np.pad(array, padding)
    return array.reshape(shape).astype(np.float32)


def from_ours(settings: Settings, params: Mapping[str, Any]) -> Variables:
    """Our tree (or one shaped like it, as gradients and moments are) by the variables' names."""
    result = {}
    for name, shape in variable_shapes(settings).items():
        path, layer = path_of(name)
        leaf = params
        for key in path.split('/'):
            leaf = leaf[key]
        array = np.asarray(leaf, np.float64)
        array = array if layer is None else array[layer]
        if path.endswith(('/word', '/output_bias')):
            array = array[: settings.vocab_size]
        result[name] = array.reshape(shape)
    return result
