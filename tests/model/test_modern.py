"""The modern block: each choice against its definition, and the whole of it at work."""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from electra_jax.core import trees
from electra_jax.core.errors import ConfigError
from electra_jax.model.bind import bind
from electra_jax.model.flops import training_flops
from electra_jax.model.layers import Norm
from electra_jax.ops import rotary
from electra_jax.ops.activations import geglu
from tests.support import compiled
from tests.support.configs import VOCABULARY, modern_config, random_batch

KEY = jax.random.key(0)


def hidden(model, params, batch):
    return compiled.networks(model).encode(params, batch, None)


def test_a_rotated_product_depends_on_the_distance_alone():
    query_K, key_K = jax.random.normal(KEY, (2, 8))
    positions = jnp.array([0, 3, 100, 103])
    by = rotary.rotation(jnp.arange(104)[None], 8, 100.0)
    queries_LK, keys_LK = (
        rotary.rotate(jnp.broadcast_to(x_K, (1, 104, 1, 8)), by)[0, positions, 0]
        for x_K in (query_K, key_K)
    )
    products = queries_LK @ keys_LK.T
    assert float(products[0, 1]) == pytest.approx(float(products[2, 3]), abs=1e-5)
    assert float(products[0, 0]) == pytest.approx(float(query_K @ key_K), abs=1e-5)
    assert abs(float(products[0, 1] - products[1, 0])) > 1e-3


def test_a_position_beyond_the_row_is_not_taken_for_another():
    assert jnp.isnan(rotary.rotation(jnp.array([[0, 2]]), 8, 100.0).cos[0, 1]).all()


def test_geglu_and_its_gradient_are_those_of_the_formula():
    gate, value = jax.random.normal(KEY, (2, 50)) * 3

    def plain(gate, value):
        return jnp.sum(jax.nn.gelu(gate, approximate=False) * value * gate)

    def ours(gate, value):
        return jnp.sum(geglu(gate, value) * gate)

    results = [jax.value_and_grad(f, (0, 1))(gate, value) for f in (ours, plain)]
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-5), *results)


def test_rms_norm_is_its_formula():
    x_BD = jax.random.normal(KEY, (3, 8)) + 1
    scale_D = jnp.arange(8.0)
    norm = Norm(modern_config().model, centred=False, biased=False)
    y_BD = norm.apply({'params': {'scale': scale_D}}, x_BD)
    root_B1 = np.sqrt(np.mean(np.square(x_BD), -1, keepdims=True))
    np.testing.assert_allclose(y_BD, np.asarray(x_BD) / root_B1 * np.asarray(scale_D), rtol=1e-5)


@pytest.fixture(scope='module')
def modern():
    model = modern_config().model
    return model, compiled.networks(model).init(KEY, ('generator', 'discriminator'))


def test_without_biases_only_heads_have_any(modern):
    names = [name for name, _ in trees.named_leaves(modern[1]) if name.endswith('bias')]
    assert names and all('_head/' in name for name in names)
    assert not any('position' in name for name, _ in trees.named_leaves(modern[1]))


def test_a_window_as_wide_as_the_row_is_no_window(modern):
    model, params = modern
    batch = random_batch(documents=2)
    wide = hidden(dataclasses.replace(model, local_window=15), params, batch)
    none = hidden(dataclasses.replace(model, local_window=None), params, batch)
    np.testing.assert_allclose(wide, none, atol=1e-5)
    narrow = hidden(model, params, batch)
    assert np.abs(np.asarray(narrow - none)).max() > 1e-4


def test_an_encoder_that_is_its_own_generator_is_made_once():
    def made(networks, **model):
        model = modern_config(model=model).model
        shapes = jax.eval_shape(lambda: bind(model, VOCABULARY.size).init(KEY, networks))
        return jax.tree.map(lambda leaf: leaf.shape, shapes['discriminator'])

    tied = {'generator': 'tied', 'generator_width': None, 'generator_layers': None}
    assert made(('generator', 'discriminator'), **tied) == made(('discriminator',))


