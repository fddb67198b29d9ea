"""The two networks: the paper's sizes, what they share, and what they may see."""

import dataclasses
import functools
import itertools

import jax
import jax.extend.core
import jax.numpy as jnp
import numpy as np
import pytest

from electra_jax.config import resolve, shapes
from electra_jax.config.recipe import recipe
from electra_jax.config.settings import MeshConfig, ModelConfig
from electra_jax.core import trees
from electra_jax.model.bind import bind
from electra_jax.model.flops import flops_of_stages, training_flops
from electra_jax.objectives import draws, table
from electra_jax.parallel import mesh as meshes
from electra_jax.parallel import rules
from tests.support import compiled
from tests.support.configs import TWO_STAGE_MODEL, VOCABULARY, random_batch, tiny_config

KEY = jax.random.key(0)
BOTH = ('generator', 'discriminator')


def tiny(**changes) -> ModelConfig:
    return dataclasses.replace(tiny_config().model, **changes)


def params_of(model):
    return compiled.networks(model).init(KEY, BOTH)


def logits(model, params, batch, key=None):
    return compiled.networks(model).discriminate(params, batch, key)


@functools.partial(jax.jit, static_argnums=0)
def gradients(model, params, batch, key=None):
    """Of the sum of the discriminator's squared logits."""
    return jax.grad(lambda p: jnp.sum(logits(model, p, batch, key) ** 2))(params)


@pytest.mark.parametrize(
    ('size', 'expected'),
    # Encoder, embeddings and heads of the paper's sizes, counted by hand from Table 6.
    [('small', 13_483_008), ('base', 108_891_648), ('large', 334_092_288)],
)
def test_the_discriminators_of_table_6_have_their_sizes(size, expected):
    model = resolve.model_of({'size': size})
    shapes = jax.eval_shape(lambda: bind(model, 30522).init(KEY, ('discriminator',)))
    without_head = {k: v for k, v in shapes.items() if k != 'discriminator_head'}
    padding = (30592 - 30522) * model.embedding_size
    assert trees.count(without_head) - padding == expected


@pytest.mark.parametrize(
    ('size', 'layers', 'width', 'expected'),
    [('xlarge', 48, 1536, 1_407_590_400), ('xxlarge', 64, 2560, 5_114_757_120)],
)
def test_the_larger_discriminators_have_their_sizes(size, layers, width, expected):
    # Per layer 12 D^2 in matrices and 13 D in biases and norms; tables, their norm, the last norm.
    tables = (30522 + 512 + 2) * width
    assert layers * (12 * width**2 + 13 * width) + tables + 4 * width == expected
    model = resolve.model_of({'size': size})
    shapes = jax.eval_shape(lambda: bind(model, 30522).init(KEY, ('discriminator',)))
    without_head = {k: v for k, v in shapes.items() if k != 'discriminator_head'}
    assert trees.count(without_head) - (30592 - 30522) * width == expected


@pytest.mark.parametrize(
    ('size', 'hidden', 'heads', 'ffn'),
    [('small', 64, 1, 256), ('base', 256, 4, 1024), ('large', 256, 4, 1024)],
)
def test_the_generators_of_table_6_have_their_sizes(size, hidden, heads, ffn):
    model = resolve.model_of({'size': size})
    shape = shapes.generator_shape(model)
    assert (shape.hidden_size, shape.num_heads, shape.ffn_size) == (hidden, heads, ffn)
    assert shape.num_layers == model.num_layers


def test_both_networks_train_the_same_embeddings_and_norm():
    model, batch = tiny(), random_batch()
    params = params_of(model)

    @jax.jit
    @jax.grad
    def generator(params):
        masked_BP = jnp.ones((8, 2), jnp.int32)
        features, *_ = bind(model, VOCABULARY.size).generate(params, batch, masked_BP, None)
        return jnp.sum(features**2 * jnp.arange(features.shape[-1])[None, None])

    both = (generator(params), 'discriminator'), (gradients(model, params, batch), 'generator')
    for grads, other in both:
        for name, grad in trees.named_leaves(grads):
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
    with_dropout = functools.partial(dataclasses.replace, dropout=0.1, attention_dropout=0.1)
    ours, theirs = (
        gradients(with_dropout(model), params, batch, jax.random.key(1))
        for model in (plain, changed)
    )
    for (name, a), (_, b) in zip(trees.named_leaves(ours), trees.named_leaves(theirs), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-5, err_msg=name)


