"""A step that skips what has gone wrong: only counts move, and good steps are as ever."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from electra_jax.pretrain import program as runs
from tests.support.configs import VOCABULARY, random_batch, tiny_config


def build(**health):
    config = tiny_config(mesh={'data': 1}, health=health, optimizer={'warmup_steps': 1})
    return runs.build_program(config, VOCABULARY, jax.devices()[:1])


@pytest.fixture(scope='module')
def skipping():
    return build(on_bad_step='skip', max_loss=1000.0)


def floats(tree):
    return [x for x in jax.tree.leaves(jax.device_get(tree)) if x.dtype == np.float32]


def counts(tree):
    return [int(x) for x in jax.tree.leaves(jax.device_get(tree)) if x.dtype == np.int32]


def spoil(state):
    """The same state with one parameter that makes every loss infinite or worse."""
    params = dict(state.params)
    head = dict(params['discriminator_head'])
    head['output'] = {**head['output'], 'bias': jnp.full_like(head['output']['bias'], jnp.nan)}
    return state._replace(params={**params, 'discriminator_head': head})


def test_good_steps_are_the_same_bits_as_without(skipping):
    plain = build()
    ours, theirs = skipping.fresh_state(), plain.fresh_state()
    for number in range(3):
        batch = random_batch(seed=number)
        ours, metrics = skipping.step(ours, batch)
        theirs, expected = plain.step(theirs, batch)
        assert float(metrics.pop('skipped')) == 0
        assert {k: float(v) for k, v in metrics.items()} == {
            k: float(v) for k, v in expected.items()
        }
    jax.tree.map(np.testing.assert_array_equal, jax.device_get(ours), jax.device_get(theirs))


def test_a_bad_step_moves_nothing_but_the_counts(skipping):
    state, _ = skipping.step(skipping.fresh_state(), random_batch(seed=1))
    state = spoil(state)
    before, counted = floats(state), counts(state)
    state, metrics = skipping.step(state, random_batch(seed=2))
    assert float(metrics['skipped']) == 1 and not np.isfinite(float(metrics['loss']))
    for old, new in zip(before, floats(state), strict=True):
        np.testing.assert_array_equal(old, new)
    assert counts(state) == [count + 1 for count in counted]


def test_a_loss_above_the_limit_is_skipped_too():
    program = build(on_bad_step='skip', max_loss=1e-3)
    state, metrics = program.step(program.fresh_state(), random_batch())
    assert float(metrics['skipped']) == 1 and np.isfinite(float(metrics['loss']))
    assert int(state.step) == 1


def test_an_examination_names_what_is_not_finite_and_agrees_with_the_step(skipping):
    batch = random_batch(seed=1)
    good = skipping.examine(skipping.fresh_state(), batch)
    assert not any(int(x) for x in jax.tree.leaves(good.bad))
    _, metrics = skipping.step(skipping.fresh_state(), batch)
    norms = np.asarray(list(good.norms['gradients'].values()))
    assert np.sqrt(np.sum(norms**2)) == pytest.approx(float(metrics['grad_norm']), rel=1e-5)
    assert float(good.metrics['loss']) == float(metrics['loss'])
    bad = skipping.examine(spoil(skipping.fresh_state()), batch)
    assert {n for n, count in bad.bad['parameters'].items() if count} == {
        'discriminator_head/output/bias'
    }
