"""Every objective of the table: what holds of all, and what is special to each."""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from electra_jax.config.recipe import recipe
from electra_jax.config.settings import GENERATOR_KINDS
from electra_jax.core import metric_table, rng, trees
from electra_jax.core.errors import ConfigError
from electra_jax.model.bind import bind
from electra_jax.objectives import (
    draws,
    electra,
    electric,
    generators,
    inputs,
    restored,
    table,
    teams,
)
from electra_jax.ops import vocab_softmax
from electra_jax.optim import optimizer
from electra_jax.optim.networks import network_table
from electra_jax.parallel.rules import parameter_letters
from tests.support import compiled
from tests.support.configs import (
    LOG_UNIGRAM_V,
    MODERN,
    SPECIAL,
    VOCABULARY,
    random_batch,
    tiny_config,
)

TWO_STAGE = {
    'generator_width': 1.0,
    'embedding_sharing': 'untied',
    'generator_embedding_size': 16,
}
# Objectives that report how well masked tokens are predicted; one that is added need not.
WITH_GENERATOR_METRICS = (
    'electra', 'electra_masked', 'mlm', 'replaced_mlm', 'all_tokens_mlm', 'electric', 'teams',
    'two_stage',
)  # fmt: skip
# Their losses are among those of the others: each test of all compiles programs of its own.
LIKE_OTHERS = ('electra_masked', 'mlm', 'replaced_mlm')


def setting(name='electra', model=None, **objective):
    """A config, its objective and fresh parameters whose heads are not zero."""
    model = {'num_layers': 1, **(TWO_STAGE if name == 'two_stage' else {}), **(model or {})}
    config = tiny_config(model=model, objective={'name': name, **objective})
    bound = compiled.objective(config)
    return config, bound, initial(config.model, bound.networks)


@functools.cache
def initial(model, networks):
    @jax.jit
    def init(key):
        return jax.tree.map(
            lambda x: x + 0.1 * jnp.cos(jnp.arange(x.size)).reshape(x.shape) * (x != 0),
            bind(model, VOCABULARY.size).init(key, networks),
        )

    return init(jax.random.key(0))


def drawn(bound, step=3, **batch):
    given = jax.tree.map(jnp.asarray, random_batch(**batch))
    return bound.draw(given, rng.step_keys(rng.root_key(0), step), step)


@pytest.mark.parametrize('name', sorted(table.OBJECTIVES))
def test_the_first_generator_of_an_objective_is_its_default(name):
    generators = table.OBJECTIVES[name].allowed_generators
    assert set(generators) <= set(GENERATOR_KINDS)
    config = tiny_config(model=TWO_STAGE if name == 'two_stage' else {}, objective={'name': name})
    assert config.model.generator == generators[0]


@pytest.mark.parametrize(
    'name',
    [
        pytest.param(name, marks=[pytest.mark.slow] * (name in LIKE_OTHERS))
        for name in sorted(table.OBJECTIVES)
    ],
)
def test_parts_of_a_batch_add_up_to_the_whole(name):
    config, bound, params = setting(name)
    gradient = compiled.gradient(config)
    given = drawn(bound)
    halves = [jax.tree.map(lambda x, s=s: x[s::2], jax.device_get(given)) for s in (0, 1)]
    (whole, metrics), grads = gradient(params, given, None, 0)
    sums = [gradient(params, half, None, 0) for half in halves]
    assert float(whole) == pytest.approx(sum(float(s[0][0]) for s in sums), rel=1e-5)
    added = jax.tree.map(np.add, *jax.device_get([grads for _, grads in sums]))
    for (path, a), (_, b) in zip(trees.named_leaves(grads), trees.named_leaves(added), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-5, err_msg=path)
    assert set(metrics) >= ({'loss', 'mlm_loss'} if name in WITH_GENERATOR_METRICS else {'loss'})
    assert set(metrics) <= metric_table.names('train')


