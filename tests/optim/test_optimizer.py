"""The optimizer against a float64 transcription of the reference's rules."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from electra_jax.config.schema import OptimizerConfig
from electra_jax.core import trees
from electra_jax.core.errors import ConfigError
from electra_jax.model import api
from electra_jax.optim import optimizer, schedules
from tests.conftest import tiny_config


def test_eight_steps_equal_the_references_rules():
    settings = OptimizerConfig(learning_rate=0.1, warmup_steps=3)
    rate = schedules.warmup_decay(0.1, 3, 20, 1.0)
    random = np.random.default_rng(0)
    params = {'layer': {'kernel': random.normal(size=(4, 3)), 'bias': random.normal(size=3)}}
    ours = jax.tree.map(lambda x: jnp.asarray(x, jnp.float32), params)
    adamw = optimizer.adamw(settings, rate, ours)
    state = adamw.init(ours)
    m = v = {'kernel': 0.0, 'bias': 0.0}
    theirs = {name: x.copy() for name, x in params['layer'].items()}
    for step in range(8):
        grads = {name: random.normal(size=x.shape) for name, x in theirs.items()}
        updates, state = adamw.update(
            {'layer': jax.tree.map(lambda x: jnp.asarray(x, jnp.float32), grads)}, state, ours
        )
        ours = jax.tree.map(jnp.add, ours, updates)
        norm = np.sqrt(sum((g**2).sum() for g in grads.values()))
        lr = 0.1 * (1 - step / 20) * min(1, step / 3)
        m = {n: 0.9 * m[n] + 0.1 * g / max(1, norm) for n, g in grads.items()}
        v = {n: 0.999 * v[n] + 0.001 * (g / max(1, norm)) ** 2 for n, g in grads.items()}
        decay = {'kernel': 0.01, 'bias': 0.0}
        for n in theirs:
            theirs[n] -= lr * (m[n] / (np.sqrt(v[n]) + 1e-6) + decay[n] * theirs[n])
    for name, expected in theirs.items():
        np.testing.assert_allclose(ours['layer'][name], expected, rtol=1e-5)


def test_bias_correction_is_adams():
    plain, corrected = (
        optimizer.scale_by_adam(0.9, 0.999, 0.0, correct) for correct in (False, True)
    )
    grads = {'kernel': jnp.array([2.0])}
    first, _ = plain.update(grads, plain.init(grads))
    second, _ = corrected.update(grads, corrected.init(grads))
    assert float(first['kernel'][0]) == pytest.approx(0.1 / 0.001**0.5, rel=1e-4)
    assert float(second['kernel'][0]) == pytest.approx(1.0, rel=1e-4)


def test_a_parameter_without_a_decay_rule_is_refused():
    with pytest.raises(ConfigError, match='thing/gadget'):
        optimizer.adamw(OptimizerConfig(), lambda step: step, {'thing': {'gadget': jnp.ones(2)}})


def test_what_decays_is_what_the_reference_decays():
    shapes = jax.eval_shape(lambda: api.init(tiny_config().model, 200, jax.random.key(0)))
    decays = dict(trees.named_leaves(optimizer.decay_table(shapes)))
    still = {name for name, decay in decays.items() if not decay}
    assert still == {n for n in decays if n.endswith('bias') or '/scale' in n}
    assert decays['embeddings/word'] and decays['embeddings/position']
    assert not decays['generator_head/output_bias']
