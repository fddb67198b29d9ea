"""The command `python -m electra_jax.prepare`, as a person uses it."""

import os
import pathlib
import signal
import subprocess
import sys
import time
import types

import pytest

from electra_jax import prepare
from electra_jax.config.recipe import load
from electra_jax.data import manifest
from tests.support.recipes import recipe_text


@pytest.fixture
def recipe(tmp_path):
    text = '\n\n'.join(f'This is document {i}.\nIt has a second line.' for i in range(500))
    (tmp_path / 'text.txt').write_text(text)
    path = tmp_path / 'recipe.py'
    data = {
        'path': str(tmp_path / 'corpus'),
        'source': f'text:{tmp_path}/text.txt',
        'row_length': 32,
        'workers': 2,
        'tokenizer': {'vocab_size': 200},
    }
    path.write_text(recipe_text({'data': data}))
    return path


def start(recipe: pathlib.Path, *arguments: str) -> subprocess.Popen:
    command = [sys.executable, '-m', 'electra_jax.prepare', f'--config={recipe}', *arguments]
    pipe = subprocess.PIPE
    # A session of its own, so that a signal can reach the whole group as Ctrl-C does.
    return subprocess.Popen(command, stderr=pipe, stdout=pipe, text=True, start_new_session=True)


def test_it_builds_then_says_that_it_is_there(recipe, tmp_path):
    process = start(recipe)
    output = ''.join(process.communicate())
    assert process.returncode == 0, output
    built = manifest.load_corpus(tmp_path / 'corpus')
    assert 'next: python -m electra_jax.main' in output
    assert f'--config.data.path={built.path}' in output
    assert built.counts['documents'] == 500
    assert built.vocab_size <= 200
    process = start(recipe)
    again = ''.join(process.communicate())
    assert 'already complete' in again
    assert process.returncode == 0
    for text in (output, again):
        assert text.count('warning: nothing is held out of') == 1


def test_next_is_the_recipes_own_training(recipe):
    process = start(recipe, '--config.batch_size=8')
    output = ''.join(process.communicate())
    assert process.returncode == 0, output
    words = f'next: python -m electra_jax.main --config={recipe} --config.batch_size=8\n'
    assert words in output


def test_what_trains_on_a_corpus_alone_can_be_copied():
    built = types.SimpleNamespace(
        path=pathlib.Path('/data/my text'), row_length=64, layout='packed'
    )
    command = prepare.following(load('configs/corpus/text.py'), built)
    assert command == (
        "python -m electra_jax.main --config=configs/own.py '--config.data.path=/data/my text' "
        "--config.data.row_length=64 --config.data.layout=packed '--workdir=runs/my text'"
    )


def test_a_vocabulary_that_was_given_may_be_a_checkpoints(tmp_path, monkeypatch, capsys):
    built = types.SimpleNamespace(path=tmp_path / 'corpus', row_length=64, layout='packed')
    monkeypatch.setattr(prepare.job, 'build_corpus', lambda data: built)
    monkeypatch.setattr(prepare.manifest, 'warnings', lambda built: [])
    settings = load('configs/corpus/text.py')
    prepare.main(settings)
    assert 'init_from' not in capsys.readouterr().out
    settings.data.tokenizer.path = 'released/vocab.txt'
    prepare.main(settings)
    *_, line = capsys.readouterr().out.splitlines()
    command = line.partition(': ')[2].split()
    named = '--config.init_from=CHECKPOINT', f'--config.data.path={built.path}'
    assert command[:3] == ['python', '-m', 'electra_jax.main'] and {*named} <= {*command}


def test_overrides_reach_it(recipe, tmp_path):
    process = start(recipe, '--config.data.layout=packed', '--config.data.row_length=64')
    output = ''.join(process.communicate())
    assert process.returncode == 0, output
    built = manifest.load_corpus(tmp_path / 'corpus')
    assert (built.layout, built.row_length) == ('packed', 64)


def test_a_users_error_is_a_sentence(recipe):
    process = start(recipe, '--config.data.source=text:no-such-file.txt')
    output = ''.join(process.communicate())
    assert process.returncode == 1
    assert "'no-such-file.txt'" in output
    assert 'Traceback' not in output


def test_ctrl_c_is_clean(recipe, tmp_path):
    # Workers are at work when it comes: a shard is being written.
    text = 'This is a line of a long text, with words in it.\n' * 100
    (tmp_path / 'text.txt').write_text((text + '\n') * 5000)  # 25 MB: two pieces
    process = start(recipe, '--config.data.tokenizer.train_megabytes=1')
    deadline = time.monotonic() + 60
    while (
        not list((tmp_path / 'corpus').glob('*.array_record.*.tmp')) and time.monotonic() < deadline
    ):
        time.sleep(0.005)
    assert time.monotonic() < deadline
    os.killpg(process.pid, signal.SIGINT)
    output = ''.join(process.communicate(timeout=60))
    assert process.returncode == 130
    assert 'type the same command again' in output
    assert 'Traceback' not in output


def test_it_needs_neither_jax_nor_tensorflow():
    program = (
        'import sys; import electra_jax.corpus.job, electra_jax.corpus.workers; '
        'print([name for name in ("jax", "tensorflow", "absl") if name in sys.modules])'
    )
    done = subprocess.run([sys.executable, '-c', program], capture_output=True, text=True)
    assert done.stdout.strip() == '[]', done.stderr
