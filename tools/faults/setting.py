"""What all rounds share: a text, a recipe that trains in seconds, and undisturbed runs."""

import dataclasses
import json
import os
import pathlib
import random
import sys

from tests.support.configs import merged
from tests.support.recipes import TINY, recipe_text

ROOT = pathlib.Path(__file__).parent.parent.parent
STEPS = 30
SAVE_EVERY = 5
EVALUATE_EVERY = 10
_FILES = 3  # of text, a piece of work each
_DOCUMENTS = 1500  # in each file


@dataclasses.dataclass(frozen=True)
class Setting:
    """Files that all rounds share, below `folder`."""

    folder: pathlib.Path
    stand_in: bool = False  # for the networks (stand_in.py)

    @property
    def recipe(self) -> pathlib.Path:
        """The configuration of every run here."""
        return self.folder / 'tiny_run.py'

    @property
    def corpus(self) -> pathlib.Path:
        """Built once; only read by the rounds."""
        return self.folder / 'corpus'

    def command(self, workdir: pathlib.Path, *words: str) -> list[str]:
        """Arguments of electra_jax.main."""
        return [
            f'--config={self.recipe}',
            f'--workdir={workdir}',
            f'--config.objective.name={"mlm" if self.stand_in else "electra"}',
            *words,
        ]


def prepare(folder: pathlib.Path, stand_in: bool = False) -> Setting:
    """Writes text and recipe, and sets the environment for the processes that are started."""
    setting = Setting(folder.resolve(), stand_in)
    folder.mkdir(parents=True, exist_ok=True)
    texts = [folder.resolve() / f'text_{number}.txt' for number in range(_FILES)]
    for number, text in enumerate(texts):
        if not text.exists():
            text.write_text(_made_up_text(number))
    setting.recipe.write_text(
        recipe_text(
            merged(
                TINY,
                {
                    'total_steps': STEPS,
                    'model': {'dropout': 0.1, 'attention_dropout': 0.1},
                    'data': {
                        'path': str(setting.corpus),
                        'source': ','.join(f'text:{text}' for text in texts),
                        'holdout': 0.05,
                        'workers': 2,
                        'tokenizer': {'vocab_size': 400},
                    },
                    'checkpoint': {'every_steps': SAVE_EVERY, 'keep': 3},
                    'eval': {'every_steps': EVALUATE_EVERY, 'rows': 16},
                    'log': {'trackers': 'tensorboard'},
                },
            )
        )
    )
    os.environ.update(
        {
            'JAX_PLATFORMS': 'cpu',
            # Programs here are small: compiling them is what takes the time.
            'XLA_FLAGS': '--xla_backend_optimization_level=0 '
            '--xla_llvm_disable_expensive_passes=true',
            'JAX_COMPILATION_CACHE_DIR': str(setting.folder / 'compiled'),
            'JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS': '0',
            'JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES': '-1',
            'PYTHONPATH': os.pathsep.join(
                [str(ROOT), *filter(None, [os.environ.get('PYTHONPATH')])]
            ),
            'PYTHONUNBUFFERED': '1',
        }
    )
    if stand_in:
        os.environ['FAULTS_STAND_IN'] = '1'
    return setting


def _made_up_text(seed: int) -> str:
    """Documents of a few lines in an invented language of about two hundred words."""
    draw = random.Random(seed)
    syllables = [a + b for a in 'bdfgklmnprst' for b in 'aeiou']
    spell = random.Random('words')
    words = [''.join(spell.choices(syllables, k=spell.randint(1, 4))) for _ in range(200)]
    weights = [1 / rank for rank in range(1, len(words) + 1)]
    lines = []
    for _ in range(_DOCUMENTS):
        for _ in range(draw.randint(1, 4)):
            lines.append(' '.join(draw.choices(words, weights, k=draw.randint(3, 20))) + '.\n')
        lines.append('\n')
    return ''.join(lines)


def read_lines(path: pathlib.Path) -> list[dict]:
    """A file of JSON lines; the last may be torn."""
    lines = []
    for line in path.read_text().splitlines() if path.exists() else ():
        try:
            lines.append(json.loads(line))
        except ValueError:
            continue
    return lines


PYTHON = sys.executable
