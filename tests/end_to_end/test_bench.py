"""The benchmark as a user types it, at a size that takes seconds."""

import importlib.util
import json
import os
import pathlib
import subprocess
import sys

import pytest

from tests.support import xla
from tests.support.commands import run_forked

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
    environment = {**os.environ, 'XLA_FLAGS': xla.FAST, 'JAX_PLATFORMS': 'cpu'}

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


REFUSED = (
    (['--versus=transformers', '--config.model.norm=pre'], "not 'pre'"),
    (['--versus=configs/nothing.py'], 'there is no recipe configs/nothing.py'),
    (
        ['--versus=configs/small.py', '--versus_set=batch_size=one'],
        "batch_size is 'one', allowed: a whole number",
    ),
    (['--versus=configs/small.py', '--versus_set=lines=1'], 'lines is not a setting'),
    (
        ['--config.job=finetune', '--config.task.name=sst2'],
        "config.task.name is 'sst2', allowed: none",
    ),
    (['--versus=transformers', '--peer_variants=fast'], "--peer_variants is 'fast', allowed"),
    (['--versus_set=seed=1'], 'type --versus=FILE.py'),
    (['--versus=transformers', '--config.model.num_layers=0'], 'num_layers'),
)


def test_what_cannot_be_measured_is_refused_at_once(tmp_path):
    commands = [(*SMALL, *words, f'--folder={tmp_path}') for words, _ in REFUSED]
    done_each = run_forked('electra_jax.bench', commands)
    for done, (words, message) in zip(done_each, REFUSED, strict=True):
        assert done.status == 1 and message in done.stderr, (words, done)
        assert 'Traceback' not in done.stderr, (words, done)


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


@needs_torch
@pytest.mark.slow  # a minute with PyTorch
def test_transformers_is_compared(bench):
    done = bench(*SMALL, *SHORT, '--turns=1', '--versus=transformers', '--peer_variants=eager')
    assert done.returncode == 0, done.stderr
    assert 'transformers, eager' in done.stdout and 'ratio' in done.stdout


@needs_torch
@pytest.mark.slow
def test_the_script_for_a_gpu_runs_at_tiny_size(tmp_path):
    environment = {**os.environ, 'XLA_FLAGS': xla.FAST, 'JAX_PLATFORMS': 'cpu', 'TINY': '1'}

    def script():
        return subprocess.run(
            ['bash', 'benchmarks/h200.sh', str(tmp_path)],
            capture_output=True, text=True, cwd=ROOT, timeout=1800,
            env={**environment, 'PYTHON': sys.executable},
        )  # fmt: skip

    done = script()
    assert done.returncode == 0, done.stderr
    made = sorted(path.parent.name for path in tmp_path.glob('*/*.json'))
    assert made == [
        'base-16x2', 'base-16x4', 'base-length-16', 'base-length-32',
        'small-16x2', 'small-16x4', 'small-layers-1', 'small-layers-2',
    ]  # fmt: skip
    again = script()
    assert again.returncode == 0 and again.stderr.count('measured before') == len(made)
