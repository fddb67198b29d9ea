"""The main job as a user types it: train, be killed, go on, be refused."""

import json
import shutil
import signal
import subprocess
import sys
import time

import jax
import numpy as np
import orbax.checkpoint as ocp
import pytest

from electra_jax.core import metric_table
from electra_jax.train import example_lines
from tests.support import xla
from tests.support.corpora import write_text
from tests.support.recipes import ENVIRONMENT, ROOT, write_recipe


@pytest.fixture(scope='module')
def recipe(tmp_path_factory):
    """A recipe file for a model and a text small enough to train in seconds."""
    changes = {
        'total_steps': 12,
        'model': {'dropout': 0.1, 'attention_dropout': 0.1},
        'checkpoint': {'every_steps': 4},
        'eval': {'every_steps': 6, 'rows': 16},
        'log': {'trackers': 'tensorboard'},
    }
    return write_recipe(tmp_path_factory.mktemp('run'), 'small_run', documents=400, **changes)


def command(recipe, workdir, *words):
    return [
        sys.executable, '-m', 'electra_jax.main',
        f'--config={recipe}', f'--workdir={workdir}', *words,
    ]  # fmt: skip


def run(recipe, workdir, *words):
    return subprocess.run(
        command(recipe, workdir, *words),
        capture_output=True, text=True, cwd=ROOT, env=ENVIRONMENT, timeout=300,
    )  # fmt: skip


def final_params(workdir, step=12):
    restored = ocp.StandardCheckpointer().restore(workdir / 'checkpoints' / str(step) / 'params')
    return jax.tree_util.tree_leaves_with_path(restored)


def metrics(workdir):
    return [json.loads(line) for line in (workdir / 'metrics.jsonl').read_text().splitlines()]


@pytest.fixture(scope='module')
def finished(recipe, tmp_path_factory):
    """A run that nothing disturbed."""
    workdir = tmp_path_factory.mktemp('undisturbed')
    done = run(recipe, workdir)
    assert done.returncode == 0, done.stderr
    return workdir, done.stdout


def same_end(workdir, finished, step=12):
    ends = (final_params(folder, step) for folder in (workdir, finished[0]))
    for (path, a), (_, b) in zip(*ends, strict=True):
        np.testing.assert_array_equal(a, b, err_msg=str(path))


def test_a_run_leaves_everything_it_should(finished):
    workdir, output = finished
    lines = metrics(workdir)
    names = set().union(*lines)
    assert {'train/loss', 'train/mlm_loss', 'train/disc_loss', 'train/fake_rate'} <= names
    assert {'train/grad_norm', 'train/learning_rate', 'speed/tokens_per_second'} <= names
    assert {'eval/mlm_loss', 'eval/mlm_accuracy', 'eval/sampled_accuracy'} <= names
    assert {'eval/disc_loss', 'eval/disc_auc', 'eval/disc_precision', 'eval/disc_recall'} <= names
    assert 'eval/unigram_loss' in names
    about = json.loads((workdir / 'config.json').read_text())
    assert about['config']['model']['hidden_size'] == 16 and about['packages']['jax']
    assert list((workdir / 'tensorboard').iterdir())
    assert {'4', '8', '12'} <= {p.name for p in (workdir / 'checkpoints').iterdir()}
    assert 'done: 12 steps' in output and 'next: python -m electra_jax.main' in output
    assert "of this process's time went into steps" in output
    assert all(0 < line['speed/goodput'] < 1 for line in lines if 'speed/goodput' in line)
    assert 'speed/run_goodput' in names
    assert [name for name in names - {'step'} if metric_table.key_of(name) is None] == []
    assert lines[-1]['progress/epochs'] > 0 and lines[-1]['speed/elapsed'] > 0
    beat = json.loads((workdir / 'heartbeat.json').read_text())
    assert (beat['step'], beat['phase'], beat['process']) == (12, 'ending', 0)
    assert beat['owner'] is None  # another run may begin
    assert '<- was' in output and '(against a generator of mlm_loss ' in output
    assert f'report: {workdir}/report.html' in output
    text = (workdir / 'report.html').read_text()
    assert 'Held-out text, and the doubt of the model' in text
    evaluated = [line['step'] for line in lines if 'eval/mlm_loss' in line]
    assert [step for step, _ in example_lines.read(workdir)] == evaluated
    checkpoint = json.loads((workdir / 'checkpoints' / '12' / 'about' / 'metadata').read_text())
    assert 'quick' in checkpoint['tokenizer']['vocab']


