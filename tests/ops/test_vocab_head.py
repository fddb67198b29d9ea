"""The vocabulary head against its plain form, in value, gradient and distribution."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from electra_jax.aot import hlo
from electra_jax.ops import vocab_head, vocab_softmax

B, P, V, E, SIZE = 2, 5, 256, 8, 200


def parts(seed=0):
    k = jax.random.split(jax.random.key(seed), 4)
    features_BPE = jax.random.normal(k[0], (B, P, E))
    table_VE = jax.random.normal(k[1], (V, E))
    bias_V = jax.random.normal(k[2], (V,))
    targets_BP = jax.random.randint(k[3], (B, P), 0, SIZE)
    return vocab_softmax.SoftmaxInputs(features_BPE, table_VE, bias_V), targets_BP


def noise_for(sampler, B=B, P=P, V=V, seed=7):
    shapes = vocab_softmax.noise_shapes(B, P, V, sampler)
    keys = jax.random.split(jax.random.key(seed), len(shapes))
    return tuple(jax.random.uniform(key, shape) for key, shape in zip(keys, shapes, strict=True))


def plain_form(softmax, targets_BP, weights_BP):
    """The weighted loss and its gradients by the formula, in float64: rounding is not compared."""
    features_BPE, table_VE, bias_V, weights_BP = (
        np.asarray(x, np.float64) for x in (*softmax, weights_BP)
    )
    logits_BPV = features_BPE @ table_VE.T + bias_V
    logits_BPV[..., SIZE:] = -np.inf
    probs_BPV = np.exp(logits_BPV - logits_BPV.max(axis=-1, keepdims=True))
    probs_BPV /= probs_BPV.sum(axis=-1, keepdims=True)
    one_hot_BPV = np.eye(V)[np.asarray(targets_BP)]
    loss = -(weights_BP * np.log((probs_BPV * one_hot_BPV).sum(axis=-1))).sum()
    error_BPV = weights_BP[..., None] * (probs_BPV - one_hot_BPV)
    table_VE_grad = np.einsum('BPV,BPE->VE', error_BPV, features_BPE)
    return loss, (error_BPV @ table_VE, table_VE_grad, error_BPV.sum(axis=(0, 1)))


@pytest.mark.parametrize('chunks', [1, 8, 32])
def test_loss_and_gradients_equal_the_plain_form(chunks):
    softmax, targets = parts()
    weights_BP = jnp.linspace(0.1, 1.0, B * P).reshape(B, P)

    def ours(softmax):
        noise = noise_for('blocks')
        out = vocab_head.predict(softmax, targets, noise, 1.0, SIZE, chunks=chunks)
        return jnp.sum(weights_BP * out.loss_BP)

    value, grads = jax.value_and_grad(ours)(softmax)
    expected, expected_grads = plain_form(softmax, targets, weights_BP)
    np.testing.assert_allclose(value, expected, rtol=1e-6)
    for grad, expected_grad in zip(grads, expected_grads, strict=True):
        np.testing.assert_allclose(grad, expected_grad, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize('sampler', ['gumbel', 'blocks'])
@pytest.mark.parametrize('temperature', [1.0, 2.0])
def test_samples_follow_the_softmax(sampler, temperature):
    draws = 20_000
    logits_V = jnp.where(jnp.arange(V) < SIZE, 2 * jax.random.normal(jax.random.key(3), (V,)), -1e9)
    logits = jnp.broadcast_to(logits_V / temperature, (draws, 1, V))
    blocks, _, masses = vocab_softmax.in_blocks(logits)
    sampled = vocab_softmax.sample(blocks, masses, noise_for(sampler, draws, 1))
    assert_distributed(
        sampled, np.asarray(jax.nn.softmax(logits_V / temperature), np.float64)[:SIZE]
    )


def assert_distributed(sampled, probs):
    """A chi-square test; tokens that are hardly expected are counted as one."""
    counts = np.bincount(np.asarray(sampled).ravel(), minlength=V)
    assert counts[SIZE:].sum() == 0
    draws = counts.sum()
    common = probs * draws > 5
    expected = np.append(probs[common], probs[~common].sum()) * draws
    observed = np.append(counts[:SIZE][common], counts[:SIZE][~common].sum())
    chi_square = ((observed - expected) ** 2 / expected).sum()
    freedom = len(expected) - 1
    assert chi_square < freedom + 4 * (2 * freedom) ** 0.5


@pytest.mark.parametrize('sampler', ['gumbel', 'blocks'])
@pytest.mark.parametrize('temperature', [1.0, 2.0])
@pytest.mark.parametrize('disallow', [False, True])
def test_chunks_change_no_draw(sampler, temperature, disallow):
    softmax, targets = parts()
    arguments = (softmax, targets, noise_for(sampler), temperature, SIZE, disallow)
    whole, streamed = (vocab_head.predict(*arguments, chunks=chunks) for chunks in (1, 8))
    np.testing.assert_array_equal(whole.best_BP, streamed.best_BP)
    np.testing.assert_array_equal(whole.sampled_BP, streamed.sampled_BP)
    np.testing.assert_allclose(whole.loss_BP, streamed.loss_BP, rtol=1e-5)
    np.testing.assert_allclose(whole.normalizer_BP, streamed.normalizer_BP, rtol=1e-6)
    assert not disallow or (streamed.sampled_BP != targets).all()


def test_streamed_samples_follow_the_softmax():
    draws = 20_000
    (features, table, bias), _ = parts()
    features = jnp.broadcast_to(features[:1, :1] / 2, (draws, 1, E))
    softmax = vocab_softmax.SoftmaxInputs(features, table, bias)
    targets = jnp.zeros((draws, 1), jnp.int32)
    noise = noise_for('blocks', draws, 1)
    out = vocab_head.predict(softmax, targets, noise, 1.0, SIZE, chunks=8)
    logits_V = (table @ features[0, 0] + bias)[:SIZE]
    assert_distributed(out.sampled_BP, np.asarray(jax.nn.softmax(logits_V), np.float64))


def test_temperature_moves_the_sample_and_not_the_loss():
    softmax, targets = parts()
    noise = noise_for('gumbel')
    cold, hot = (vocab_head.predict(softmax, targets, noise, t, SIZE) for t in (0.01, 100.0))
    np.testing.assert_array_equal(cold.loss_BP, hot.loss_BP)
    np.testing.assert_array_equal(cold.sampled_BP, cold.best_BP)
    assert (hot.sampled_BP != hot.best_BP).any()


def test_padding_rows_are_never_predicted():
    softmax, targets = parts()
    softmax = softmax._replace(bias_V=softmax.bias_V.at[SIZE:].set(100.0))
    out = vocab_head.predict(softmax, targets, noise_for('blocks'), 1.0, SIZE)
    assert (out.best_BP < SIZE).all() and (out.sampled_BP < SIZE).all()
    expected, _ = plain_form(softmax, targets, np.ones((B, P)))
    np.testing.assert_allclose(jnp.sum(out.loss_BP), expected, rtol=1e-5)


@pytest.mark.parametrize('chunks', [1, 8])
def test_the_backward_pass_keeps_no_logits(chunks):
    softmax, targets = parts()

    def loss(softmax):
        noise = noise_for('blocks')
        out = vocab_head.predict(softmax, targets, noise, 1.0, SIZE, chunks=chunks)
        return jnp.sum(out.loss_BP)

    _, backward = jax.vjp(loss, softmax)
    kept = [leaf.shape for leaf in jax.tree.leaves(backward) if hasattr(leaf, 'shape')]
    assert kept and (B, P, V) not in kept


def test_in_chunks_no_array_of_all_logits_is_made_at_all():
    softmax, targets = parts()

    def loss(chunks, softmax):
        noise = noise_for('blocks')
        out = vocab_head.predict(softmax, targets, noise, 1.0, SIZE, chunks=chunks)
        return jnp.sum(out.loss_BP) + jnp.sum(out.sampled_BP)

    def all_logits(chunks):
        grad = jax.jit(jax.grad(functools.partial(loss, chunks)))
        module = hlo.parse(grad.lower(softmax).compile().as_text())
        arrays = [a for c in module.computations.values() for i in c.instructions.values()
                  for a in i.arrays]  # fmt: skip
        return [a for a in arrays if a.dtype == 'f32' and np.prod(a.dims) >= B * P * V]

    assert all_logits(1)
    assert not all_logits(8)
