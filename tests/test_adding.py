"""docs/adding.md as a newcomer follows it, in a copy of the package."""

import json
import pathlib
import re
import shutil
import sqlite3
import subprocess
import sys

import pytest

from tests.support.corpora import WORDS, write_text
from tests.support.recipes import ENVIRONMENT

ROOT = pathlib.Path(__file__).parent.parent
PAGE = (ROOT / 'docs' / 'adding.md').read_text()
BLOCKS = re.findall(r'```python\n# (electra_jax/\S+\.py)\n(.*?)```', PAGE, re.DOTALL)


def with_rows(code: str, block: str) -> str:
    """The code of a module with the imports and the rows of a block of the page."""
    imports = [line for line in block.splitlines() if line.startswith(('import ', 'from '))]
    head, rows = re.search(r'^(\w[^\n]* = \{)\n    \.\.\.\n(.*?)^\}', block, re.S | re.M).groups()
    assert code.count(head + '\n') == 1, f'{head} is not there once'
    code = code.replace(head + '\n', f'{head}\n{rows}')
    first = re.search(r'^from electra_jax', code, re.M).start()
    return code[:first] + '\n'.join(imports) + '\n' + code[first:]


@pytest.fixture(scope='module')
def checkout(tmp_path_factory):
    """A copy of the package with everything that the page adds."""
    folder = tmp_path_factory.mktemp('checkout')
    hidden = shutil.ignore_patterns('__pycache__')
    shutil.copytree(ROOT / 'electra_jax', folder / 'electra_jax', ignore=hidden)
    for name, block in BLOCKS:
        path = folder / name
        path.write_text(with_rows(path.read_text(), block) if path.exists() else block)
    return folder


def run(checkout, folder, module: str, *words: str, stdin: str = '') -> str:
    environment = {**ENVIRONMENT, 'PYTHONPATH': str(checkout)}
    done = subprocess.run(
        [sys.executable, '-m', f'electra_jax.{module}', *words],
        env=environment, cwd=folder, capture_output=True, text=True, input=stdin, timeout=600,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-3000:]
    return done.stdout


TINY = """
from electra_jax.config.recipe import recipe

def get_config():
    return recipe({
        'total_steps': 4, 'batch_size': 4,
        'model': {'size': 'tiny', 'num_layers': 1, 'hidden_size': 16, 'num_heads': 2,
                  'embedding_size': 16},
        'data': {'path': 'corpus', 'row_length': 16, 'holdout': 0.1, 'workers': 1},
        'optimizer': {'learning_rate': 1e-2, 'warmup_steps': 2},
        'eval': {'rows': 8},
        'log': {'every_steps': 1, 'tensorboard': False},
    })
"""


def write_database(path: pathlib.Path, folder: pathlib.Path) -> None:
    write_text(folder / 'text.txt', 200, seed=0)
    texts = (folder / 'text.txt').read_text().split('\n\n')
    with sqlite3.connect(path) as database:
        database.execute('CREATE TABLE notes (body TEXT)')
        database.executemany('INSERT INTO notes VALUES (?)', [(text,) for text in texts])


def test_each_example_is_one_new_file_and_one_row():
    files = [name for name, _ in BLOCKS if not (ROOT / name).exists()]
    rows = [name for name, _ in BLOCKS if (ROOT / name).exists()]
    assert len(files) == 4
    assert len(rows) == 4


def test_objective_text_source_and_tokenizer_train(checkout, tmp_path):
    write_database(tmp_path / 'notes.db', tmp_path)
    (tmp_path / 'tiny.py').write_text(TINY)
    out = run(
        checkout, tmp_path, 'main', '--config=tiny.py', '--workdir=run',
        '--config.objective.name=repeats', '--config.data.source=sqlite:notes.db:notes#body',
        '--config.data.tokenizer.kind=bytes',
    )  # fmt: skip
    assert 'done: 4 steps' in out and 'disc_auc' in out
    out = run(checkout, tmp_path, 'predict', '--checkpoint=run', stdin=f'{WORDS[0]} {WORDS[0]}\n')
    assert len(out.splitlines()) == 1

    # The kind of task is fine-tuned from that run, whose tokenizer comes with it.
    (tmp_path / 'stars').mkdir()
    lines = [f'{WORDS[k]} {WORDS[k + 1]},{k % 3 + 1}' for k in range(12)]
    for split in ('train', 'dev'):
        (tmp_path / 'stars' / f'{split}.csv').write_text('\n'.join(['text,label', *lines]) + '\n')
    run(
        checkout, tmp_path, 'main', f'--config={ROOT}/configs/finetune/task.py',
        '--config.task.name=stars', '--config.data.path=stars', '--config.init_from=run',
        '--config.batch_size=4', '--config.data.row_length=16', '--config.task.epochs=1',
        '--workdir=tuned',
    )  # fmt: skip
    results = json.loads((tmp_path / 'tuned' / 'results.json').read_text())
    assert 'dev/accuracy' in json.dumps(results)