def test_heads_are_joined_wherever_a_tpu_would_copy_to_join_them():
    mesh = meshes.make_mesh(MeshConfig(data=4, tensor=2))
    model, batch = tiny(attention='mosaic'), random_batch()
    H, K = model.num_heads, model.hidden_size // model.num_heads
    params = jax.eval_shape(lambda: params_of(model))
    gradient = rules.on_mesh(functools.partial(gradients.__wrapped__, model), mesh)
    found = dict.fromkeys(('dot_general', 'sharding_constraint', 'shard_map'), 0)
    for one in equations(jax.make_jaxpr(gradient)(params, batch, KEY).jaxpr):
        if (name := one.primitive.name) in found:
            found[name] += 1
            for shape in (x.aval.shape for x in (*one.invars, *one.outvars)):
                assert (H, K) not in itertools.pairwise(shape), one
    assert min(found.values()) > 1, found


def equations(jaxpr):
    """All that a program computes, but what a kernel does."""
    for one in jaxpr.eqns:
        yield one
        if one.primitive.name != 'pallas_call':
            for inner in jax.extend.core.jaxprs_in_params(one.params):
                yield from equations(inner)


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
    hidden = compiled.networks(model).encode(params, batch, None)
    assert hidden.dtype == jnp.bfloat16
    np.testing.assert_allclose(half, full, atol=0.05)


@pytest.mark.parametrize(
    ('size', 'L', 'tokens', 'giga', 'paper'),
    [
        # 6 x weights + attention in GFLOP a token, worked out by hand from Table 6 to two digits;
        # and what the paper's script prints for the whole run.
        ('small', 128, 128 * 1e6, 0.070, '1.29e+18'),
        ('base', 512, 256 * 766e3, 0.668, '6.42e+19'),
        ('large', 512, 2048 * 400e3, 2.150, '7.12e+20'),
    ],
)
def test_flops_of_the_paper_sizes(size, L, tokens, giga, paper):
    settings = recipe({'model': {'size': size}, 'data': {'row_length': L}})
    config = resolve.resolve(settings, 'cpu')
    flops = training_flops(config, 30522, BOTH)
    assert flops['mfu'] / 1e9 == pytest.approx(giga, rel=0.01)
    assert f'{flops["paper"] * tokens * L:.3g}' == paper


def test_flops_follow_what_is_trained():
    def count(**changes):
        config = tiny_config(**changes)
        return training_flops(config, 200, table.build(config, VOCABULARY).networks)['mfu']

    plain = count()
    assert count(model={'generator': 'uniform'}) < plain < count(model={'generator': 'two_tower'})
    disentangled = {'embedding_sharing': 'disentangled'}
    frozen = count(model=disentangled, objective={'freeze_generator': True})
    alone = count(model={'generator': 'uniform'})
    assert frozen - alone == pytest.approx((plain - alone) / 3)  # no backward pass
    assert count(objective={'name': 'teams'}) > plain
    full = {
        'model': {
            'generator_width': 1.0,
            'embedding_sharing': 'untied',
            'generator_embedding_size': 16,
        }
    }
    stages = {'name': 'two_stage', 'generator_steps': 99}  # of 100 steps
    generator = count(**full) - count(model={'generator': 'uniform'})
    assert count(**full, objective=stages) == pytest.approx(
        generator * (1 + 2 * 0.99) / 3 + alone * 0.01
    )
    assert count(objective={'name': 'all_tokens_mlm'}) > count(objective={'name': 'replaced_mlm'})


def test_stages_add_up_to_the_run_and_each_costs_the_same_in_a_run_of_another_length():
    def config(steps, first):
        stages = {'name': 'two_stage', 'generator_steps': first}
        return tiny_config(total_steps=steps, objective=stages, model=TWO_STAGE_MODEL)

    early, late = flops_of_stages(config(10, 8), 200, BOTH)
    both = training_flops(tiny_config(model=TWO_STAGE_MODEL), 200, BOTH)['mfu']
    alone = tiny_config(model={'generator': 'uniform'})
    discriminator = training_flops(alone, 200, ('discriminator',))['mfu']
    assert early['mfu'] == pytest.approx(both - discriminator)
    # Later the generator only answers, and the discriminator is trained.
    assert late['mfu'] == pytest.approx((both - discriminator) / 3 + discriminator)
    other = flops_of_stages(config(10, 3), 200, BOTH)
    assert other[0] == pytest.approx(early) and other[1] == pytest.approx(late)
    one = tiny_config()
    assert flops_of_stages(one, 200, BOTH) == [training_flops(one, 200, BOTH)]


