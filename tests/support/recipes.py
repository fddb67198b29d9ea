"""What the tests of the launch folder share: its path, and a recipe that trains in seconds."""

import os
import pathlib

from tests.support.corpora import WORDS, write_text

ROOT = pathlib.Path(__file__).parent.parent.parent
LAUNCH = ROOT / 'launch'

ENVIRONMENT = {
    **os.environ,
    'XLA_FLAGS': '--xla_backend_optimization_level=0',
    'JAX_PLATFORMS': 'cpu',
    'PYTHONPATH': str(ROOT),
}
RECIPE = """
from electra_jax.config.recipe import recipe

def get_config():
    return recipe({{
        'total_steps': {steps},
        'batch_size': 4,
        'model': {{'size': 'tiny', 'num_layers': 1, 'hidden_size': 16, 'num_heads': 2,
                   'embedding_size': 16}},
        'data': {{'path': {path!r}, 'source': {source!r}, 'row_length': 16, 'layout': 'packed',
                  'holdout': 0.1, 'workers': 1, 'tokenizer': {{'path': {vocab!r}}}}},
        'optimizer': {{'learning_rate': 1e-2, 'warmup_steps': 2}},
        'checkpoint': {{'every_steps': 2}},
        'eval': {{'every_steps': 100, 'rows': 8}},
        'log': {{'every_steps': 1, 'tensorboard': False}},
    }})
"""


def write_recipe(folder: pathlib.Path, name: str = 'tiny_run', steps: int = 4) -> pathlib.Path:
    """A recipe with its text and vocabulary, all in `folder`."""
    if not (folder / 'text.txt').exists():
        write_text(folder / 'text.txt', 200, seed=0)
        pieces = ['[PAD]', '[UNK]', '[CLS]', '[SEP]', '[MASK]', '.', *WORDS]
        (folder / 'vocab.txt').write_text('\n'.join(pieces) + '\n')
    path = folder / f'{name}.py'
    path.write_text(
        RECIPE.format(
            steps=steps,
            path=f'{folder}/corpus',
            source=f'text:{folder}/text.txt',
            vocab=f'{folder}/vocab.txt',
        )
    )
    return path
