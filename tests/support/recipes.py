"""A recipe that trains in seconds, and what tests of whole programs share."""

import os
import pathlib

from tests.support import xla
from tests.support.configs import merged
from tests.support.corpora import WORDS, write_text

ROOT = pathlib.Path(__file__).parent.parent.parent
LAUNCH = ROOT / 'launch'

ENVIRONMENT = {
    **os.environ,
    **xla.shared(),
    'XLA_FLAGS': xla.FAST,
    'JAX_PLATFORMS': 'cpu',
    'PYTHONPATH': str(ROOT),
}
# A run of a few seconds.
TINY = {
    'total_steps': 4,
    'batch_size': 4,
    'model': {'size': 'tiny', 'num_layers': 1, 'hidden_size': 16, 'num_heads': 2,
              'embedding_size': 16},
    'data': {'row_length': 16, 'layout': 'packed', 'holdout': 0.1, 'workers': 1},
    'optimizer': {'learning_rate': 1e-2, 'warmup_steps': 2},
    'checkpoint': {'every_steps': 2},
    'eval': {'every_steps': 100, 'rows': 8},
    'log': {'every_steps': 1, 'trackers': ''},
}  # fmt: skip


def recipe_text(settings: dict) -> str:
    """The content of a recipe's file."""
    return (
        'from electra_jax.config.recipe import recipe\n\n\n'
        f'def get_config():\n    return recipe({settings!r})\n'
    )


def write_recipe(
    folder: pathlib.Path, name: str = 'tiny_run', documents: int = 200, **changes
) -> pathlib.Path:
    """A recipe of `TINY` with its text and vocabulary, all in `folder`; `changes` as in recipes."""
    if not (folder / 'text.txt').exists():
        write_text(folder / 'text.txt', documents, seed=0)
        pieces = ['[PAD]', '[UNK]', '[CLS]', '[SEP]', '[MASK]', '.', *WORDS]
        (folder / 'vocab.txt').write_text('\n'.join(pieces) + '\n')
    data = {
        'path': f'{folder}/corpus',
        'source': f'text:{folder}/text.txt',
        'tokenizer': {'path': f'{folder}/vocab.txt'},
    }
    path = folder / f'{name}.py'
    path.write_text(recipe_text(merged(merged(TINY, {'data': data}), changes)))
    return path
