"""One step: accumulation, compile size, and a golden record."""

import json
import pathlib

import jax
import numpy as np
import pytest

from electra_jax import run as runs
from tests.conftest import VOCABULARY, random_batch, tiny_config


def build(**changes) -> runs.Program:
    """A program on one device."""
    return runs.build_program(
        tiny_config(mesh={'data': 1}, **changes), VOCABULARY, jax.devices()[:1]
    )


def take(count, **changes):
    program = build(**changes)
    current, history = program.fresh_state(), []
    for number in range(count):
        current, metrics = program.step(current, random_batch(seed=number))
        history.append({k: float(v) for k, v in metrics.items()})
    return history, current


def test_accumulation_changes_no_loss_without_dropout():
    whole, _ = take(4)
    parts, _ = take(4, optimizer={'microbatches': 4})
    for a, b in zip(whole, parts, strict=True):
        for name in a:
            assert b[name] == pytest.approx(a[name], rel=1e-4, abs=1e-7), name


def test_the_program_does_not_grow_with_depth():
    sizes = []
    for num_layers in (3, 6):
        program = build(model={'num_layers': num_layers})
        text = program.step.lower(program.abstract, random_batch()).as_text()
        sizes.append(text.count('\n'))
    assert sizes[0] == sizes[1]


def test_the_first_step_has_rate_zero_and_changes_nothing():
    program = build()
    fresh = program.fresh_state()
    before = jax.device_get(fresh.params)
    after, metrics = program.step(fresh, random_batch())
    assert float(metrics['learning_rate']) == 0
    jax.tree.map(np.testing.assert_array_equal, before, jax.device_get(after.params))


GOLDEN = pathlib.Path(__file__).parent.parent / 'golden' / 'three_steps.json'
GOLDEN_CHANGES = {
    'model': {'dropout': 0.1, 'attention_dropout': 0.1},
    'optimizer': {'learning_rate': 1e-2, 'warmup_steps': 2},
}


def test_three_steps_are_as_recorded():
    """If a change of meaning moved these on purpose, say so in CHANGELOG.md and record them anew:

    python -c 'from tests.train.test_step import record; record()'
    """
    recorded = json.loads(GOLDEN.read_text())
    history, _ = take(3, **GOLDEN_CHANGES)
    for ours, theirs in zip(history, recorded, strict=True):
        assert ours.keys() == theirs.keys()
        for name in ours:
            assert ours[name] == pytest.approx(theirs[name], rel=1e-4, abs=1e-7), name


def record() -> None:
    history, _ = take(3, **GOLDEN_CHANGES)
    GOLDEN.parent.mkdir(exist_ok=True)
    GOLDEN.write_text(json.dumps(history, indent=2) + '\n')
