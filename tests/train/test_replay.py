"""A bad step repeated, without a model: the same batch, the same numbers, and where it fails."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from electra_jax.train import replay
from electra_jax.train.state import TrainState
from electra_jax.train.step import Examination, Problem, examine_step
from tests.support import small_run
from tests.support.configs import tiny_config


@jax.jit
def examine(state, batch):
    w = state.params['net']['w']
    gradient = jnp.log(w - w[10])  # below the tenth: nan
    values = {
        'parameters': {'net/w': w},
        'gradients': {'net/b': w, 'net/w': gradient},
        'updates': {'net/w': gradient},
    }
    return Examination(
        {'loss': jnp.float32(5.0)},
        jax.tree.map(jnp.linalg.norm, values),
        jax.tree.map(lambda x: jnp.sum(~jnp.isfinite(x), dtype=jnp.int32), values),
    )


def dump_of(number, **metrics):
    batches = small_run.Batches()
    batches.restore({'next': number})
    next(batches)
    values = {'loss': float(number), 'grad_norm': 1.0, 'update_norm': 1.0}
    about = {'metrics': {**values, 'learning_rate': float(np.float32(0.1)), **metrics}}
    return replay.Dump(number, about, batches.host_batch)


def replayed(dump, examine=examine):
    batches, current = small_run.Batches(), small_run.state()
    return '\n'.join(replay.replay(dump, small_run.step, examine, batches, current))


def test_it_is_the_same_step_and_its_first_bad_array_is_named():
    text = replayed(dump_of(5))
    assert 'from step 0, 4 steps to the one before step 5' in text
    assert 'its batch is the one in the dump' in text and 'rows of corpus 0: 5 6' in text
    assert 'all metrics are as they were' in text
    first = text.index('nan  net/w')
    assert first < text.index('net/b')  # NaN counts as the largest gradient
    assert (
        'first array that is not finite: net/w among the gradients, 11 elements of it; 1 of 2'
        in text
    )
    assert 'first operation that is not finite: invalid value (nan) encountered in log' in text


def test_what_differs_from_the_dump_is_text():
    other = dump_of(5, loss=7.0)
    other.batch['tokens'][0, 0] = 99
    text = replayed(other)
    before, _, now = text.partition(', now ')
    assert 'NOT the one in the dump' in text
    assert "'loss': 7.0" in before and "'loss': 5.0" in now


def test_an_error_without_a_word_is_named_by_its_kind():
    def examine(state, batch):
        raise FloatingPointError

    text = replay.first_operation(examine, None, {})
    assert text.startswith('first operation that is not finite: FloatingPointError')


@pytest.mark.parametrize('value', [1.0, 1e3])
def test_an_infinity_is_found_where_there_is_no_nan(value):
    grow = jax.jit(lambda state, batch: jnp.exp(value * state))
    text = replay.first_operation(grow, jnp.ones(3), {})
    expected = 'encountered in exp' if value > 1 else 'no operation gives'
    assert expected in text


@pytest.mark.parametrize(
    ('gradient', 'bad'), [([1e30, 1.0, 2.0], 0), ([np.nan, -np.inf, 1e30], 2), ([1.0, 2.0, 3.0], 0)]
)
def test_a_norm_that_overflows_is_no_element_that_is_not_finite(gradient, bad):
    problem = Problem(
        draw=lambda batch, *_: batch,
        loss=lambda params, inputs, key, step: (jnp.sum(params['w'] * inputs), {}),
        prepare=lambda params, step: params,
        alone=lambda inputs: inputs,
    )
    optimizer, params = optax.sgd(1.0), {'w': jnp.ones(3)}
    state = TrainState(jnp.int32(0), params, optimizer.init(params))
    batch = jnp.asarray(gradient, jnp.float32)
    examination = examine_step(problem, optimizer, tiny_config(), 0, state, batch)
    assert np.isfinite(examination.norms['gradients']['w']) == (max(gradient) < 1e30)
    counts = {name: int(of_group['w']) for name, of_group in examination.bad.items()}
    assert counts == {'parameters': 0, 'gradients': bad, 'updates': bad}
    *_, last = replay.lines(jax.device_get(examination))
    assert (f'w among the gradients, {bad} elements' if bad else 'is finite: a norm') in last
