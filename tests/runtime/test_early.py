"""What a command prints before its imports, and what it does not import."""

import os
import subprocess
import sys

import pytest

from electra_jax.__main__ import COMMANDS
from electra_jax.runtime import early
from tests.support.recipes import ENVIRONMENT, ROOT

HEAVY = ('absl', 'etils', 'flax', 'jax', 'ml_collections', 'numpy', 'optax', 'rich')
# What a command must be given before it loads anything.
WORDS = {'report': ['--workdir=x'], 'sweep': ['--config=configs/small.py']}


@pytest.mark.parametrize('command', COMMANDS)
def test_a_command_says_that_it_loads_before_it_imports_what_takes_long(tmp_path, command):
    for name in HEAVY:
        (tmp_path / f'{name}.py').write_text(f'raise SystemExit("{name} is imported")')
    words = [sys.executable, '-m', f'electra_jax.{command}', *WORDS.get(command, [])]
    environment = {**ENVIRONMENT, 'PYTHONPATH': os.pathsep.join([str(tmp_path), str(ROOT)])}
    done = subprocess.run(words, capture_output=True, text=True, cwd=ROOT, env=environment)
    first, second = done.stderr.splitlines()
    assert first == early.LOADING and second.endswith('is imported')


def test_predict_imports_nothing_that_only_training_needs():
    program = (
        'import sys\nimport electra_jax.predict\n'
        "names = {name.partition('.')[0] for name in sys.modules}\n"
        "print(names & {'grain', 'optax', 'orbax', 'tensorflow', 'tensorflow_datasets', 'torch'})"
    )
    done = subprocess.run(
        [sys.executable, '-c', program], capture_output=True, text=True, cwd=ROOT, check=True
    )
    assert done.stdout.strip() == 'set()'