def test_typed_again_a_finished_run_says_so(recipe, finished):
    done = run(recipe, finished[0])
    assert done.returncode == 0 and 'done: 12 steps' in done.stdout, done.stderr


@pytest.mark.slow
def test_text_that_is_typed_must_be_that_of_the_corpus(recipe, finished, tmp_path):
    done = run(recipe, finished[0], '--config.data.source=text:other.txt')
    assert done.returncode == 1 and "config.data.source is 'text:other.txt', but" in done.stderr
    other = tmp_path / 'small_run.py'  # whose own source nobody asked for
    other.write_text(recipe.read_text().replace('text.txt', 'other.txt'))
    done = run(other, finished[0])
    assert done.returncode == 0 and 'note: ' not in done.stdout


def test_killed_and_started_again_it_ends_with_the_same_bits(recipe, finished, tmp_path):
    with subprocess.Popen(
        command(recipe, tmp_path), stdout=subprocess.PIPE, text=True, cwd=ROOT, env=ENVIRONMENT
    ) as process:
        for line in process.stdout:
            if line.startswith('step 7/'):
                process.send_signal(signal.SIGKILL)
                break
    assert process.returncode == -signal.SIGKILL
    done = run(recipe, tmp_path)
    assert done.returncode == 0, done.stderr
    assert 'continuing from step' in done.stdout
    same_end(tmp_path, finished)
    steps = [line['step'] for line in metrics(tmp_path) if 'train/loss' in line]
    assert steps == list(range(1, 13))


@pytest.mark.parametrize('bits', [False, pytest.param(True, marks=pytest.mark.slow)])
def test_sigterm_saves_and_exits_cleanly(recipe, tmp_path, bits):
    endless = '--config.total_steps=100000'  # it must not end before it hears the signal
    lines = []
    with subprocess.Popen(
        command(recipe, tmp_path / 'run', endless),
        stdout=subprocess.PIPE, text=True, cwd=ROOT, env=ENVIRONMENT,
    ) as process:  # fmt: skip
        for line in process.stdout:
            lines.append(line)
            if line.startswith('step 2/'):
                process.send_signal(signal.SIGTERM)
            if line.startswith('step 3000/'):
                process.kill()  # it has not heard
    assert process.returncode == 0, lines[-5:]
    saved = max(int(p.name) for p in (tmp_path / 'run' / 'checkpoints').iterdir())
    assert f'stopped by SIGTERM at step {saved}, saved\n' in lines
    stop_at = f'--config.stop_at={saved + 2}'
    done = run(recipe, tmp_path / 'run', endless, stop_at)
    assert done.returncode == 0 and f'continuing from step {saved}' in done.stdout, done.stderr
    if bits:
        undisturbed = run(recipe, tmp_path / 'whole', endless, stop_at)
        assert undisturbed.returncode == 0, undisturbed.stderr
        same_end(tmp_path / 'run', (tmp_path / 'whole', ''), saved + 2)


def test_a_workdir_of_another_run_is_refused_with_both_values(recipe, finished):
    done = run(recipe, finished[0], '--config.optimizer.learning_rate=0.5')
    assert done.returncode == 1 and 'Traceback' not in done.stderr
    assert 'config.optimizer.learning_rate: 0.01 there, 0.5 now' in done.stderr
    assert metrics(finished[0])


