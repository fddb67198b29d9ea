"""Tiny configs, and batches for them."""

import numpy as np

from electra_jax.config.fields import Settings
from electra_jax.config.recipe import recipe
from electra_jax.config.resolve import check, resolve
from electra_jax.config.settings import Config
from electra_jax.objectives.definition import Vocabulary
from electra_jax.objectives.table import complete
from electra_jax.tokenizers.api import SpecialIds

SPECIAL = SpecialIds(pad=0, unk=1, cls=2, sep=3, mask=4)
# Rows 200 to 255 pad the vocabulary.
LOG_UNIGRAM_V = np.log(np.arange(1, 257) / (100 * 201)).astype(np.float32)
VOCABULARY = Vocabulary(200, SPECIAL, LOG_UNIGRAM_V)


# The modern block, small: a change to the model of `tiny_config`.
MODERN = {
    'num_layers': 4,
    'norm': 'pre',
    'norm_type': 'rms',
    'biases': False,
    'positions': 'rotary',
    'feed_forward': 'geglu',
    'qk_norm': True,
    'fused_qkv': True,
    'local_window': 2,
    'global_every': 2,
}
# Networks of one size that share nothing, as the objective of two stages needs them.
TWO_STAGE_MODEL = {
    'generator_width': 1.0,
    'embedding_sharing': 'untied',
    'generator_embedding_size': 16,
}


def modern_config(**changes) -> Config:
    """`tiny_config` of the modern block."""
    return tiny_config(**{**changes, 'model': {**MODERN, **changes.get('model', {})}})


def merged(base: dict, changes: dict) -> dict:
    """Nested settings with some of them changed."""
    tree = dict(base)
    for key, value in changes.items():
        old = tree.get(key)
        is_group = isinstance(old, dict) and isinstance(value, dict)
        tree[key] = merged(old, value) if is_group else value
    return tree


def settings_of(changes: dict) -> Settings:
    """Settings that have been checked as those of the command line are."""
    settings = recipe(changes)
    check(settings)
    return settings


def tiny_config(**changes) -> Config:
    """The config of a run on a CPU with a tiny model; `changes` as in a recipe."""
    base = {
        'total_steps': 100,
        'batch_size': 8,
        'model': {
            'size': 'tiny',
            'num_layers': 2,
            'hidden_size': 32,
            'num_heads': 2,
            'embedding_size': 16,
            'max_positions': 32,
            # As on an accelerator, but in float32.
            'attention': 'xla',
            'compute_dtype': 'float32',
            'scan_unroll': 1,
            'flat_products': False,
            'vocab_chunks': 8,
        },
        'data': {'row_length': 16},
        'optimizer': {'warmup_steps': 10, 'learning_rate': 1e-3},
    }
    return resolve(complete(recipe(merged(base, changes))), 'cpu')


def random_batch(B: int = 8, L: int = 16, seed: int = 0, documents: int = 1) -> dict:
    """Rows of random tokens, the last quarter of the last row padding."""
    random = np.random.default_rng(seed)
    tokens_BL = random.integers(5, VOCABULARY.size, (B, L)).astype(np.int32)
    documents_BL = np.repeat(np.arange(1, documents + 1), L // documents)[None].repeat(B, 0)
    documents_BL = documents_BL.astype(np.int32)
    positions_BL = np.tile(np.arange(L // documents), documents)[None].repeat(B, 0)
    first = positions_BL == 0
    tokens_BL[first] = SPECIAL.cls
    tokens_BL[np.roll(first, -1, axis=1)] = SPECIAL.sep
    pad = slice(L - L // 4, L)
    tokens_BL[-1, pad], documents_BL[-1, pad] = SPECIAL.pad, 0
    return {
        'tokens': tokens_BL,
        'documents': documents_BL,
        'positions': positions_BL.astype(np.int32),
        'types': np.zeros_like(tokens_BL),
    }