def test_shapes_are_those_of_fresh_parameters():
    """Also of grouped layers, and of a tied encoder, which runs twice."""
    tied = {'generator': 'tied', 'generator_width': None, 'generator_layers': None}
    networks = ('generator', 'discriminator')
    for changes in ({'local_window': None}, {'local_window': 4, 'global_every': 2}, tied):
        bound = bind(modern_config(model=changes).model, VOCABULARY.size)
        made = jax.eval_shape(functools.partial(bound.init, networks=networks), KEY)
        assert bound.shapes(networks) == made


@pytest.mark.parametrize(
    ('silent', 'seen'), [(0, [3, 4, 5, 6, 7]), (1, list(range(12)))], ids=['local', 'global']
)
def test_a_local_layer_sees_its_window_and_a_global_one_its_document(silent, seen):
    """Layer 0 is global, layer 1 local; the one that is silent adds nothing."""
    model = modern_config(model={'num_layers': 2}).model
    params = compiled.networks(model).init(KEY, ('discriminator',))
    output = params['discriminator']['layers']['attention']['output']
    output['kernel'] = output['kernel'].at[silent].set(0)
    batch = {**random_batch(B=1), 'tokens': jnp.arange(100, 116, dtype=jnp.int32)[None]}

    @jax.jit
    @jax.grad
    def fifth(word_VE):
        moved = {**params, 'embeddings': {**params['embeddings'], 'word': word_VE}}
        return jnp.sum(hidden(model, moved, batch)[0, 5] ** 3)

    grad_VE = np.asarray(fifth(params['embeddings']['word']))
    assert np.flatnonzero(np.abs(grad_VE[100:116]).max(-1)).tolist() == seen


def test_a_document_reads_the_same_alone_and_packed(modern):
    model, params = modern
    packed = random_batch(B=1, documents=2)
    packed['documents'][:] = np.repeat([1, 2], 8)
    alone = {name: x[:, 8:] for name, x in packed.items()}
    np.testing.assert_allclose(
        hidden(model, params, packed)[:, 8:], hidden(model, params, alone), atol=1e-5
    )


@pytest.mark.parametrize(
    'changes',
    [
        {'scan_unroll': 4, 'flat_products': True},
        {'remat': 'full'},
        {'remat': 'both'},
    ],
)
def test_the_way_of_computing_changes_no_number(changes, modern):
    model, params = modern
    batch = random_batch(documents=2)

    @functools.partial(jax.jit, static_argnums=1)
    def gradients(params, model):
        return jax.grad(lambda p: jnp.mean(jnp.sin(hidden(model, p, batch))))(params)

    grads = gradients(params, model)
    others = gradients(params, dataclasses.replace(model, **changes))
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, atol=1e-6), grads, others)


def test_local_layers_and_gates_are_counted():
    def giga(**model):
        config = modern_config(model=model, data={'row_length': 32})
        return training_flops(config, 200, ('discriminator',))['mfu']

    D, F, L, N = 32, 128, 32, 4
    head, project = 2 * (D * D + D), 2 * 16 * D
    layer = 2 * (4 * D * D + 3 * D * F)
    assert giga() == 3 * (N * layer + head + project + 2 * 4 * D * (L + 5))
    assert giga(local_window=None) == 3 * (N * layer + head + project + 4 * 4 * D * L)
    assert (
        giga(local_window=None) - giga(local_window=None, feed_forward='gelu') == 3 * N * 2 * D * F
    )


@pytest.mark.parametrize(
    ('changes', 'message'),
    [
        ({'global_every': 3}, 'config.model.global_every=3'),
        ({'generator_layers': 0.75}, 'config.model.generator_layers makes 3 layers'),
        ({'position_init': 'sinusoidal'}, 'there is no position table'),
        ({'num_heads': 32}, 'even config.model.hidden_size / num_heads'),
        ({'norm_type': 'rsm'}, "did you mean 'rms'"),
        ({'type_vocab_size': 1}, 'config.model.type_vocab_size is 1'),
        ({'norm': 'post', 'skip_first_norm': True}, 'no norm precedes attention'),
    ],
)
def test_what_contradicts_itself_is_refused(changes, message):
    with pytest.raises(ConfigError) as refusal:
        modern_config(model=changes)
    assert message in str(refusal.value)