@pytest.mark.parametrize(
    'name',
    [
        pytest.param(name, marks=[pytest.mark.slow] * (name in LIKE_OTHERS))
        for name in sorted(table.OBJECTIVES)
    ],
)
def test_a_row_knows_whether_the_loss_passes_on_what_was_observed(name):
    model = {'num_layers': 1, **(TWO_STAGE if name == 'two_stage' else {})}
    config = tiny_config(model=model, objective={'name': name})
    by_loss = dataclasses.replace(config.objective, masks='loss')  # also where that is refused
    config = dataclasses.replace(config, objective=by_loss)
    bound = table.build(config, VOCABULARY)

    def loss(key):
        given = bound.draw(random_batch(), rng.step_keys(rng.root_key(0), 3), 3, bound.memory())
        params = bind(config.model, VOCABULARY.size).init(key, bound.networks)
        return bound.loss(params, given, None, 3)

    _, metrics = jax.eval_shape(loss, jax.random.key(0))
    passed_on = {'token_losses', 'token_counts'} <= set(metrics)
    assert passed_on == table.OBJECTIVES[name].observes


@pytest.mark.parametrize('name', sorted(table.OBJECTIVES))
def test_every_objective_can_be_evaluated_and_looked_at(name):
    _, bound, params = setting(name)
    given = drawn(bound)
    metrics = bound.summary(jax.device_get(bound.totals(params, given)))
    assert all(np.isfinite(value) for value in metrics.values())
    assert set(metrics) <= metric_table.names('eval')
    if name in WITH_GENERATOR_METRICS:
        assert {'mlm_loss', 'unigram_loss', 'mlm_accuracy', 'sampled_accuracy'} <= set(metrics)
    tokens_BL, doubt_BL = bound.example(params, given)
    assert tokens_BL.shape == doubt_BL.shape == (8, 16)
    assert float(doubt_BL.min()) >= 0 and float(doubt_BL.max()) <= 1


def test_part_of_a_batch_can_stand_alone():
    _, bound, _params = setting()
    given = drawn(bound)
    half = jax.tree.map(lambda x: x[4:], given)
    alone = inputs.alone(half)
    direct = inputs.from_draws(SPECIAL, half.batch, half.draws)
    for ours, theirs in zip(alone[2:], direct[2:], strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-5)


def test_the_baseline_is_the_main_encoder_with_a_softmax():
    config, _, params = setting('mlm')
    assert set(params) == {'embeddings', 'discriminator', 'generator_head'}
    assert config.model.generator == 'tied' and config.model.generator_width == 1.0


def test_electra_on_masked_positions_learns_from_nothing_else():
    config, bound, params = setting('electra_masked')
    given = drawn(bound)
    _, metrics = bound.loss(params, given, None, 0)
    _, corruption, logits_BL, _ = compiled.part(electra.make_forward, config)(
        params, given, None, None
    )
    logits, fake = np.asarray(logits_BL), np.asarray(corruption.is_fake_BL)
    cross_entropy = np.logaddexp(0, logits) - logits * fake
    assert float(metrics['disc_loss']) == pytest.approx(
        cross_entropy[np.asarray(corruption.written_BL)].mean(), rel=1e-5
    )


@pytest.mark.parametrize(
    ('generator', 'log_p'),
    [('uniform', np.full(200, -np.log(200))), ('unigram', LOG_UNIGRAM_V[:200])],
)
def test_generators_without_a_network_sample_what_they_say(generator, log_p):
    log_p = log_p - np.log(np.exp(log_p).sum())
    _, bound, params = setting(model={'generator': generator})
    assert set(params) == {'embeddings', 'discriminator', 'discriminator_head'}
    config = tiny_config(model={'generator': generator}, objective={'mask_rate': 0.9})
    bound = table.build(config, VOCABULARY)
    given = drawn(bound, B=256, L=16)
    proposal = compiled.part(generators.make_propose, config)({}, given, None, None)
    used = np.asarray(given.draws.masked.weights_BP) > 0
    expected = -log_p[np.asarray(given.targets_BP)][used].mean()
    assert float(proposal.loss) == pytest.approx(expected, rel=1e-5)
    counts = np.bincount(np.asarray(proposal.prediction.sampled_BP)[used], minlength=200)
    assert len(counts) == 200  # no padding row
    wanted = np.exp(log_p) * counts.sum()
    groups = [slice(i, i + 20) for i in range(0, 200, 20)]
    chi_square = sum((counts[g].sum() - wanted[g].sum()) ** 2 / wanted[g].sum() for g in groups)
    assert chi_square < 27.9  # 0.1 % level at 9 degrees of freedom