def test_a_mask_rate_that_changes_costs_what_its_highest_one_costs():
    def count(**objective):
        config = tiny_config(objective=objective)
        return training_flops(config, 200, BOTH)['mfu']

    rising = count(mask_rate=0.15, mask_rate_end=0.3, mask_rate_decay=0.5)
    falling = count(mask_rate=0.3, mask_rate_end=0.15)
    assert rising == falling == count(mask_rate=0.3) > count(mask_rate=0.15)
    # The step has room for so many positions throughout.
    for end in (0.15, 0.3):
        config = tiny_config(objective={'mask_rate': 0.45 - end, 'mask_rate_end': end})
        assert draws.max_masked(config.objective, 100) == 30


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


VARIANTS = [
    {'generator': 'tied', 'generator_width': 1.0},
    {'generator': 'two_tower'},
    {'embedding_sharing': 'untied'},
    {'embedding_sharing': 'untied', 'generator_embedding_size': 24},
    {'embedding_sharing': 'disentangled'},
    {'norm': 'post'},
]


@pytest.mark.parametrize('changes', VARIANTS, ids=str)
def test_every_kind_of_generator_answers_at_the_masked_positions_and_everywhere(changes):
    model, batch = tiny(**changes), random_batch()
    params = params_of(model)
    masked_BP = jnp.array([[3, 7]] * 8)
    run = functools.partial(compiled.networks(model).generate, params, batch)
    features_BPE, table_VE, bias_V = run(masked_BP, None)
    everywhere_BLE, *_ = run(None, None)
    E = shapes.generator_embedding_size(model)
    assert table_VE.shape == (256, E) and bias_V.shape == (256,)
    np.testing.assert_allclose(features_BPE, everywhere_BLE[:, [3, 7]], rtol=1e-5, atol=1e-5)


def test_a_tower_sees_one_side_only_and_never_the_token_itself():
    model, batch = tiny(generator='two_tower'), random_batch()
    params = params_of(model)

    def features(batch):
        return np.asarray(compiled.networks(model).generate(params, batch, None, None)[0])

    other = {**batch, 'tokens': batch['tokens'].copy()}
    other['tokens'][:, 8] = (other['tokens'][:, 8] + 7) % 190 + 5
    changed = np.abs(features(other) - features(batch)).max(axis=(0, 2)) > 0
    assert changed.tolist() == [position != 8 for position in range(16)]


def test_disentangled_tables_add_up_and_the_generators_feel_nothing_of_the_discriminator():
    model, batch = tiny(embedding_sharing='disentangled'), random_batch()
    params = params_of(model)
    delta = jax.tree.map(lambda x: x + 0.1 * jnp.sin(jnp.arange(x.size)).reshape(x.shape), params)
    params = {**params, 'embedding_delta': delta['embedding_delta']}
    folded = {
        name: params['embeddings'][name] + params['embedding_delta'][name]
        for name in ('word', 'position', 'type')
    }
    plain = {**params, 'embeddings': {**folded, 'norm': params['embedding_delta']['norm']}}
    np.testing.assert_allclose(
        logits(model, params, batch), logits(tiny(), plain, batch), rtol=1e-4, atol=1e-5
    )
    grads = gradients(model, params, batch)
    assert all(np.abs(leaf).max() == 0 for leaf in jax.tree.leaves(grads['embeddings']))
    assert np.abs(grads['embedding_delta']['word']).max() > 0


def test_rows_that_pad_the_vocabulary_start_and_stay_at_zero():
    model, batch = tiny(), random_batch()
    params = params_of(model)
    table_VE = np.asarray(params['embeddings']['word'])
    assert np.abs(table_VE[: VOCABULARY.size]).min(axis=1).max() > 0
    assert (table_VE[VOCABULARY.size :] == 0).all()
    grads = gradients(model, params, batch)
    assert (np.asarray(grads['embeddings']['word'])[VOCABULARY.size :] == 0).all()
