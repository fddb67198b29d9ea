"""docs/images.md as a newcomer follows it, with less to compute."""

import json
import os
import pathlib
import random
import re
import shlex
import subprocess
import sys

import pytest

from tests.support.image_files import COLOURS, write_colours, write_index
from tests.support.recipes import ENVIRONMENT

ROOT = pathlib.Path(__file__).parent.parent.parent
PAGE = (ROOT / 'docs' / 'images.md').read_text()
COMMANDS = [
    shlex.split(line)
    for block in re.findall(r'```bash\n(.*?)```', PAGE, re.DOTALL)
    for line in block.replace('\\\n', ' ').splitlines()
]
LESS = {
    'prepare': ['--config.data.workers=1', '--config.model.image_size=8'],
    'main': ['--config.total_steps=20', '--config.model.image_size=8', '--config.batch_size=8'],
    'matching': ['--config.task.epochs=4', '--config.optimizer.learning_rate=3e-3'],
    'retrieval': ['--config.task.epochs=4', '--config.optimizer.learning_rate=3e-3'],
}


def write_pairs(folder):
    """Texts that name the colour of their image, or another one."""
    write_colours(folder)
    draw, made = random.Random(0), {'index': [], 'train': [], 'dev': []}
    for name, size in (('index', 200), ('train', 200), ('dev', 40)):
        for _ in range(size):
            image, named = draw.choice(list(COLOURS)), draw.choice(list(COLOURS))
            if name == 'index' or draw.random() < 0.5:
                named = image
            row = {'image': f'{image}.png', 'text': f'a {named} square on the wall'}
            label = {'label': 'yes' if named == image else 'no'}
            made[name].append(row if name == 'index' else {**row, **label})
        write_index(folder / f'{name}.jsonl', made[name])
    return made['dev']


@pytest.mark.slow
def test_the_page_leads_from_an_index_to_predictions(tmp_path):
    (tmp_path / 'PAIRS').mkdir()
    os.symlink(ROOT / 'configs', tmp_path / 'configs')
    dev = write_pairs(tmp_path / 'PAIRS')
    printed = ''
    for words in COMMANDS:
        if words[0] == 'python':
            module = words[2].rpartition('.')[2]
            folder = next((x for x in ('matching', 'retrieval') if f'runs/{x}' in words[-1]), '')
            less = [] if module == 'predict' else LESS[folder or module]
            done = subprocess.run(
                [sys.executable, *words[1:], *less],
                env={**ENVIRONMENT, 'PYTHONPATH': str(ROOT)},
                cwd=tmp_path, capture_output=True, text=True, timeout=600,
            )  # fmt: skip
            assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
            printed = done.stdout if module == 'predict' else printed
    answers = [json.loads(line) for line in printed.splitlines() if line.startswith('{')]
    assert [one['image'] for one in answers] == [row['image'] for row in dev]
    assert all(one['prediction'] in ('yes', 'no') for one in answers)
    corpus = json.loads((tmp_path / 'corpora' / 'pairs' / 'corpus.json').read_text())
    assert corpus['image_size'] == 8