def test_a_disallowed_original_is_never_sampled():
    for generator in ('separate', 'uniform'):
        config, bound, params = setting(
            model={'generator': generator}, disallow_correct=True, temperature=1e-3 + 0.01
        )
        given = drawn(bound)
        _, corruption, *_ = compiled.part(electra.make_forward, config)(params, given, None, None)
        assert (corruption.is_fake_BL == corruption.written_BL).all()
        assert bool(corruption.written_BL.any())


def test_temperature_and_mask_rate_follow_their_schedules():
    config = tiny_config(
        objective={
            'temperature': 3.0, 'temperature_end': 1.0, 'temperature_shape': 'exponential',
            'temperature_decay': 0.2, 'mask_rate': 0.15, 'mask_rate_end': 0.5,
            'mask_rate_decay': 0.5,
        }
    )  # fmt: skip
    assert [float(generators.temperature(config, t)) for t in (0, 20)] == pytest.approx(
        [3.0, 1 + 2 / np.e]
    )
    assert [float(draws.mask_rate(config, t)) for t in (0, 25, 50, 99)] == pytest.approx(
        [0.15, 0.325, 0.5, 0.5]
    )
    bound = table.build(config, VOCABULARY)
    shares = [float(drawn(bound, step=t).draws.masked.weights_BP[0].sum()) for t in (0, 50)]
    assert shares == [3, 8]  # ceil(0.15 x 16), 0.5 x 16


def test_the_copy_gate_mixes_copy_and_softmax():
    gate, loss = np.array([-1.0, 2.0, 0.5]), np.array([0.1, 3.0, 7.0])
    same = np.array([True, True, False])
    copied = restored.copy_mixture(*(jnp.asarray(x) for x in (gate, same, loss)))
    D = 1 / (1 + np.exp(-gate))
    np.testing.assert_allclose(np.exp(copied), D * same + (1 - D) * np.exp(-loss), rtol=1e-5)


def test_replaced_mlm_predicts_at_the_masked_positions_and_all_tokens_mlm_everywhere():
    for name, everywhere in (('replaced_mlm', False), ('all_tokens_mlm', True)):
        config, bound, params = setting(name)
        given = drawn(bound)
        _, metrics = bound.loss(params, given, None, 0)
        _, restoration = compiled.part(restored.make_forward, config, everywhere)(
            params, given, None, None
        )
        _, corruption = electra_like(config, params, given)
        softmax, gate = compiled.networks(config.model).restore(
            params, {**given.batch, 'tokens': corruption}, None, everywhere, None
        )
        log_p = log_softmax(softmax)
        ce_BL = -np.take_along_axis(
            np.asarray(log_p), np.asarray(given.batch['tokens'])[..., None], 2
        )[..., 0]
        real = np.asarray(given.batch['documents']) > 0
        if everywhere:
            same = corruption == given.batch['tokens']
            expected = -np.asarray(restored.copy_mixture(gate, same, ce_BL))[real].mean()
        else:
            used = np.asarray(given.draws.masked.weights_BP) > 0
            expected = np.asarray(given.at_masked(ce_BL))[used].mean()
        assert float(metrics['restored_loss']) == pytest.approx(expected, rel=1e-4)
        np.testing.assert_array_equal(restoration.tokens_BL, corruption)


def electra_like(config, params, given):
    proposal = compiled.part(generators.make_propose, config)(params, given, None, None)
    return proposal, electra.corrupted(given, proposal)[0]


