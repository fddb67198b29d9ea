"""The losses against NumPy, and what must hold of any batch."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from electra_jax.core import rng, trees
from electra_jax.core.errors import ConfigError
from electra_jax.objectives import electra, generators, inputs
from electra_jax.ops import vocab_softmax
from tests.support import compiled
from tests.support.configs import LOG_UNIGRAM_V, SPECIAL, random_batch, tiny_config


def setting(**changes):
    config = tiny_config(**changes)
    objective = compiled.objective(config)
    params = compiled.networks(config.model).init(jax.random.key(0), objective.networks)
    return config, objective, params


def run_both(config, params, given):
    return compiled.part(electra.make_forward, config)(params, given, None, None)


def drawn(objective, batch=None, step=3):
    batch = random_batch() if batch is None else batch
    return objective.draw(
        jax.tree.map(jnp.asarray, batch), rng.step_keys(rng.root_key(0), step), step
    )


def test_the_joint_loss_is_the_papers_sum():
    config, objective, params = setting()
    given = drawn(objective)
    total, metrics = objective.loss(params, given, None, 0)
    proposal, corruption, logits_BL, _ = run_both(config, params, given)
    w_BP = np.asarray(given.draws.masked.weights_BP)
    mlm = (w_BP * np.asarray(proposal.prediction.loss_BP)).sum() / w_BP.sum()
    logits, fake = (np.asarray(x, np.float64) for x in (logits_BL, corruption.is_fake_BL))
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
    _, corruption, *_ = run_both(config, params, given)
    tokens = np.asarray(given.batch['tokens'])
    np.testing.assert_array_equal(corruption.is_fake_BL, np.asarray(corruption.tokens_BL) != tokens)
    padding = np.asarray(given.batch['documents']) == 0
    assert padding.any() and not np.asarray(corruption.is_fake_BL)[padding].any()
    assert float(given.token_share_BL[padding].sum()) == 0
    assert float(given.token_share_BL.sum()) == pytest.approx(1, rel=1e-5)
    assert float(given.masked_share_BP.sum()) == pytest.approx(1, rel=1e-5)


def test_no_gradient_flows_from_the_discriminator_to_the_generator():
    config, objective, params = setting(objective={'generator_weight': 0.0})
    _, grads = compiled.gradient(config)(params, drawn(objective), None, 0)
    for name, grad in trees.named_leaves(grads):
        if name.startswith('generator'):
            assert np.abs(grad).max() == 0, name
        if name.startswith('discriminator_head'):
            assert np.abs(grad).max() > 0, name


def test_the_generator_sees_masks_and_the_discriminator_sees_none():
    _, objective, params = setting(objective={'keep_rate': 0.5})
    given = drawn(objective)
    masked_BL = np.asarray(generators.masked_batch(given, SPECIAL)['tokens'])
    used = np.asarray(given.draws.masked.weights_BP) > 0
    kept = np.asarray(given.draws.keep_BP) & used
    assert kept.any() and (used & ~kept).any()
    assert (masked_BL == SPECIAL.mask).sum() == (used & ~kept).sum()
    config, *_ = setting()
    _, corruption, *_ = run_both(config, params, given)
    assert not (np.asarray(corruption.tokens_BL) == SPECIAL.mask).any()


def test_given_draws_reproduce_drawn_ones():
    _, objective, params = setting()
    given = drawn(objective)
    again = inputs.from_draws(SPECIAL, given.batch, given.draws)
    assert float(objective.loss(params, given, None, 0)[0]) == float(
        objective.loss(params, again, None, 0)[0]
    )


def test_draws_depend_on_the_step_alone():
    _, objective, _ = setting()
    one, same, other = (drawn(objective, step=s) for s in (3, 3, 4))
    np.testing.assert_array_equal(one.draws.masked.positions_BP, same.draws.masked.positions_BP)
    assert (one.draws.masked.positions_BP != other.draws.masked.positions_BP).any()
    assert (one.draws.noise[0] != other.draws.noise[0]).any()


def test_temperature_falls_on_schedule():
    config = tiny_config(
        objective={'temperature': 3.0, 'temperature_end': 1.0, 'temperature_decay': 0.5}
    )
    values = [float(generators.temperature(config, step)) for step in (0, 25, 50, 100)]
    assert values == [3.0, 2.0, 1.0, 1.0]
    assert generators.temperature(tiny_config(), 7) == 1.0


def test_evaluation_metrics_equal_a_plain_count():
    config, objective, params = setting()
    given = drawn(objective)
    metrics = objective.summary(jax.device_get(objective.totals(params, given)))
    proposal, corruption, logits_BL, _ = run_both(config, params, given)
    used = np.asarray(given.draws.masked.weights_BP) > 0
    hits = np.asarray(proposal.prediction.best_BP == given.targets_BP)[used]
    assert metrics['mlm_accuracy'] == pytest.approx(hits.mean())
    log_p = LOG_UNIGRAM_V[np.asarray(given.targets_BP)[used]]
    assert metrics['unigram_loss'] == pytest.approx(-log_p.mean(), rel=1e-5)
    real = np.asarray(given.batch['documents']) > 0
    fake = np.asarray(corruption.is_fake_BL)[real]
    guess = np.asarray(logits_BL)[real] > 0
    assert metrics['disc_recall'] == pytest.approx((guess & fake).sum() / fake.sum(), abs=1e-6)
    assert metrics['disc_precision'] == pytest.approx(
        (guess & fake).sum() / max(guess.sum(), 1), abs=1e-6
    )


def test_both_samplers_serve_the_objective():
    for sampler in ('gumbel', 'blocks'):
        _, objective, params = setting(objective={'sampler': sampler})
        given = drawn(objective)
        B, P = given.draws.masked.positions_BP.shape
        assert [x.shape for x in given.draws.noise] == list(
            vocab_softmax.noise_shapes(B, P, 256, sampler)
        )
        assert np.isfinite(float(objective.loss(params, given, None, 0)[0]))


def test_an_unknown_objective_lists_the_known():
    with pytest.raises(ConfigError, match='electra, electra_masked'):
        tiny_config(objective={'name': 'elektra'})
