"""The two networks: the paper's sizes, what they share, and what they may see."""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from electra_jax.config import presets
from electra_jax.config.schema import Config, DataConfig, ModelConfig
from electra_jax.core import trees
from electra_jax.model import api
from electra_jax.model.flops import training_flops_per_token
from tests.conftest import VOCABULARY, random_batch, tiny_config

KEY = jax.random.key(0)


def tiny(**changes) -> ModelConfig:
    return dataclasses.replace(tiny_config().model, **changes)


def params_of(model):
    return api.init(model, VOCABULARY.size, KEY)


def logits(model, params, batch, key=None):
    return api.discriminate(model, VOCABULARY.size, params, batch, key)


@pytest.mark.parametrize(
    ('size', 'expected'),
    # Encoder, embeddings and heads of the paper's sizes, counted by hand from Table 6.
    [('small', 13_483_008), ('base', 108_891_648), ('large', 334_092_288)],
)
def test_the_discriminators_of_table_6_have_their_sizes(size, expected):
    model = presets.resolve_platform(presets.resolve_model(ModelConfig(size=size)), 'tpu')
    networks = ('discriminator',)
    shapes = jax.eval_shape(lambda: api.init(model, 30522, KEY, networks))
    without_head = {k: v for k, v in shapes.items() if k != 'discriminator_head'}
    padding = (30592 - 30522) * model.embedding_size
    assert trees.count(without_head) - padding == expected


@pytest.mark.parametrize(
    ('size', 'hidden', 'heads', 'ffn'),
    [('small', 64, 1, 256), ('base', 256, 4, 1024), ('large', 256, 4, 1024)],
)
def test_the_generators_of_table_6_have_their_sizes(size, hidden, heads, ffn):
    model = presets.resolve_model(ModelConfig(size=size))
    shape = presets.generator_shape(model)
    assert (shape.hidden_size, shape.num_heads, shape.ffn_size) == (hidden, heads, ffn)
    assert shape.num_layers == model.num_layers


def test_both_networks_train_the_same_embeddings_and_norm():
    model, batch = tiny(), random_batch()
    params = params_of(model)

    def generator(params):
        masked_BP = jnp.ones((8, 2), jnp.int32)
        features, *_ = api.generate(model, VOCABULARY.size, params, batch, masked_BP, None)
        return jnp.sum(features**2 * jnp.arange(features.shape[-1]))

    def discriminator(params):
        return jnp.sum(logits(model, params, batch) ** 2)

    for loss, other in ((generator, 'discriminator'), (discriminator, 'generator')):
        grads = dict(trees.named_leaves(jax.grad(loss)(params)))
        for name, grad in grads.items():
            touched = bool(np.abs(grad).max() > 0)
            if name.startswith('embeddings') and 'type' not in name:
                assert touched, name
            if name.startswith(other):
                assert not touched, name


@pytest.mark.parametrize('norm', ['post', 'pre'])
@pytest.mark.parametrize(
    'changes', [{'scan_unroll': 2}, {'flat_products': True}, {'remat': 'full'}, {'remat': 'dots'}]
)
def test_the_way_of_computing_changes_no_number(norm, changes):
    plain, changed = tiny(norm=norm), tiny(norm=norm, **changes)
    params, batch = params_of(plain), random_batch()
    key = jax.random.key(1)
    model_dropout = {'dropout': 0.1, 'attention_dropout': 0.1}

    @functools.partial(jax.jit, static_argnums=0)
    def grads(model, params):
        model = dataclasses.replace(model, **model_dropout)
        return jax.grad(lambda p: jnp.sum(logits(model, p, batch, key) ** 2))(params)

    ours, theirs = grads(plain, params), grads(changed, params)
    for (name, a), (_, b) in zip(trees.named_leaves(ours), trees.named_leaves(theirs), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-5, err_msg=name)


def test_documents_of_a_packed_row_do_not_see_each_other():
    model = tiny()
    params, batch = params_of(model), random_batch(B=2, L=16, documents=2)
    changed = {**batch, 'tokens': batch['tokens'].copy()}
    changed['tokens'][:, 9:11] = 7
    before, after = logits(model, params, batch), logits(model, params, changed)
    np.testing.assert_array_equal(before[:, :8], after[:, :8])
    assert (before[0, 8:] != after[0, 8:]).all()


def test_a_document_reads_the_same_alone_and_packed():
    model = tiny()
    params, packed = params_of(model), random_batch(B=1, L=16, documents=2)
    packed['documents'][0, 12:] = 2
    alone = {name: x[:, :8] for name, x in packed.items()}
    np.testing.assert_allclose(
        logits(model, params, packed)[:, :8], logits(model, params, alone), rtol=1e-5, atol=1e-6
    )


def test_dropout_is_on_only_with_a_key_and_follows_it():
    model = tiny(dropout=0.2, attention_dropout=0.2)
    params, batch = params_of(model), random_batch()
    quiet = logits(model, params, batch)
    one, same, other = (logits(model, params, batch, jax.random.key(s)) for s in (1, 1, 2))
    np.testing.assert_array_equal(one, same)
    assert (quiet != one).any() and (one != other).any()


def test_bfloat16_keeps_float32_parameters_and_logits():
    model = tiny(compute_dtype='bfloat16')
    params, batch = params_of(model), random_batch()
    assert {leaf.dtype for leaf in jax.tree.leaves(params)} == {jnp.dtype('float32')}
    half, full = logits(model, params, batch), logits(tiny(), params, batch)
    assert half.dtype == jnp.float32
    hidden = api.encode(model, VOCABULARY.size, params, batch, None)
    assert hidden.dtype == jnp.bfloat16
    np.testing.assert_allclose(half, full, atol=0.05)


def test_flops_of_the_paper_sizes():
    # 6 x weights + attention, per token, worked out by hand from Table 6 to two digits.
    for size, L, expected in (('small', 128, 0.070), ('base', 128, 0.611), ('base', 512, 0.668)):
        config = presets.resolve(
            Config(model=ModelConfig(size=size), data=DataConfig(row_length=L))
        )
        flops = training_flops_per_token(config, 30592, api.NETWORKS)
        assert flops / 1e9 == pytest.approx(expected, rel=0.03)


def test_positions_can_start_as_sinusoids_of_the_same_deviation():
    normal, waves = (
        np.asarray(params_of(tiny(position_init=name))['embeddings']['position'])
        for name in ('normal', 'sinusoidal')
    )
    assert waves.std() == pytest.approx(normal.std(), rel=0.2)
    # The product of two positions depends on how far apart they are, and on nothing else.
    products = waves @ waves.T
    for distance in (1, 5):
        diagonal = np.diagonal(products, distance)
        assert diagonal.std() < 1e-3 * products[0, 0]
    assert products[3, 4] > products[3, 9]