@pytest.mark.slow  # starts three runs
def test_a_run_goes_on_with_its_text_moved_but_not_with_other_text(recipe, tmp_path):
    first = run(recipe, tmp_path, '--config.stop_at=4')
    assert first.returncode == 0, first.stderr
    moved = tmp_path / 'moved'
    shutil.copytree(recipe.parent / 'corpus', moved)
    done = run(recipe, tmp_path, f'--config.data.path={moved}', '--config.stop_at=5')
    assert done.returncode == 0 and 'continuing from step 4' in done.stdout, done.stderr
    other = f'--config.data.path={tmp_path}/other'
    write_text(tmp_path / 'other.txt', 300, seed=9)
    done = run(recipe, tmp_path, other, f'--config.data.source=text:{tmp_path}/other.txt')
    assert done.returncode == 1 and 'whose rows or weights are not those of' in done.stderr, (
        done.stderr
    )


def test_evaluate_scores_the_newest_checkpoint(recipe, finished):
    done = run(recipe, finished[0], '--config.job=evaluate')
    assert done.returncode == 0, done.stderr
    at_the_end = [line for line in metrics(finished[0]) if 'eval/disc_auc' in line][-1]
    assert f'disc_auc {at_the_end["eval/disc_auc"]:.4f}' in done.stdout
    assert done.stdout.splitlines()[-1] == f'files: {finished[0]}/evaluation/results.json'
    written = json.loads((finished[0] / 'evaluation' / 'results.json').read_text())
    assert written['metrics']['disc_auc'] == pytest.approx(at_the_end['eval/disc_auc'])


def test_evaluate_without_a_checkpoint_says_what_to_do(recipe, tmp_path):
    done = run(recipe, tmp_path, '--config.job=evaluate')
    assert done.returncode == 1 and 'no checkpoint in' in done.stderr
    assert 'Traceback' not in done.stderr


@pytest.mark.slow
def test_a_run_of_so_many_words_keeps_the_checkpoints_that_it_is_asked_for(
    recipe, finished, tmp_path
):
    (corpus,) = json.loads((finished[0] / 'config.json').read_text())['corpora']
    each = 4 * corpus['train_words'] / corpus['train_rows']
    words = [
        f'--config.words={20.4 * each}', '--config.max_exposures=10', '--config.checkpoint.keep=1',
        '--config.checkpoint.every_steps=5',
    ]  # fmt: skip
    marks = f'--config.checkpoint.keep_at_words={3.5 * each},{9 * each},{20.4 * each},1e9'
    first = run(recipe, tmp_path / 'run', *words, marks, '--config.stop_at=8')
    assert first.returncode == 0, first.stderr
    times = 20 * 4 / corpus['train_rows']
    assert f'{20 * each:,.0f} words in 20 steps, which read ' in first.stdout
    assert f'{corpus["path"]} {times:.4g} times' in first.stdout
    again = run(recipe, tmp_path / 'run', *words, marks)
    assert again.returncode == 0 and 'kept for good: 3 checkpoints in ' in again.stdout
    steps = {path.name for path in (tmp_path / 'run' / 'checkpoints').iterdir()}
    assert steps == {'4', '9', '20'}
    read = {line['step']: line.get('progress/words_read') for line in metrics(tmp_path / 'run')}
    assert read[9] == pytest.approx(9 * each) and read[20] == pytest.approx(20 * each)
    folder = tmp_path / 'run' / 'checkpoints' / '4'
    start = [f'--config.init_from={folder}', '--config.total_steps=2']
    done = run(recipe, tmp_path / 'next', *start)
    assert done.returncode == 0, done.stderr
    refused = run(recipe, tmp_path / 'more', '--config.words=1e9', '--config.max_exposures=10')
    assert refused.returncode != 0 and 'config.max_exposures is 10: type' in refused.stderr


@pytest.mark.slow
def test_minutes_are_measured_once(recipe, tmp_path):
    minutes = '--config.minutes=0.1'
    first = run(recipe, tmp_path, minutes, '--config.stop_at=3')
    assert first.returncode == 0, first.stderr
    assert 'compiling a step of ' in first.stdout and '0.1 minutes are ' in first.stdout
    total = json.loads((tmp_path / 'config.json').read_text())['config']['total_steps']
    assert total != 12 and f'{total:,} steps: ' in first.stdout
    again = run(recipe, tmp_path, minutes, '--config.stop_at=4')
    assert again.returncode == 0, again.stderr
    assert 'continuing from step 3' in again.stdout and ' minutes are ' not in again.stdout
    assert json.loads((tmp_path / 'config.json').read_text())['config']['total_steps'] == total


