"""``--help`` of the commands: all that there is to type, at once, with the standard library."""

import pathlib
import re
import subprocess
import sys

import pytest

from electra_jax.config import fields
from electra_jax.config.recipe import recipe
from electra_jax.config.settings import Config
from electra_jax.config.shapes import MODEL_SIZES
from electra_jax.finetune.files import tag_schemes
from electra_jax.finetune.known import TASKS
from electra_jax.objectives.masks.table import MASKS
from electra_jax.objectives.table import OBJECTIVES
from electra_jax.runtime import added, usage
from electra_jax.tokenizers import load

ROOT = pathlib.Path(__file__).parent.parent.parent
FLAGS = {
    'main': ['--config', '--workdir'],
    'prepare': ['--config'],
    'predict': ['--checkpoint', '--input', '--format', '--listen', '--batch_size'],
    'convert': ['--source', '--target', '--lower_case'],
    'export': ['--checkpoint', '--target', '--platforms'],
    'aot': ['--config', '--topology', '--json'],
    'bench': ['--config', '--versus', '--turns'],
    'report': ['--workdir', '--output', '--reference', '--save_reference'],
    'sweep': ['--config', '--grid', '--jobs'],
    'demo': ['--checkpoint', '--host', '--port'],
}


def help_of(command: str, *words: str) -> str:
    # Without the packages of the environment.
    program = [sys.executable, '-S', '-m', f'electra_jax.{command}', *words, '--help']
    done = subprocess.run(program, capture_output=True, text=True, cwd=ROOT)
    assert (done.returncode, done.stderr) == (0, '')
    return done.stdout


@pytest.mark.parametrize('command', FLAGS)
def test_help_needs_no_package_and_shows_flags_and_examples(command):
    text = help_of(command)
    assert [flag for flag in FLAGS[command] if flag not in text] == []
    examples = text.partition('Examples:')[2].split('\n\n')[0]
    assert examples.count(f'python -m electra_jax.{command} ') == 3
    assert ('data.row_length [unset]' in text) == ('--config=' in text or command == 'sweep')


def test_a_checkpoint_is_named_alike_by_every_command_that_answers_with_one():
    flag = re.compile(r'^  --checkpoint=.*?(?=^  --)', re.DOTALL | re.MULTILINE)
    texts = [flag.findall(help_of(command)) for command in ('predict', 'export', 'demo')]
    assert texts[0] == texts[1] == texts[2] and 'laptop' in texts[0][0]


def test_every_setting_is_there_with_its_default_and_meaning():
    text = usage.settings_text()
    assert [name for name in fields.leaves(Config) if f'  {name} [' not in text] == []
    assert '  optimizer.b2 [0.999]\n' in text and '  job [pretrain] ' in text
    assert '# End here with a checkpoint; schedules still follow total_steps.\n  stop_at' in text
    assert 'one of segments, packed' in text


def test_values_of_a_recipe_are_shown():
    text = usage.settings_text(values=recipe({'optimizer': {'b2': 0.98}, 'seed': 7}))
    assert 'optimizer.b2 [0.98 in this recipe; 0.999]' in text
    assert 'seed [7 in this recipe; 0]' in text and 'total_steps [1000000]' in text
    assert '[1000 in this recipe; 1000000]' in help_of('main', '--config=configs/sequences.py')


@pytest.mark.parametrize(
    ('name', 'table'),
    [
        ('model.size', MODEL_SIZES),
        ('objective.name', OBJECTIVES),
        ('objective.masks', MASKS),
        ('data.tokenizer.kind', load.KINDS),
        ('task.name', TASKS),
        ('task.scheme', tag_schemes.SCHEMES),
    ],
)
def test_the_names_of_a_table_are_in_the_help(name, table):
    lines = usage.settings_text().splitlines()
    number = next(i for i, line in enumerate(lines) if line.startswith(f'  {name} ['))
    meaning = lines[number]
    while lines[number - 1].startswith('  #'):
        number -= 1
        meaning = f'{lines[number]} {meaning}'
    assert [one for one in table if not re.search(rf'\b{one}\b', meaning)] == []


def test_names_that_are_added_to_a_table_are_in_the_help_without_a_comment(tmp_path):
    for path, text in {
        'objectives/table.py': "OBJECTIVES: dict = {'electra': 1, 'mine': ObjectiveRow(absent)}",
        'finetune/known.py': "TASKS = {**_GLUE, 'chunk': 2, 'mine': 3}",
        'finetune/kinds/ordinal.py': "ORDINAL = Kind(own_task='stars')",
    }.items():
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).write_text(text)
    assert added.note('objective.name', 'electra, or more.', tmp_path) == ' Added: mine.'
    assert added.note('task.name', 'Parts: chunk.', tmp_path) == ' Added: mine, stars.'
    assert added.note('seed', '', tmp_path) == ''
    (tmp_path / 'finetune' / 'known.py').unlink()
    assert 'no finetune/known.py' in added.note('task.name', '', tmp_path)
