"""docs/adding.md as a newcomer follows it, in a copy of the package."""

import json
import pathlib
import re
import shlex
import shutil
import sqlite3
import subprocess
import sys

import pytest

from electra_jax.runtime import usage
from tests.support.corpora import WORDS, write_text
from tests.support.recipes import ENVIRONMENT

ROOT = pathlib.Path(__file__).parent.parent
PAGE = (ROOT / 'docs' / 'adding.md').read_text()
BLOCKS = re.findall(r'```python\n# (electra_jax/\S+\.py)\n(.*?)```', PAGE, re.DOTALL)
NEW_FILES = [name for name, _ in BLOCKS if not (ROOT / name).exists()]
COMMANDS = [
    shlex.split(command.replace('\\\n', ' '))
    for command in re.findall(r'```bash\n(.*?)```', PAGE, re.DOTALL)
]

# Tests that the page sends its reader to, besides those of objectives.
OF_EVERY_ROW = (
    'tests/core/test_metric_table.py',
    'tests/finetune/test_task.py',
    'tests/runtime/test_usage.py',
)


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
    for name in ('electra_jax', 'configs', 'docs', 'tests/objectives', 'tests/support'):
        shutil.copytree(ROOT / name, folder / name, ignore=hidden)
    for name in OF_EVERY_ROW:
        (folder / name).parent.mkdir(exist_ok=True)
        shutil.copy(ROOT / name, folder / name)
    for name, block in BLOCKS:
        path = folder / name
        path.write_text(with_rows(path.read_text(), block) if path.exists() else block)
    return folder


def run(checkout, *words: str, stdin: str = '') -> str:
    """What a command line that starts with `python` prints."""
    done = subprocess.run(
        [sys.executable, *words[1:]],
        env={**ENVIRONMENT, 'PYTHONPATH': str(checkout)},
        cwd=checkout, capture_output=True, text=True, input=stdin, timeout=600,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    return done.stdout


SOURCE = '--config.data.source=sqlite:notes.db:notes#body'
# Makes each command of the page one of seconds; it changes nothing that the command names.
TINY = (
    '--config.total_steps=4', '--config.batch_size=4', '--config.model.num_layers=1',
    '--config.model.hidden_size=16', '--config.model.num_heads=2',
    '--config.model.embedding_size=16', '--config.data.row_length=16',
    '--config.data.holdout=0.1', '--config.data.workers=1',
    '--config.optimizer.warmup_steps=2', '--config.eval.rows=8',
)  # fmt: skip


def write_database(path: pathlib.Path, folder: pathlib.Path) -> None:
    write_text(folder / 'text.txt', 200, seed=0)
    texts = (folder / 'text.txt').read_text().split('\n\n')
    with sqlite3.connect(path) as database:
        database.execute('CREATE TABLE notes (body TEXT)')
        database.executemany('INSERT INTO notes VALUES (?)', [(text,) for text in texts])


def test_each_example_is_one_new_file_and_one_row():
    assert len(NEW_FILES) == 6
    assert len(BLOCKS) == 12
    assert len(COMMANDS) == 7


def test_what_is_in_the_tables_here_is_in_the_comments_of_the_settings():
    """Names that are only in a table are in the help as added ones; the page adds some."""
    assert 'Added:' not in usage.settings_text()


@pytest.mark.parametrize('words', [['check'], ['format', '--diff']], ids=['check', 'format'])
def test_new_files_are_in_the_style_of_the_package(checkout, words):
    shutil.copy(ROOT / 'pyproject.toml', checkout)
    done = subprocess.run(
        ['ruff', *words, '--no-cache', *NEW_FILES], cwd=checkout, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.slow  # the tests of objectives, in a fresh copy
def test_the_objective_passes_the_tests_of_every_row(checkout):
    out = run(
        checkout, 'python', '-m', 'pytest', '--import-mode=importlib', '-p', 'no:cacheprovider',
        'tests/objectives/test_table.py', '-k', 'repeats',
    )  # fmt: skip
    assert re.search(r'\b5 passed', out), out


@pytest.mark.slow  # some seconds, in a fresh copy
def test_what_the_page_adds_passes_the_tests_that_it_names(checkout):
    out = run(
        checkout, 'python', '-m', 'pytest', '--import-mode=importlib', '-p', 'no:cacheprovider',
        *OF_EVERY_ROW, '-k', 'ordinal or metric or score or names or explain',
    )  # fmt: skip
    assert 'failed' not in out and re.search(r'\b\d\d passed', out), out
    out = run(checkout, 'python', '-m', 'electra_jax.main', '--explain=distance')
    assert 'classes; lower is better' in out


@pytest.mark.slow  # ten commands
def test_the_commands_of_the_page_work(checkout):
    objective, trial, masks, kind, ability, source, tokenizer = COMMANDS
    write_database(checkout / 'notes.db', checkout)

    assert SOURCE in source
    run(checkout, *source, '--config.data.row_length=16', '--config.data.workers=1')
    assert (checkout / 'corpora' / 'notes' / 'corpus.json').exists()

    out = run(checkout, *objective, *TINY, SOURCE)
    assert 'done: 4 steps' in out and 'disc_auc' in out
    assert 'done: 4 steps' in run(checkout, *trial, *TINY)
    assert 'done: 4 steps' in run(checkout, *masks, *TINY, SOURCE)
    line = f'{WORDS[0]} {WORDS[0]}\n'
    out = run(checkout, 'python', '-m', 'electra_jax.predict', '--checkpoint=runs/mine', stdin=line)
    assert len(out.splitlines()) == 1
    out = run(checkout, *ability[ability.index('python') :], stdin=line)
    assert json.loads(out)['oddest'] in json.loads(out)['text']

    out = run(checkout, *tokenizer, *TINY, SOURCE)
    assert 'done: 4 steps' in out

    (checkout / 'reviews').mkdir()
    lines = [f'{WORDS[k]} {WORDS[k + 1]},{k % 3 + 1}' for k in range(12)]
    for split in ('train', 'dev'):
        text = '\n'.join(['text,label', *lines]) + '\n'
        (checkout / 'reviews' / f'{split}.csv').write_text(text)
    out = run(
        checkout, *kind, '--config.batch_size=4', '--config.data.row_length=16',
        '--config.task.epochs=1', '--workdir=tuned',
    )  # fmt: skip
    values = json.loads((checkout / 'tuned' / 'results.json').read_text())['summary']
    assert values['dev/accuracy']['trials'] == 1
    assert f'{values["dev/distance"]["median"]:.3f}' in out
