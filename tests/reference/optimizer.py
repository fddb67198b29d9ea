"""The reference's optimizer: Adam without bias correction, decoupled decay, one clip."""

import math
import re
from collections.abc import Mapping

import numpy as np

from tests.reference.blocks import Variables
from tests.reference.settings import Settings

BETA_1, BETA_2, EPSILON = 0.9, 0.999, 1e-6
EXCLUDE_FROM_WEIGHT_DECAY = ('LayerNorm', 'layer_norm', 'bias')


def learning_rate(settings: Settings, step: int) -> float:
    """Warm-up times polynomial decay, so step 0 has rate 0 and the peak is never quite reached.

    >>> run = Settings(learning_rate=1.0, num_warmup_steps=10, num_train_steps=100)
    >>> [round(learning_rate(run, t), 3) for t in (0, 5, 10, 100)]
    [0.0, 0.475, 0.9, 0.0]
    """
    decay = (1.0 - step / settings.num_train_steps) ** settings.lr_decay_power
    return settings.learning_rate * decay * min(1.0, step / settings.num_warmup_steps)


def clip_by_global_norm(gradients: Variables, clip_norm: float) -> tuple[Variables, float]:
    """All gradients scaled together to a norm of at most `clip_norm`, and the norm before."""
    norm = math.sqrt(sum(float((g**2).sum()) for g in gradients.values()))
    scale = clip_norm / max(norm, clip_norm)
    return {name: g * scale for name, g in gradients.items()}, norm


def zero_slots(variables: Variables) -> Variables:
    """Adam's moments before the first step."""
    return {
        f'{name}/{slot}': np.zeros_like(array)
        for name, array in variables.items()
        for slot in ('adam_m', 'adam_v')
    }


def decays(name: str) -> bool:
    """Whether a variable is subject to weight decay: all but biases and LayerNorms.

    >>> [decays(n) for n in ('a/kernel', 'a/bias', 'LayerNorm/gamma', 'word_embeddings')]
    [True, False, False, True]
    """
    return not any(re.search(pattern, name) for pattern in EXCLUDE_FROM_WEIGHT_DECAY)


def adam_weight_decay(
    variables: Variables,
    slots: Variables,
    gradients: Variables,
    rate: float | Mapping[str, float],
    weight_decay_rate: float,
) -> tuple[Variables, Variables]:
    """p -= rate * (m / (sqrt(v) + 1e-6) + decay * p), after m and v have taken the gradient in.

    `rate` is one number, or one for each variable (`layerwise_rates`).
    """
    new_variables, new_slots = {}, {}
    for name, p in variables.items():
        g = gradients[name]
        m = BETA_1 * slots[f'{name}/adam_m'] + (1 - BETA_1) * g
        v = BETA_2 * slots[f'{name}/adam_v'] + (1 - BETA_2) * g**2
        update = m / (np.sqrt(v) + EPSILON)
        if decays(name):
            update = update + weight_decay_rate * p
        own_rate = rate[name] if isinstance(rate, Mapping) else rate
        new_variables[name] = p - own_rate * update
        new_slots[f'{name}/adam_m'], new_slots[f'{name}/adam_v'] = m, v
    return new_variables, new_slots


def layerwise_rates(
    rate: float, names: list[str], num_layers: int, decay: float, heads: tuple[str, ...]
) -> dict[str, float]:
    """Fine-tuning's rate of each variable, rate * decay^(L + 2 - depth).

    Depth is 0 for embeddings and their projection, i + 1 for layer i, L + 2 for a head, so the
    top layer has decay^2: a pooler once stood between.

    Args:
        rate: of the step.
        names: the variables.
        num_layers: L.
        decay: `layerwise_lr_decay`.
        heads: what the names of heads begin with.

    Raises:
        ValueError: a variable that stands at no depth.

    >>> names = ['electra/embeddings/word_embeddings', 'electra/encoder/layer_1/output/dense/bias',
    ...          'task_specific/cola/dense/kernel']
    >>> list(layerwise_rates(1.0, names, 2, 0.5, ('task_specific/',)).values())
    [0.0625, 0.25, 1.0]
    """
    return {
        name: rate * decay ** (num_layers + 2 - _depth(name, num_layers, heads)) for name in names
    }


def _depth(name: str, num_layers: int, heads: tuple[str, ...]) -> int:
    layer = re.search(r'encoder/layer_(\d+)/', name)
    if layer:
        return int(layer.group(1)) + 1
    if '/embeddings/' in name or '/embeddings_project/' in name:
        return 0
    if name.startswith(heads):
        return num_layers + 2
    raise ValueError(f'{name} stands at no depth')
