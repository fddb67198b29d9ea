"""The commands of docs/finetuning.md about translation and summaries, typed at a tiny size."""

import json
import re
import shlex
import subprocess
import sys

import pytest

from tests.support import task_files
from tests.support.recipes import ENVIRONMENT, ROOT

PAGE = ROOT / 'docs' / 'finetuning.md'
TINY = [
    '--config.model.num_layers=1', '--config.model.hidden_size=16', '--config.model.num_heads=2',
    '--config.model.embedding_size=16',
]  # fmt: skip
# What makes a command short: by a word of the command.
SHORT = {
    'electra_jax.prepare': [
        '--config.data.tokenizer.vocab_size=60', '--config.data.row_length=16',
        '--config.data.holdout=0.2',
    ],
    '--config=configs/own.py': [
        *TINY, '--config.minutes=None', '--config.total_steps=5', '--config.batch_size=2',
        '--config.data.row_length=16', '--config.checkpoint.every_steps=1',
        '--config.data.source=None',
    ],
    '--config=configs/finetune/translation.py': [
        '--config.task.epochs=1', '--config.data.row_length=16', '--config.batch_size=32',
        '--config.task.decoder.target_length=8',
    ],
    'config.task.name=extractive': ['--config.task.epochs=1', '--config.data.row_length=32'],
}  # fmt: skip


def commands(heading):
    """The commands below a heading of the page, as lists of words."""
    section = re.split(r'^## ', PAGE.read_text().split(f'## {heading}\n')[1], flags=re.M)[0]
    text = '\n'.join(re.findall(r'^```bash\n(.*?)^```', section, re.S | re.M))
    return [shlex.split(line) for line in text.replace('\\\n', ' ').splitlines() if line.strip()]


@pytest.fixture(scope='module')
def folder(tmp_path_factory):
    """Where a user types them: recipes, two languages, mails, and new text."""
    folder = tmp_path_factory.mktemp('user')
    (folder / 'configs').symlink_to(ROOT / 'configs')
    for name, write in (('mine', task_files.write_parallel), ('mails', task_files.write_documents)):
        (folder / name).mkdir()
        write(folder / name)
    for side in ('train', 'dev'):
        (folder / 'mine' / f'{side}.xx').rename(folder / 'mine' / f'{side}.de')
    (folder / 'new.en').write_text('they saw anna in rome\nbob was here\n')
    (folder / 'new.txt').write_text('the film was so good. it was in rome.\n')
    return folder


def typed(folder, heading):
    for words in commands(heading):
        extra = [word for key, more in SHORT.items() if key in ' '.join(words) for word in more]
        if 'electra_jax.prepare' in words:
            extra = SHORT['electra_jax.prepare']
        assert words[0] == 'python'
        done = subprocess.run(
            [sys.executable, *words[1:], *extra], capture_output=True, text=True, cwd=folder,
            env={**ENVIRONMENT, 'PYTHONPATH': str(ROOT)}, timeout=300, check=False,
        )  # fmt: skip
        assert done.returncode == 0, (words, done.stdout, done.stderr)


@pytest.mark.slow
def test_the_worked_examples_run(folder):
    typed(folder, 'Translation and summaries')
    lines = (folder / 'new.jsonl').read_text().splitlines()
    assert [json.loads(line)['source'] for line in lines] == [
        'they saw anna in rome',
        'bob was here',
    ]
    typed(folder, 'Sentences of the text as a summary')
    (row,) = map(json.loads, (folder / 'extracts.jsonl').read_text().splitlines())
    assert row['prediction'] in ('the film was so good.', 'it was in rome.')
    typed(folder, 'The mean of several states')
    assert (folder / 'runs' / 'mean' / 'checkpoints').is_dir()
