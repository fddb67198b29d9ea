"""The losses against NumPy, and what must hold of any batch."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from electra_jax.core import rng, trees
from electra_jax.core.errors import ConfigError
from electra_jax.model import api
from electra_jax.objectives import electra, inputs, table
from electra_jax.ops import vocab_head
from tests.conftest import SPECIAL, VOCABULARY, random_batch, tiny_config


def setting(**changes):
    config = tiny_config(**changes)
    objective = table.build(config, VOCABULARY)
    params = api.init(config.model, VOCABULARY.size, jax.random.key(0), objective.networks)
    return config, objective, params


def drawn(objective, batch=None, step=3):
    batch = random_batch() if batch is None else batch
    return objective.draw(jax.tree.map(jnp.asarray, batch), rng.step_keys(rng.root_key(0), step))


def test_the_joint_loss_is_the_papers_sum():
    config, objective, params = setting()
    given = drawn(objective)
    total, metrics = objective.loss(params, given, None, 0)
    prediction, corruption = electra.forward(config, VOCABULARY, params, given, None, 1.0)
    w_BP = np.asarray(given.weights_BP)
    mlm = (w_BP * np.asarray(prediction.loss_BP)).sum() / w_BP.sum()
    logits, fake = (
        np.asarray(x, np.float64) for x in (corruption.logits_BL, corruption.is_fake_BL)
    )
    probs = 1 / (1 + np.exp(-logits))
    real = np.asarray(given.batch['documents']) > 0
    disc = -(fake * np.log(probs) + (1 - fake) * np.log(1 - probs))[real].mean()
    assert float(metrics['mlm_loss']) == pytest.approx(mlm, rel=1e-5)
    assert float(metrics['disc_loss']) == pytest.approx(disc, rel=1e-5)
    assert float(total) == pytest.approx(mlm + 50 * disc, rel=1e-5)
    assert float(metrics['fake_rate']) == pytest.approx(fake[real].mean(), rel=1e-5)


def test_labels_are_where_the_text_changed_and_padding_counts_nowhere():
    config, objective, params = setting()
    given = drawn(objective)
    _, corruption = electra.forward(config, VOCABULARY, params, given, None, 1.0)
    tokens = np.asarray(given.batch['tokens'])
    np.testing.assert_array_equal(corruption.is_fake_BL, np.asarray(corruption.tokens_BL) != tokens)
    padding = np.asarray(given.batch['documents']) == 0
    assert padding.any() and not np.asarray(corruption.is_fake_BL)[padding].any()
    assert float(given.token_share_BL[padding].sum()) == 0
    assert float(given.token_share_BL.sum()) == pytest.approx(1, rel=1e-5)
    assert float(given.masked_share_BP.sum()) == pytest.approx(1, rel=1e-5)


def test_no_gradient_flows_from_the_discriminator_to_the_generator():
    _, objective, params = setting(objective={'generator_weight': 0.0})
    grads = jax.grad(lambda p: objective.loss(p, drawn(objective), None, 0)[0])(params)
    for name, grad in trees.named_leaves(grads):
        if name.startswith('generator'):
            assert np.abs(grad).max() == 0, name
        if name.startswith('discriminator_head'):
            assert np.abs(grad).max() > 0, name


@pytest.mark.parametrize('name', sorted(table.OBJECTIVES))
def test_parts_of_a_batch_add_up_to_the_whole(name):
    _, objective, params = setting(objective={'name': name})
    given = drawn(objective)
    halves = [jax.tree.map(lambda x, s=s: x[s::2], given) for s in (0, 1)]
    (whole, metrics), grads = jax.value_and_grad(objective.loss, has_aux=True)(
        params, given, None, 0
    )
    sums = [jax.value_and_grad(objective.loss, has_aux=True)(params, h, None, 0) for h in halves]
    assert float(whole) == pytest.approx(sum(float(s[0][0]) for s in sums), rel=1e-5)
    added = jax.tree.map(jnp.add, sums[0][1], sums[1][1])
    for (path, a), (_, b) in zip(trees.named_leaves(grads), trees.named_leaves(added), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-5, err_msg=path)
    assert set(metrics) >= {'loss', 'mlm_loss'}


def test_the_generator_sees_masks_and_the_discriminator_sees_none():
    _, objective, params = setting(objective={'keep_rate': 0.5})
    given = drawn(objective)
    masked_BL = np.asarray(inputs.masked_batch(given, SPECIAL)['tokens'])
    used = np.asarray(given.weights_BP) > 0
    kept = np.asarray(given.keep_BP) & used
    assert kept.any() and (used & ~kept).any()
    assert (masked_BL == SPECIAL.mask).sum() == (used & ~kept).sum()
    config, *_ = setting()
    _, corruption = electra.forward(config, VOCABULARY, params, given, None, 1.0)
    assert not (np.asarray(corruption.tokens_BL) == SPECIAL.mask).any()


def test_given_draws_reproduce_drawn_ones():
    _, objective, params = setting()
    given = drawn(objective)
    again = inputs.from_draws(
        given.batch, given.masked_BP, given.weights_BP, given.keep_BP, given.noise
    )
    assert float(objective.loss(params, given, None, 0)[0]) == float(
        objective.loss(params, again, None, 0)[0]
    )


def test_draws_depend_on_the_step_alone():
    _, objective, _ = setting()
    one, same, other = (drawn(objective, step=s) for s in (3, 3, 4))
    np.testing.assert_array_equal(one.masked_BP, same.masked_BP)
    assert (one.masked_BP != other.masked_BP).any()
    assert (one.noise[0] != other.noise[0]).any()


def test_temperature_falls_on_schedule():
    config = tiny_config(
        objective={'temperature': 3.0, 'temperature_end': 1.0, 'temperature_decay': 0.5}
    )
    values = [float(electra.temperature(config, step)) for step in (0, 25, 50, 100)]
    assert values == [3.0, 2.0, 1.0, 1.0]
    assert electra.temperature(tiny_config(), 7) == 1.0


def test_evaluation_metrics_equal_a_plain_count():
    config, objective, params = setting()
    given = drawn(objective)
    log_unigram_V = jnp.log(jnp.full(256, 1 / 256))
    metrics = objective.summary(jax.device_get(objective.totals(params, given, log_unigram_V)))
    prediction, corruption = electra.forward(config, VOCABULARY, params, given, None, 1.0)
    used = np.asarray(given.weights_BP) > 0
    hits = np.asarray(prediction.best_BP == given.targets_BP)[used]
    assert metrics['mlm_accuracy'] == pytest.approx(hits.mean())
    assert metrics['unigram_loss'] == pytest.approx(np.log(256), rel=1e-5)
    real = np.asarray(given.batch['documents']) > 0
    fake = np.asarray(corruption.is_fake_BL)[real]
    guess = np.asarray(corruption.logits_BL)[real] > 0
    assert metrics['disc_recall'] == pytest.approx((guess & fake).sum() / fake.sum(), abs=1e-6)
    assert metrics['disc_precision'] == pytest.approx(
        (guess & fake).sum() / max(guess.sum(), 1), abs=1e-6
    )


def test_the_baseline_has_one_network_of_full_size():
    config, _, params = setting(objective={'name': 'mlm'})
    assert set(params) == {'embeddings', 'generator', 'generator_head'}
    assert params['generator']['layers']['attention']['query']['kernel'].shape[1] == 32
    assert config.model.generator_width == 1.0


def test_both_samplers_serve_the_objective():
    for sampler in ('gumbel', 'blocks'):
        _, objective, params = setting(objective={'sampler': sampler})
        given = drawn(objective)
        B, P = given.masked_BP.shape
        assert [x.shape for x in given.noise] == list(vocab_head.noise_shapes(B, P, 256, sampler))
        assert np.isfinite(float(objective.loss(params, given, None, 0)[0]))


def test_an_unknown_objective_lists_the_known():
    with pytest.raises(ConfigError, match='electra, mlm'):
        tiny_config(objective={'name': 'elektra'})