# A rate that grows every step, so that some good checkpoints come before the end.
TOO_FAST = (
    '--config.optimizer.learning_rate=1e38',
    '--config.optimizer.warmup_steps=1000000',
    '--config.checkpoint.every_steps=1',
)


def test_a_loss_that_is_not_finite_stops_the_run_and_keeps_the_good_checkpoint(recipe, tmp_path):
    done = run(recipe, tmp_path, *TOO_FAST)
    assert done.returncode == 1 and 'Traceback' not in done.stderr, done.stderr
    assert 'training stopped' in done.stderr
    dump = next((tmp_path / 'bad_steps').iterdir())
    with np.load(dump) as content:
        assert {'tokens', 'documents', 'step'} <= set(content.files)
        bad_step = int(content['step'])
    saved = [int(p.name) for p in (tmp_path / 'checkpoints').iterdir() if p.name.isdigit()]
    # The one that was being written when the run stopped has been finished.
    assert saved and max(saved) == bad_step - 1
    for path, leaf in final_params(tmp_path, max(saved)):
        assert np.isfinite(leaf).all(), path
    assert f'--config.replay={dump}' in done.stderr


@pytest.mark.slow
def test_a_bad_step_is_taken_again_by_the_words_that_the_error_gives(recipe, tmp_path):
    run(recipe, tmp_path, *TOO_FAST)
    dump = next((tmp_path / 'bad_steps').iterdir())
    before = (tmp_path / 'metrics.jsonl').read_bytes()
    again = run(recipe, tmp_path, *TOO_FAST, f'--config.replay={dump}')
    assert again.returncode == 0, again.stderr
    assert 'its batch is the one in the dump' in again.stdout
    assert 'all metrics are as they were' in again.stdout
    # Here it is the square in the update's norm that overflows.
    assert 'every parameter, gradient and update is finite: a norm' in again.stdout
    assert 'first operation that is not finite:' in again.stdout
    assert (tmp_path / 'metrics.jsonl').read_bytes() == before


def test_missing_text_says_what_to_type(recipe, tmp_path):
    done = run(recipe, tmp_path, f'--config.data.path={tmp_path}/none', '--config.data.source=')
    assert done.returncode == 1 and 'Traceback' not in done.stderr, done.stderr


def test_a_corpus_of_another_tokenizer_is_refused_with_both(recipe, finished, tmp_path):
    other = tmp_path / 'other_vocab.txt'
    other.write_text((recipe.parent / 'vocab.txt').read_text() + 'zebra\n')
    done = run(recipe, tmp_path / 'run', f'--config.data.tokenizer.path={other}')
    assert done.returncode == 1 and 'Traceback' not in done.stderr, done.stderr
    assert 'was built with tokenizer' in done.stderr and 'is asked for' in done.stderr


@pytest.mark.slow
def test_the_baseline_trains_from_the_same_command(recipe, finished, tmp_path):
    done = run(recipe, tmp_path, '--config.objective.name=mlm', '--config.stop_at=3')
    assert done.returncode == 0 and 'mlm_loss' in done.stdout, done.stderr
    assert 'disc_auc' not in done.stdout


def test_a_batch_that_the_devices_cannot_divide_is_refused(recipe, tmp_path):
    began = time.monotonic()
    environment = {**ENVIRONMENT, 'XLA_FLAGS': xla.DEVICES}
    done = subprocess.run(
        command(recipe, tmp_path), capture_output=True, text=True, cwd=ROOT, env=environment
    )
    assert done.returncode == 1 and 'use 8' in done.stderr and 'Traceback' not in done.stderr
    assert time.monotonic() - began < 60
