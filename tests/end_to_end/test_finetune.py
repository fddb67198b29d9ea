"""Fine-tuning and prediction as a user types them: start, kill, go on, answer."""

import dataclasses
import json
import signal
import subprocess
import sys

import jax
import pytest
from etils import epath

from electra_jax.tokenizers.wordpiece import WordPiece
from electra_jax.train import parameters
from tests.support import compiled, task_files
from tests.support.configs import tiny_config
from tests.support.recipes import ENVIRONMENT, ROOT, recipe_text


def run(module, *words, given=None):
    return subprocess.run(
        [sys.executable, '-m', f'electra_jax.{module}', *words],
        capture_output=True, text=True, cwd=ROOT, env=ENVIRONMENT, input=given, timeout=300,
    )  # fmt: skip


@pytest.fixture(scope='module')
def started(tmp_path_factory):
    """Files, a pre-trained model that is not trained at all, and a recipe."""
    folder = tmp_path_factory.mktemp('files')
    task_files.write_text(folder)
    tokenizer = WordPiece(task_files.write_vocab(folder / 'vocab.txt').read_text().split())
    config = tiny_config(model={'hidden_size': 32, 'embedding_size': 32, 'init_stddev': 0.2})
    model = config.model
    params = compiled.networks(model, tokenizer.vocab_size).init(
        jax.random.key(0), ('generator', 'discriminator')
    )
    about = {'config': dataclasses.asdict(config), 'tokenizer': tokenizer.to_json()}
    parameters.write_params(epath.Path(folder / 'pretrained'), params, about)
    recipe = folder / 'recipe.py'
    changes = {
        'job': 'finetune', 'batch_size': 8, 'trials': 2, 'init_from': str(folder / 'pretrained'),
        'data': {'path': str(folder), 'row_length': 32},
        'optimizer': {'learning_rate': 1e-2, 'bias_correction': True},
        'task': {'name': 'text', 'epochs': 3.0},
        'log': {'every_steps': 1, 'trackers': ''},
    }  # fmt: skip
    recipe.write_text(recipe_text(changes))
    return folder, recipe


def test_a_pre_trained_model_says_which_tokens_it_doubts(started):
    done = run('predict', f'--checkpoint={started[0] / "pretrained"}', given='the film was great\n')
    assert done.returncode == 0, done.stderr
    (row,) = [json.loads(line) for line in done.stdout.splitlines()]
    assert row['tokens'] == ['the', 'film', 'was', 'great']
    assert len(row['replaced']) == 4 and all(0 < p < 1 for p in row['replaced'])


@pytest.mark.slow
def test_killed_and_typed_again_it_ends_the_same_and_answers(started, tmp_path):
    _, recipe = started
    words = (f'--config={recipe}', f'--workdir={tmp_path / "killed"}')
    process = subprocess.Popen(
        [sys.executable, '-m', 'electra_jax.main', *words],
        stdout=subprocess.PIPE, text=True, cwd=ROOT, env=ENVIRONMENT,
    )  # fmt: skip
    for line in process.stdout:
        if line.startswith('trial 2 of 2'):
            process.send_signal(signal.SIGKILL)
            break
    assert process.wait() == -signal.SIGKILL
    again = run('main', *words)
    assert again.returncode == 0, again.stderr
    assert 'trial 1 of 2 is done already' in again.stdout and 'median of 2 trials' in again.stdout
    starts = json.loads((tmp_path / 'killed' / 'goodput.json').read_text())['starts']
    # The first start is there only if it was killed after a beat.
    assert starts[-1]['first'] * 2 == starts[-1]['last']
    assert "of this process's time went into steps" in again.stdout
    whole = run('main', f'--config={recipe}', f'--workdir={tmp_path / "whole"}')
    assert 'fresh: task_head; not used: discriminator_head, generator' in whole.stdout
    results = [json.loads((tmp_path / k / 'results.json').read_text()) for k in ('killed', 'whole')]
    assert results[0]['trials'] == results[1]['trials']

    rows = '{"text": "it was so great"}\n{"text": ""}\n{"text": "they saw a bad film"}\n'
    done = run('predict', f'--checkpoint={tmp_path / "killed"}', '--format=jsonl', given=rows)
    answers = [json.loads(line) for line in done.stdout.splitlines()]
    assert [answer['prediction'] for answer in answers] == ['good', 'bad']
    assert answers[0]['probabilities']['good'] > 0.5
    assert '<stdin>:2: ' in done.stderr and '1 bad row named' in done.stderr
    assert done.returncode == 4  # which a script notices
    scored = run('main', *words, '--config.job=evaluate')
    assert scored.returncode == 0 and 'dev/accuracy' in scored.stdout, scored.stderr


def test_refusals_are_plain_messages(started, tmp_path):
    folder, recipe = started
    done = run('main', f'--config={recipe}', f'--workdir={tmp_path}', '--config.task.name=sst3')
    assert done.returncode == 1 and "config.task.name is 'sst3'" in done.stderr
    assert 'Traceback' not in done.stderr
    missing = run('predict', '--checkpoint=/nowhere')
    assert 'no such folder' in missing.stderr and 'Traceback' not in missing.stderr
    columns = run(
        'predict', f'--checkpoint={folder / "pretrained"}', '--columns=txt=a', given='a\n'
    )
    assert "did you mean 'text_" in columns.stderr and 'Traceback' not in columns.stderr