@jax.jit
def log_softmax(softmax):
    return jax.nn.log_softmax(vocab_softmax.vocab_logits(softmax, 200)[..., :200])


def test_electric_says_written_even_where_the_sample_was_right():
    config, bound, params = setting('electric', temperature=0.01)
    given = drawn(bound)
    results = compiled.part(electric.make_contrast, config)(params, given, None, None)
    proposal, corruption, logits_BL, _ = results
    assert (corruption.is_fake_BL == corruption.written_BL).all()
    energies_BL = compiled.networks(config.model).discriminate(
        params, {**given.batch, 'tokens': corruption.tokens_BL}, None
    )
    log_q = log_softmax(proposal.everywhere)
    log_q_BL = np.take_along_axis(np.asarray(log_q), np.asarray(corruption.tokens_BL)[..., None], 2)
    expected = np.asarray(energies_BL) + log_q_BL[..., 0] + np.log(0.15 / 0.85)
    np.testing.assert_allclose(logits_BL, expected, rtol=1e-4, atol=1e-4)
    # The noise model learns from every token that may be masked, and only by its own loss.
    candidates = np.asarray(inputs.maskable(given.batch, SPECIAL))
    ce_BL = -np.take_along_axis(np.asarray(log_q), np.asarray(given.batch['tokens'])[..., None], 2)
    assert float(proposal.loss) == pytest.approx(ce_BL[..., 0][candidates].mean(), rel=1e-4)


def test_electric_scores_ordinary_tokens_by_their_energies():
    config, _, params = setting('electric')
    model = compiled.networks(config.model)
    batch = jax.tree.map(jnp.asarray, random_batch())
    scores_BL = electric.token_scores(model, VOCABULARY, params, batch)
    special = ~np.asarray(inputs.maskable(batch, SPECIAL))
    assert special.any() and (np.asarray(scores_BL)[special] == 0).all()
    energies_BL = model.discriminate(params, batch, None)
    np.testing.assert_allclose(scores_BL, -np.where(special, 0, energies_BL), rtol=1e-5)


def test_teams_selects_among_the_original_and_others_of_the_generator():
    config, bound, params = setting('teams', num_candidates=4)
    given = drawn(bound)
    proposal = compiled.part(generators.make_propose, config)(params, given, None, None)
    others_BPA = np.asarray(
        jax.jit(vocab_softmax.sample_others, static_argnums=(3, 4))(
            proposal.softmax, given.targets_BP, given.draws.own_noise[0], 3, 200
        )
    )
    assert (others_BPA != np.asarray(given.targets_BP)[..., None]).all() and others_BPA.max() < 200
    assert all(len(set(row)) == 3 for row in others_BPA.reshape(-1, 3))
    total, metrics = bound.loss(params, given, None, 0)
    plain = float(metrics['mlm_loss'] + 50 * metrics['disc_loss'])
    assert float(total) == pytest.approx(plain + 20 * float(metrics['selection_loss']), rel=1e-5)
    results = compiled.part(teams.make_both_tasks, config)(params, given, None, None)
    assert results.selected_BPA.shape == (8, 3, 4)


def test_the_detector_reads_what_the_last_shared_layer_says():
    """With a second layer that adds nothing, TEAMS' selector sees the first one's output."""
    config, bound, params = setting('teams', model={'num_layers': 2})
    given = drawn(bound)
    layers = params['discriminator']['layers']
    last_off = jax.tree.map(lambda x: x.at[1].set(0.0), layers)
    changed = {**params, 'discriminator': {**params['discriminator'], 'layers': last_off}}
    run = compiled.part(teams.make_both_tasks, config)
    before, after = (run(p, given, None, None) for p in (params, changed))
    np.testing.assert_array_equal(before.logits_BL, after.logits_BL)
    assert np.abs(before.selected_BPA - after.selected_BPA).max() > 1e-3


