"""The optimizer against a float64 transcription of the reference's rules."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from electra_jax.core import trees
from electra_jax.core.errors import ConfigError
from electra_jax.model.bind import bind
from electra_jax.objectives import table
from electra_jax.optim import networks, optimizer, schedules
from tests.support.configs import TWO_STAGE_MODEL, VOCABULARY, tiny_config


def shapes_of(config):
    networks = table.build(config, VOCABULARY).networks
    return jax.eval_shape(lambda: bind(config.model, 200).init(jax.random.key(0), networks))


def ones_like(shapes):
    return jax.tree.map(lambda leaf: jnp.ones(leaf.shape), shapes)


def first_updates(config):
    """Updates of a step of full rate by a gradient of ones, without decay, by name."""
    params = ones_like(shapes_of(config))
    build = optimizer.build(config, params)

    @jax.jit
    def second(params):
        _, state = build.update(params, build.init(params), params)
        return build.update(params, state, params)[0]

    return dict(trees.named_leaves(second(params)))


def test_eight_steps_equal_the_references_rules():
    config = tiny_config(total_steps=20, optimizer={'learning_rate': 0.1, 'warmup_steps': 3})
    random = np.random.default_rng(0)
    params = {
        'discriminator_head': {'kernel': random.normal(size=(4, 3)), 'bias': random.normal(size=3)}
    }
    ours = jax.tree.map(lambda x: jnp.asarray(x, jnp.float32), params)
    adamw = optimizer.build(config, ours)
    state = adamw.init(ours)
    m = v = {'kernel': 0.0, 'bias': 0.0}
    theirs = {name: x.copy() for name, x in params['discriminator_head'].items()}
    for step in range(8):
        grads = {name: random.normal(size=x.shape) for name, x in theirs.items()}
        updates, state = adamw.update(
            {'discriminator_head': jax.tree.map(jnp.float32, grads)}, state, ours
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
        np.testing.assert_allclose(ours['discriminator_head'][name], expected, rtol=1e-5)


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
        optimizer.decay_table({'thing': {'gadget': jnp.ones(2)}})


def test_what_decays_is_what_the_reference_decays():
    shapes = shapes_of(tiny_config())
    decays = dict(trees.named_leaves(optimizer.decay_table(shapes)))
    still = {name for name, decay in decays.items() if not decay}
    assert still == {n for n in decays if n.endswith('bias') or '/scale' in n}
    assert decays['embeddings/word'] and decays['embeddings/position']
    assert not decays['generator_head/output_bias']


NO_DECAY = {'weight_decay': 0.0, 'warmup_steps': 0, 'decay_power': 0.0}


@pytest.mark.parametrize(('off_by_one', 'extra'), [(False, 0), (True, 1)])
def test_layers_nearer_the_text_take_smaller_steps(off_by_one, extra):
    plain = first_updates(tiny_config(optimizer=NO_DECAY))
    layered = first_updates(
        tiny_config(
            optimizer={**NO_DECAY, 'layer_decay': 0.5, 'layer_decay_off_by_one': off_by_one}
        )
    )
    ratio = {name: np.asarray(layered[name] / plain[name]) for name in plain}
    assert (ratio['discriminator_head/output/kernel'] == 1).all()
    kernel = ratio['discriminator/layers/feed_forward/up/kernel']  # two layers
    np.testing.assert_allclose(kernel[0], 0.5 ** (2 + extra))
    np.testing.assert_allclose(kernel[1], 0.5 ** (1 + extra))
    for name in ('embeddings/word', 'embeddings/norm/scale', 'discriminator/project/kernel'):
        np.testing.assert_allclose(ratio[name], 0.5 ** (3 + extra))


def test_each_network_may_have_its_own_clip_and_rate():
    untied = {'embedding_sharing': 'untied'}
    settings = {**NO_DECAY, 'b1': 0.0, 'b2': 0.0, 'epsilon': 1e9}  # update = gradient / 1e9
    together = first_updates(tiny_config(model=untied, optimizer=settings))
    apart = first_updates(
        tiny_config(
            model=untied,
            optimizer={**settings, 'separate': True, 'generator_learning_rate': 1e-4},
        )
    )
    shapes = dict(trees.named_leaves(shapes_of(tiny_config(model=untied))))
    owners = dict(
        trees.named_leaves(networks.network_table(shapes_of(tiny_config(model=untied)), 'untied'))
    )
    assert set(owners.values()) == {'generator', 'discriminator'}
    assert owners['generator_embeddings/word'] == 'generator'
    assert owners['embeddings/word'] == 'discriminator'
    for name, owner in owners.items():
        own = sum(shape.size for n, shape in shapes.items() if owners[n] == owner) ** 0.5
        rate = 1e-4 if owner == 'generator' else 1e-3
        np.testing.assert_allclose(apart[name], -rate / own / 1e9, rtol=1e-5, err_msg=name)
        whole = sum(shape.size for shape in shapes.values()) ** 0.5
        np.testing.assert_allclose(together[name], -1e-3 / whole / 1e9, rtol=1e-5, err_msg=name)


def test_a_frozen_generator_does_not_move_not_even_by_decay():
    config = tiny_config(
        model={'embedding_sharing': 'disentangled'},
        objective={'freeze_generator': True},
        optimizer={'warmup_steps': 0},
    )
    for name, update in first_updates(config).items():
        moves = not name.startswith(('generator', 'embeddings/'))
        assert bool(np.abs(update).max() > 0) == moves, name


def test_a_second_stage_warms_up_again():
    config = tiny_config(
        total_steps=100,
        model={
            'generator_width': 1.0,
            'embedding_sharing': 'untied',
            'generator_embedding_size': 16,
        },
        objective={'name': 'two_stage', 'generator_steps': 40},
    )
    rate = schedules.from_config(config, 1.0)
    assert [float(rate(t)) for t in (0, 40, 100)] == pytest.approx([0, 0, 0])
    assert float(rate(10)) == pytest.approx(0.75) and float(rate(50)) == pytest.approx(1 - 1 / 6)


def test_the_rate_is_constant_between_the_warm_up_and_the_decay():
    rates = {'learning_rate': 1.0, 'warmup_steps': 10, 'decay_steps': 20}
    one = schedules.from_config(tiny_config(total_steps=100, optimizer=rates), 1.0)
    assert [float(one(t)) for t in (5, 10, 80, 90, 100)] == [0.5, 1, 1, 0.5, 0]
    stages = tiny_config(
        total_steps=100,
        model=TWO_STAGE_MODEL,
        objective={'name': 'two_stage', 'generator_steps': 40},
        optimizer=rates,
    )
    both = schedules.from_config(stages, 1.0)
    assert [float(both(t)) for t in (10, 20, 30, 45, 80, 90)] == [1, 1, 0.5, 0.5, 1, 0.5]


def test_lengths_that_a_step_is_handed_give_the_same_rates():
    for changes in ({}, {'optimizer': {'decay_steps': 30}}):
        config = tiny_config(total_steps=100, **changes)
        handed = schedules.with_lengths(config, schedules.lengths(config))
        rates = [schedules.from_config(one, 0.5) for one in (config, handed)]
        for step in range(0, 101, 7):
            assert float(rates[0](step)) == float(rates[1](step))
