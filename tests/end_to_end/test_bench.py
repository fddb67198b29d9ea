"""The benchmark as a user types it, at a size that takes seconds."""

import importlib.util
import json
import os
import pathlib
import subprocess
import sys

import pytest

from tests.support import task_files

ROOT = pathlib.Path(__file__).parent.parent.parent
SMALL = (
    '--config=configs/small.py',
    '--config.model.num_layers=1',
    '--config.model.hidden_size=64',
    '--config.model.generator_width=1.0',
    '--config.model.embedding_size=64',
    '--config.batch_size=2',
    '--config.data.row_length=32',
)
SHORT = ('--steps=2', '--warmup=1')
needs_torch = pytest.mark.skipif(
    not importlib.util.find_spec('transformers'), reason='needs the parity extra'
)


@pytest.fixture
def bench(tmp_path):
    environment = {**os.environ, 'XLA_FLAGS': '', 'JAX_PLATFORMS': 'cpu'}

    def run(*words):
        return subprocess.run(
            [sys.executable, '-m', 'electra_jax.bench', *words, f'--folder={tmp_path}'],
            capture_output=True, text=True, cwd=ROOT, env=environment, timeout=600,
        )  # fmt: skip

    return run


def test_it_prints_one_json_object_for_machines_and_leaves_it_as_a_record(bench, tmp_path):
    done = bench(*SMALL, *SHORT, '--turns=2', '--json')
    assert done.returncode == 0, done.stderr
    record = json.loads(done.stdout)
    median = record['step_seconds']['p50']
    assert record['steps'] == 4 and record['tokens_per_second'] == pytest.approx(64 / median)
    assert record['peak_memory_bytes'] > 0 and record['ratio'] is None
    assert record['real_token_share'] == 1.0 and record['input_share'] < 0.5
    assert {'mfu', 'peer_tokens_per_second', 'compile_seconds'} <= set(record)
    (path,) = tmp_path.glob('small-2x32-*.json')
    assert json.loads(path.read_text()) == record


@pytest.mark.parametrize(
    'words, message',
    [
        (['--versus=transformers', '--config.model.norm=pre'], "not 'pre'"),
        (['--versus=configs/nothing.py'], 'no such recipe: configs/nothing.py'),
        (['--sweep=lines=1,2'], 'lines is not a setting'),
        (['--sweep=batch_size=one,2'], "batch_size is 'one', allowed: a whole number"),
        (['--versus=transformers', '--peer_variants=fast'], "--peer_variants is 'fast', allowed"),
        (['--versus_set=seed=1'], 'type --versus=FILE.py'),
        (['--versus=transformers', '--config.model.num_layers=0'], 'num_layers'),
    ],
)
def test_what_cannot_be_measured_is_refused_at_once(bench, words, message):
    done = bench(*SMALL, *words)
    assert done.returncode == 1 and message in done.stderr and 'Traceback' not in done.stderr


@pytest.mark.slow  # two programs are compiled
def test_two_recipes_are_compared(bench):
    done = bench(
        *SMALL, *SHORT, '--turns=1', '--json',
        '--versus=configs/small_plus.py', '--versus_set=batch_size=4',
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    record = json.loads(done.stdout)
    (peer,) = record['peers']
    assert record['peer'] == 'small_plus' and peer['tokens_per_step'] == 4 * 32
    ours, theirs = record['step_seconds']['p50'], peer['step_seconds']['p50']
    assert record['ratio'] == pytest.approx(theirs / ours / 2, rel=1e-3)


@pytest.mark.slow
def test_a_sweep_leaves_a_table_and_a_plot(bench, tmp_path):
    done = bench(*SMALL, *SHORT, '--turns=1', '--sweep=batch_size=2,4')
    assert done.returncode == 0, done.stderr
    assert '| 4 x 32 |' in done.stdout
    assert (tmp_path / 'small-over-batch_size.png').exists()
    again = bench(*SMALL, *SHORT, '--turns=1', '--sweep=batch_size=2,4')
    assert again.stderr.count('measured before') == 2


@needs_torch
@pytest.mark.slow  # a minute with PyTorch
def test_transformers_is_compared(bench):
    done = bench(*SMALL, *SHORT, '--turns=1', '--versus=transformers', '--peer_variants=eager')
    assert done.returncode == 0, done.stderr
    assert 'transformers, eager' in done.stdout and 'ratio' in done.stdout


@needs_torch
@pytest.mark.slow
def test_evaluation_gives_transformers_answers(bench, tmp_path):
    task_files.write_text(tmp_path)
    done = bench(
        '--config=configs/finetune/own_text.py',
        f'--config.data.path={tmp_path}',
        f'--config.data.tokenizer.path={task_files.write_vocab(tmp_path / "vocab.txt")}',
        '--config.task.head=huggingface',
        '--config.data.row_length=32',
        '--config.model.size=tiny', '--config.model.norm=post',
        '--config.model.init_stddev=0.2',  # or all answers are alike
        '--turns=1', '--json', '--versus=transformers', '--peer_variants=eager',
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    record = json.loads(done.stdout)
    assert record['same_answers'] == record['rows'] == 16 and min(record['chosen']) > 0
    assert all(peer['logit_difference'] < 1e-5 for peer in record['peers'])
    assert record['ratio'] > 0 and len(record['ratios']) == 2


@needs_torch
@pytest.mark.slow
def test_the_script_for_a_gpu_runs_at_tiny_size(tmp_path):
    environment = {**os.environ, 'XLA_FLAGS': '', 'JAX_PLATFORMS': 'cpu', 'TINY': '1'}
    done = subprocess.run(
        ['bash', 'benchmarks/h200.sh', str(tmp_path)],
        capture_output=True, text=True, cwd=ROOT, timeout=1800,
        env={**environment, 'PYTHON': sys.executable},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    made = {path.name for path in tmp_path.glob('*.md')}
    assert made == {
        'base-over-batch_size.md',
        'small-over-batch_size.md',
        'base-over-row_length.md',
        'small-over-num_layers.md',
    }