def test_two_stages_train_one_network_each_and_hand_over_in_between():
    config, bound, params = setting('two_stage', generator_steps=10)
    given = drawn(bound)
    for step, trained in ((9, 'generator'), (10, 'discriminator')):
        (total, metrics), grads = compiled.gradient(config)(params, given, None, step)
        for name, grad in trees.named_leaves(grads):
            owner = 'generator' if name.startswith('generator') else 'discriminator'
            assert bool(np.abs(grad).max() > 0) <= (owner == trained), (step, name)
        own = {'generator': 'mlm_loss', 'discriminator': 'disc_loss'}[trained]
        weight = {'generator': 1, 'discriminator': 50}[trained]
        assert float(total) == pytest.approx(weight * float(metrics[own]), rel=1e-6)
    jax.tree.map(np.testing.assert_array_equal, bound.prepare(params, jnp.array(9)), params)
    ((line, last),) = bound.other_losses.items()  # of the first stage
    assert last == 10 and 'discriminator is trained' in line and 'loss is now 50 times' in line
    after = bound.prepare(params, jnp.array(10))
    jax.tree.map(np.testing.assert_array_equal, after['discriminator'], params['generator'])
    jax.tree.map(np.testing.assert_array_equal, after['embeddings'], params['generator_embeddings'])
    jax.tree.map(np.testing.assert_array_equal, after['generator'], params['generator'])


def test_an_unknown_objective_is_refused_with_the_nearest_name():
    with pytest.raises(ConfigError, match=r"elektra'.*did you mean 'electra'"):
        table.complete(recipe({'objective': {'name': 'elektra'}}))


@pytest.mark.parametrize(
    ('networks', 'message'),
    [
        (('discriminater',), r"'discriminater', allowed: .*did you mean 'discriminator'"),
        ((), 'one or more of encoder, generator, discriminator'),
        ('discriminator', 'a tuple of one or more'),
    ],
)
def test_networks_that_the_model_lacks_are_refused_by_name(monkeypatch, networks, message):
    add(monkeypatch, lambda built: built._replace(networks=networks))
    with pytest.raises(ConfigError, match=message):
        table.build(tiny_config(objective={'name': 'added'}), VOCABULARY)


def test_a_metric_that_is_no_single_number_is_refused_by_name(monkeypatch):
    add(monkeypatch, lambda built: built)
    built = table.build(tiny_config(objective={'name': 'added'}), VOCABULARY)
    with pytest.raises(ConfigError, match=r'name=added has .*: by_row \[4\]'):
        built.remember(built.memory(), {'loss': jnp.zeros(()), 'by_row': jnp.zeros(4)})


def test_masks_that_observe_read_their_own_arrays_and_no_others(monkeypatch):
    add(monkeypatch, lambda built: built, observes=True)
    built = table.build(tiny_config(objective={'name': 'added', 'masks': 'loss'}), VOCABULARY)
    losses_V = jnp.zeros_like(built.memory()['token_loss'])
    metrics = {'loss': jnp.zeros(()), 'token_losses': losses_V, 'token_counts': losses_V}
    assert set(built.remember(built.memory(), metrics)[1]) == {'loss'}
    with pytest.raises(ConfigError, match=r'numbers: by_row \[4\]\. .*masks=loss: token_losses, '):
        built.remember(built.memory(), {**metrics, 'by_row': jnp.zeros(4)})
    del metrics['token_counts']
    with pytest.raises(ConfigError, match=r'name=added has no token_counts, which .*masks=loss'):
        built.remember(built.memory(), metrics)


def test_an_objective_may_have_no_generator(monkeypatch):
    add(monkeypatch, lambda built: built, generators=())
    assert tiny_config(objective={'name': 'added'}).model.generator == table.NO_NETWORK
    changes = {'objective': {'name': 'added'}, 'model': {'generator': 'tied'}}
    with pytest.raises(ConfigError, match=r"'tied', allowed with .*=added: uniform"):
        table.complete(recipe(changes))


