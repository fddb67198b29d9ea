"""Muon for the matrices of layers: which they are, and that each is made orthogonal by itself."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from electra_jax.core import trees
from electra_jax.core.errors import ConfigError
from electra_jax.model.bind import bind
from electra_jax.objectives import table
from electra_jax.optim import muon, optimizer
from tests.support.configs import MODERN, TWO_STAGE_MODEL, VOCABULARY, tiny_config

PLAIN = {'weight_decay': 0.0, 'warmup_steps': 0, 'decay_power': 0.0, 'learning_rate': 1.0}


def random_like(shapes):
    random = np.random.default_rng(0)
    return jax.tree.map(lambda x: jnp.asarray(random.normal(size=x.shape), jnp.float32), shapes)


def shapes_of(config):
    networks = table.build(config, VOCABULARY).networks
    return jax.eval_shape(lambda: bind(config.model, 200).init(jax.random.key(0), networks))


@pytest.mark.parametrize('model', [{}, MODERN], ids=['bert', 'modern'])
def test_the_matrices_of_layers_are_muons_and_all_else_is_adams(model):
    shapes = dict(trees.named_leaves(shapes_of(tiny_config(model=model))))
    chosen = dict(trees.named_leaves(muon.optimizer_table(trees.nested(shapes))))
    for name, leaf in shapes.items():
        is_matrix = '/layers/' in name and name.endswith('kernel')
        assert chosen[name] == ('muon' if is_matrix else 'adamw'), name
        if is_matrix:
            assert leaf.ndim >= 3
    assert {'embeddings/word', 'discriminator_head/dense/kernel'} <= shapes.keys()


def first_updates(settings, params, grads):
    config = tiny_config(model=MODERN, optimizer={**PLAIN, 'clip_norm': 1e9, **settings})
    build = optimizer.build(config, params)
    updates, state = jax.jit(lambda g: build.update(g, build.init(params), params))(grads)
    return dict(trees.named_leaves(updates)), state


def matrices(name, array):
    """The matrices [from, to] in an array, by `muon.MATRIX_RULES`, written out."""
    N, D = array.shape[:2]
    if name.endswith('qkv/kernel'):  # N D G H K
        return np.asarray(array).transpose(0, 2, 1, 3, 4).reshape(N * 3, D, -1)
    if name.endswith('gate_up/kernel'):  # N D G F
        return np.asarray(array).transpose(0, 2, 1, 3).reshape(N * 2, D, -1)
    if name.endswith('output/kernel'):  # N H K D
        return np.asarray(array).reshape(N, -1, array.shape[-1])
    return np.asarray(array).reshape(N, D, -1)


def test_of_two_stages_each_moves_the_matrices_of_its_network_alone():
    stages = {'name': 'two_stage', 'generator_steps': 2}
    config = tiny_config(
        model=TWO_STAGE_MODEL, objective=stages, optimizer={**PLAIN, 'matrices': 'muon'}
    )
    params = random_like(shapes_of(config))
    build = optimizer.build(config, params)
    step = jax.jit(lambda state: build.update(params, state, params))
    state, momenta = build.init(params), {'generator': [], 'discriminator': []}
    for number in range(4):
        updates, state = step(state)
        for network, seen in momenta.items():
            kernel = f'{network}/layers/feed_forward/up/kernel'
            is_trained = (number >= 2) == (network == 'discriminator')
            assert np.any(dict(trees.named_leaves(updates))[kernel]) == is_trained
            held = [
                leaf
                for path, leaf in jax.tree_util.tree_leaves_with_path(state)
                if jax.tree_util.keystr(path, simple=True, separator='/').endswith(f'mu/{kernel}')
            ]
            assert len(held) == 1
            seen.append(np.asarray(held[0]))
    for network, (first, second, third, fourth) in momenta.items():
        assert np.array_equal(first, second) == (network == 'discriminator')
        assert np.array_equal(third, fourth) == (network == 'generator')
    assert not momenta['discriminator'][1].any()


def test_each_matrix_is_made_orthogonal_by_itself():
    params = random_like(shapes_of(tiny_config(model=MODERN)))
    grads = jax.tree.map(lambda x: jnp.cos(7 * x), params)
    plain, _ = first_updates({}, params, grads)
    updates, _ = first_updates({'matrices': 'muon'}, params, grads)
    seen = 0
    for name, update in updates.items():
        if '/layers/' not in name or not name.endswith('kernel'):
            np.testing.assert_array_equal(update, plain[name], err_msg=name)
            continue
        for one, grad in zip(
            matrices(name, update), matrices(name, dict(trees.named_leaves(grads))[name]),
            strict=True,
        ):  # fmt: skip
            # U S V of the gradient become U V: each singular value is about 1, unless it was tiny,
            # times 0.2 sqrt(side).
            left, values, right = np.linalg.svd(grad, full_matrices=False)
            inside = -left.T @ one @ right.T / (0.2 * np.sqrt(max(one.shape)))
            raised = np.diag(inside)[values > 0.01 * np.linalg.norm(grad)]
            assert raised.min() > 0.5 and raised.max() < 1.3, name
            np.testing.assert_allclose(inside - np.diag(np.diag(inside)), 0, atol=2e-3)
            seen += 1
    assert seen == 2 * 4 * (3 + 1 + 2 + 1)  # networks, layers, matrices


def test_weights_decay_as_with_adam():
    params = random_like(shapes_of(tiny_config(model=MODERN)))
    grads = jax.tree.map(jnp.ones_like, params)
    without, _ = first_updates({'matrices': 'muon'}, params, grads)
    decayed, _ = first_updates({'matrices': 'muon', 'weight_decay': 0.1}, params, grads)
    decays = dict(trees.named_leaves(optimizer.decay_table(params)))
    for name, param in trees.named_leaves(params):
        expected = without[name] - 0.1 * param * decays[name]
        np.testing.assert_allclose(decayed[name], expected, atol=1e-5, err_msg=name)


def test_the_momentum_is_muons_alone():
    with pytest.raises(ConfigError, match=r'muon_momentum is 0.9.*matrices=muon'):
        tiny_config(optimizer={'muon_momentum': 0.9})
