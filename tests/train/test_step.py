"""One step: accumulation, compile size, and a golden record."""

import functools
import json
import pathlib

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from electra_jax.optim import schedules
from electra_jax.pretrain import program as runs
from electra_jax.train import step
from tests.support.configs import TWO_STAGE_MODEL, VOCABULARY, random_batch, tiny_config

GOLDEN = pathlib.Path(__file__).parent.parent / 'golden' / 'three_steps.json'
GOLDEN_CHANGES = {
    'model': {'dropout': 0.1, 'attention_dropout': 0.1},
    'optimizer': {'learning_rate': 1e-2, 'warmup_steps': 2},
}


def build(**changes) -> runs.Program:
    """A program on one device."""
    return built(tiny_config(mesh={'data': 1}, **changes))


@functools.cache  # tests share what is compiled
def built(config):
    return runs.build_program(config, VOCABULARY, jax.devices()[:1])


def train(count, **changes):
    program = build(**changes)
    current, history = program.fresh_state(), []
    for number in range(count):
        current, metrics = program.step(current, random_batch(seed=number))
        history.append({k: float(v) for k, v in metrics.items()})
    return history, current


@functools.cache
def accumulated(microbatches):
    """Four steps of 32 rows in so many parts: metrics of each, the state after one, temporaries."""
    program = build(
        batch_size=32,
        model={'dropout': 0.0},
        optimizer={'microbatches': microbatches, 'b1': 0.0},
    )
    step = program.step.lower(program.abstract_state, random_batch(B=32)).compile()
    current, history = program.fresh_state(), []
    for number in range(4):
        current, metrics = step(current, random_batch(B=32, seed=number))
        history.append({name: float(value) for name, value in metrics.items()})
        if number == 0:
            first = jax.device_get(current)
    return history, first, step.memory_analysis().temp_size_in_bytes


def test_accumulation_changes_no_loss_without_dropout():
    whole, parts = (accumulated(microbatches)[0] for microbatches in (1, 4))
    for a, b in zip(whole, parts, strict=True):
        for name in a:
            assert b[name] == pytest.approx(a[name], rel=1e-4, abs=1e-7), name


def test_accumulation_changes_nothing_but_memory():
    """Loss and every gradient as of the whole batch; temporaries shrink with the microbatches."""
    (whole, whole_state, whole_bytes), (parts, parts_state, parts_bytes) = map(accumulated, (1, 4))
    assert parts[0]['loss'] == pytest.approx(whole[0]['loss'], rel=1e-6)
    # Without momentum, the first moment after a step is the clipped gradient itself.
    ours, theirs = (
        next(s.mu for s in state.opt_state if hasattr(s, 'mu'))
        for state in (whole_state, parts_state)
    )
    scale = max(np.abs(leaf).max() for leaf in jax.tree.leaves(ours))
    jax.tree.map(
        lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-6, atol=1e-6 * scale), ours, theirs
    )
    assert parts_bytes < 0.6 * whole_bytes


def test_the_program_does_not_grow_with_depth():
    sizes = []
    for num_layers in (3, 6):
        program = build(model={'num_layers': num_layers})
        text = program.step.lower(program.abstract_state, random_batch()).as_text()
        sizes.append(text.count('\n'))
    assert sizes[0] == sizes[1]


@pytest.mark.parametrize('seed', [7, 2**32 - 1])
def test_a_seed_that_is_an_argument_changes_no_bit(seed):
    program = build(seed=seed)
    fresh = jax.device_get(program.fresh_state().params)
    compiled_in = jax.device_get(jax.jit(program.init_params)())
    jax.tree.map(np.testing.assert_array_equal, compiled_in, fresh)
    lengths = runs.StepOfAnyLength(program)._lengths
    compiled_in, _ = program.step(program.fresh_state(), random_batch(), lengths)
    current, _ = runs.StepOfAnyLength(program)(program.fresh_state(), random_batch())
    jax.tree.map(np.testing.assert_array_equal, *map(jax.device_get, (current, compiled_in)))


def test_the_first_step_has_rate_zero_and_changes_nothing():
    program = build(**GOLDEN_CHANGES)
    fresh = program.fresh_state()
    before = jax.device_get(fresh.params)
    after, metrics = program.step(fresh, random_batch())
    assert float(metrics['learning_rate']) == 0
    jax.tree.map(np.testing.assert_array_equal, before, jax.device_get(after.params))


def test_three_steps_are_as_recorded():
    """If these changed on purpose, write it into CHANGELOG.md and record them again:

    python -c 'from tests.train.test_step import record; record()'
    """
    recorded = json.loads(GOLDEN.read_text())
    history, _ = train(3, **GOLDEN_CHANGES)
    for ours, theirs in zip(history, recorded, strict=True):
        assert ours.keys() == theirs.keys()
        for name in ours:
            assert ours[name] == pytest.approx(theirs[name], rel=1e-4, abs=1e-7), name


def record() -> None:
    history, _ = train(3, **GOLDEN_CHANGES)
    GOLDEN.parent.mkdir(exist_ok=True)
    GOLDEN.write_text(json.dumps(history, indent=2) + '\n')


def test_runs_of_every_length_have_one_program():
    stages = {'name': 'two_stage', 'generator_share': 0.5}
    ramps = {'temperature_end': 0.5, 'mask_rate_end': 0.3}

    def lowered(total_steps: int) -> str:
        config = tiny_config(
            total_steps=total_steps, model=TWO_STAGE_MODEL, objective={**stages, **ramps}
        )
        program = runs.build_program(config, VOCABULARY, jax.devices()[:1])
        batch = runs.abstract_batch(program)
        numbers = schedules.Lengths(*[jax.ShapeDtypeStruct((), np.int32)] * 4)
        return program.step.lower(program.abstract_state, batch, numbers).as_text()

    assert lowered(20) == lowered(4444)


@pytest.mark.slow  # compiles two programs
def test_replicas_remember_what_all_of_them_have_observed():
    memories = []
    for replicas in (1, 2):
        program = build(
            objective={'masks': 'loss'},
            model={'num_layers': 1, 'dropout': 0.0},
            optimizer={'clip_replicas': replicas},
        )
        after, _ = program.step(program.fresh_state(), random_batch())
        memories.append(jax.device_get(after.memory['token_loss']))
    assert np.ptp(memories[0] - jax.device_get(program.fresh_state().memory['token_loss'])) > 0
    np.testing.assert_allclose(*memories, rtol=1e-5)


def test_the_running_mean_forgets_where_it_began():
    mean = {'w': jnp.float32(100.0)}
    means = []
    for number in range(200):
        mean = step.running_mean(mean, {'w': jnp.float32(number)}, jnp.int32(number), 0.9)
        means.append(float(mean['w']))
    assert means[0] == pytest.approx(10.0)  # 0.1 * 100 + 0.9 * 0
    assert means[1] == pytest.approx(2 / 11 * 10 + 9 / 11)
    assert means[-1] == pytest.approx(199 - 9, abs=0.01)  # of 0.9: nine steps behind