def add(monkeypatch, change, **known):
    """An objective 'added' next to the others: ELECTRA with a change."""
    row = table.ObjectiveRow(lambda *given: change(electra.electra(*given)), **known)
    monkeypatch.setitem(table.OBJECTIVES, 'added', row)


def test_the_baseline_has_no_generator_to_scale():
    changes = {'objective': {'name': 'mlm'}, 'model': {'generator_width': 0.5}}
    assert table.complete(recipe(changes)).model.generator_width == 1.0
    with pytest.raises(ConfigError, match=r'--config.model.generator_width=0.5'):
        table.complete(recipe(changes), typed=['model.generator_width'])


def test_embeddings_of_a_recipes_generator_give_way_to_an_objective_without_one():
    changes = {'objective': {'name': 'mlm'}, 'model': {'embedding_sharing': 'untied'}}
    full = table.complete(recipe(changes), typed=['objective.name'])
    assert full.model.embedding_sharing == 'shared'
    with pytest.raises(ConfigError, match=r"embedding_sharing is 'untied'.*generator is 'tied'"):
        table.complete(recipe(changes))


def test_settings_are_completed_in_a_copy_and_a_checkpoints_model_is_left_unset():
    settings = recipe({'objective': {'name': 'mlm'}})
    assert table.complete(settings).model.generator == 'tied' and settings.model.generator is None
    tuning = recipe({'job': 'finetune', 'init_from': 'x', 'task': {'name': 'sst2'}})
    assert table.complete(tuning).model.generator is None


@pytest.mark.parametrize(
    ('changes', 'message'),
    [
        ({'objective': {'name': 'mlm'}, 'model': {'generator': 'separate'}}, 'allowed with'),
        ({'objective': {'name': 'two_stage'}}, 'one size'),
        ({'objective': {'freeze_generator': True}}, 'share parameters'),
        ({'optimizer': {'separate': True}}, 'share parameters'),
        ({'optimizer': {'generator_learning_rate': 0.1}}, 'separate=true'),
        ({'model': {'generator': 'tied', 'embedding_sharing': 'untied'}}, 'only a separate'),
        ({'model': {'generator_embedding_size': 8}}, 'embedding_sharing=untied'),
        ({'objective': {'generator_steps': 8}}, 'two_stage'),
        ({'objective': {'generator_steps': 800}, 'name': 'two_stage'}, 'total_steps'),
        ({'optimizer': {'microbatches': 2, 'clip_replicas': 2}}, 'leave microbatches'),
        ({'optimizer': {'clip_replicas': 3}}, 'multiple'),
    ],
)
def test_what_cannot_go_together_is_refused(changes, message):
    if changes.pop('name', None):
        changes['objective']['name'] = 'two_stage'
        changes['model'] = TWO_STAGE
    with pytest.raises(ConfigError, match=message):
        tiny_config(**changes)


@pytest.mark.parametrize('name', sorted(table.OBJECTIVES))
def test_every_objective_trains_the_modern_block_and_the_tables_know_its_parameters(name):
    """By shapes alone: nothing is computed."""
    sizes = TWO_STAGE if name == 'two_stage' else {}
    form = {'skip_first_norm': True, 'discriminator_head_norm': True, 'type_vocab_size': 0}
    config = tiny_config(model={**MODERN, **sizes, **form}, objective={'name': name})
    bound = table.build(config, VOCABULARY)
    key = jax.random.key(0)
    params = jax.eval_shape(lambda: bind(config.model, VOCABULARY.size).init(key, bound.networks))
    paths = [path for path, _ in trees.named_leaves(params)]
    assert any('attention/qkv/kernel' in path for path in paths)
    for rules in (parameter_letters, optimizer.decay_table, optimizer.layer_table):
        rules(params)
    network_table(params, config.model.embedding_sharing)
    given = jax.eval_shape(lambda: drawn(bound))
    (loss, _), grads = jax.eval_shape(
        jax.value_and_grad(bound.loss, has_aux=True), params, given, None, 0
    )
    assert loss.shape == () and jax.tree.structure(grads) == jax.tree.structure(params)
