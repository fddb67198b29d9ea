"""The benchmark as a user types it, at a size that takes seconds."""

import importlib.util
import json
import os
import pathlib
import subprocess
import sys

import pytest

ROOT = pathlib.Path(__file__).parent.parent.parent
SMALL = (
    '--config=configs/small.py',
    '--config.model.num_layers=1',
    '--config.model.hidden_size=64',
    '--config.model.generator_width=1.0',
    '--config.model.embedding_size=64',
    '--config.batch_size=2',
    '--config.data.row_length=32',
    '--steps=2',
    '--warmup=1',
)


def bench(*words):
    environment = {**os.environ, 'XLA_FLAGS': '', 'JAX_PLATFORMS': 'cpu'}
    return subprocess.run(
        [sys.executable, '-m', 'electra_jax.bench', *SMALL, *words],
        capture_output=True, text=True, cwd=ROOT, env=environment, timeout=300,
    )  # fmt: skip


def test_it_prints_one_json_object_for_machines():
    done = bench('--json')
    assert done.returncode == 0, done.stderr
    record = json.loads(done.stdout)
    assert record['tokens_per_second'] == pytest.approx(
        2 * 32 / sorted(record['step_seconds'])[0], rel=0.9
    )
    assert record['peak_memory_bytes'] > 0 and record['ratio'] is None
    assert {'mfu', 'peer_tokens_per_second', 'compile_seconds'} <= set(record)


def test_a_model_without_a_peer_is_refused():
    done = bench('--versus=transformers', '--config.model.norm=pre')
    assert done.returncode == 1 and "not 'pre'" in done.stderr and 'Traceback' not in done.stderr


@pytest.mark.skipif(not importlib.util.find_spec('torch'), reason='needs the parity extra')
@pytest.mark.slow  # a minute with PyTorch
def test_the_peer_stands_beside():
    done = bench('--versus=transformers')
    assert done.returncode == 0, done.stderr
    assert 'transformers' in done.stdout and 'ratio' in done.stdout
