"""Random variables, batches and draws to compare implementations on; all float32 exactly.

Float32 values, so that an implementation in float32 starts from the very same numbers.
"""

import numpy as np

from tests.reference.blocks import Variables
from tests.reference.masking import Batch, Draws, candidates, max_predictions_per_seq
from tests.reference.settings import Settings, variable_shapes


def random_variables(settings: Settings, seed: int = 0) -> Variables:
    """Nothing is left at 0 or 1: a bias or a scale that is not used would not be noticed."""
    random = np.random.default_rng(seed)
    result = {}
    for name, shape in sorted(variable_shapes(settings).items()):
        normal = random.standard_normal(shape)
        if name.endswith('/kernel'):
            value = normal / np.sqrt(shape[0])
        elif name.endswith('/gamma'):
            value = 1 + 0.2 * normal
        else:
            value = 0.4 * normal
        result[name] = value.astype(np.float32).astype(np.float64)
    return result


def random_batch(settings: Settings, B: int, L: int, seed: int = 0, padding: bool = True) -> Batch:
    """[CLS] a [SEP] b [SEP] rows; with `padding`, of lengths from half to the whole."""
    random = np.random.default_rng((seed, 1))
    ids_BL = random.integers(settings.mask_id + 1, settings.vocab_size, (B, L))
    lengths_B = random.integers(L // 2, L + 1, B) if padding else np.full(B, L)
    lengths_B[0] = L
    segments_BL = np.zeros((B, L), int)
    for row, length in enumerate(lengths_B):
        middle = random.integers(2, length - 2)
        ids_BL[row, [0, middle, length - 1]] = settings.cls_id, settings.sep_id, settings.sep_id
        ids_BL[row, length:] = 0
        segments_BL[row, middle + 1 : length] = 1
    mask_BL = (np.arange(L) < lengths_B[:, None]).astype(int)
    return {'input_ids': ids_BL, 'input_mask': mask_BL, 'segment_ids': segments_BL}


def random_draws(settings: Settings, batch: Batch, seed: int = 0, keep_rate: float = 0.15) -> Draws:
    """As the reference draws, with replacement."""
    random = np.random.default_rng((seed, 2))
    B, L = batch['input_ids'].shape
    P = max_predictions_per_seq(settings, L)
    positions_BP = np.stack(
        [random.choice(np.flatnonzero(row), P) for row in candidates(settings, batch)]
    )
    keep_BP = random.random((B, P)) < keep_rate
    uniforms_BPV = random.random((B, P, settings.vocab_size), dtype=np.float32)
    return Draws(positions_BP, keep_BP, uniforms_BPV.astype(np.float64))


# Each variant of the reference's objective, by what it changes in the settings.
VARIANTS = {
    'electra': {},
    'electra_own_widths': {'embedding_size': 8, 'generator_hidden_size': 1 / 3},
    'mlm': {'electra_objective': False},
    'tied': {'untied_generator': False, 'embedding_size': 8},
    'untied_embeddings': {'untied_generator_embeddings': True, 'generator_hidden_size': 2 / 3},
    'uniform': {'uniform_generator': True},
    'two_tower': {'two_tower_generator': True, 'generator_hidden_size': 2 / 3},
    'electric': {
        'electra_objective': False,
        'electric_objective': True,
        'generator_hidden_size': 1 / 3,
    },
    'disallow_correct': {'disallow_correct': True},
    'temperature': {'temperature': 2.0},
}
