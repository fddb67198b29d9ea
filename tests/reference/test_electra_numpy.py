"""The reference in NumPy against its own numerical derivatives and against what is known."""

import dataclasses
import doctest

import numpy as np
import pytest

from tests.reference import electra_numpy, masking, optimizer
from tests.reference.electra_numpy import forward, run
from tests.reference.examples import VARIANTS, random_batch, random_draws, random_variables
from tests.reference.masking import (
    Draws,
    candidates,
    mask,
    max_predictions_per_seq,
    num_predictions,
)
from tests.reference.settings import Settings

B, L = 3, 10


def example(name='electra', seed=0, **changes):
    """A half of the text is masked, so that even a tiny batch has duplicates and several slots."""
    settings = Settings(**{'mask_prob': 0.5, **VARIANTS[name], **changes})
    batch = random_batch(settings, B, L, seed)
    draws = random_draws(settings, batch, seed, keep_rate=0.3)
    return settings, random_variables(settings, seed), batch, draws


def numerical_derivative(function, array, index, step=2e-3):
    """Of `function()` in one entry of `array`: five points, an error of the order step ** 4."""
    original, values = array[index], {}
    for times in (-2, -1, 1, 2):
        array[index] = original + times * step
        values[times] = function()
    array[index] = original
    return (8 * (values[1] - values[-1]) - (values[2] - values[-2])) / (12 * step)


@pytest.mark.parametrize('name', VARIANTS)
def test_every_gradient_is_the_loss_s_slope(name):
    settings, variables, batch, draws = example(name)
    outcome = forward(settings, variables, batch, draws)
    gradients = outcome.gradients()
    assert gradients.keys() == variables.keys()
    random = np.random.default_rng(0)

    def loss():
        return forward(settings, variables, batch, draws, outcome.given).metrics['loss']

    for variable, gradient in gradients.items():
        largest = np.abs(gradient).max()
        if variable.endswith('key/bias'):
            # The softmax does not see what is added to all keys: the slope is zero.
            assert largest < 1e-12, variable
            largest = 1e-2
        assert largest > 0, variable
        steepest = np.unravel_index(np.abs(gradient).argmax(), gradient.shape)
        anywhere = tuple(random.integers(size) for size in gradient.shape)
        for index in (steepest, anywhere):
            slope = numerical_derivative(loss, variables[variable], index)
            assert abs(slope - gradient[index]) < 1e-6 * largest, (variable, index)


def changed(batch, name, where, value):
    array = batch[name].copy()
    array[where] = value
    return {**batch, name: array}


@pytest.mark.parametrize('name', sorted(set(VARIANTS) - {'electric'}))
def test_padding_is_seen_by_no_loss(name):
    settings, variables, batch, draws = example(name)
    padding = batch['input_mask'] == 0
    assert padding.any()
    first = forward(settings, variables, batch, draws)
    other = forward(settings, variables, changed(batch, 'input_ids', padding, 9), draws)
    assert other.metrics == pytest.approx(first.metrics, rel=1e-12)
    for variable, gradient in other.gradients().items():
        np.testing.assert_allclose(gradient, first.gradients()[variable], atol=1e-12)


def test_two_towers_predict_a_token_from_all_others_and_not_from_itself():
    settings, variables, batch, draws = example('two_tower', seed=1)
    batch = {**batch, 'input_mask': np.ones((B, L), int)}
    position = 5
    log_probs = forward(settings, variables, batch, draws).generator.log_probs_BLV
    for moved in range(1, L - 1):
        at = (slice(None), moved)
        other = changed(batch, 'input_ids', at, (batch['input_ids'][at] + 1) % 23)
        difference = forward(settings, variables, other, draws).generator.log_probs_BLV - log_probs
        assert (np.abs(difference[:, position]).max() > 1e-6) == (moved != position), moved


def test_the_number_of_slots_is_the_reference_s():
    for mask_prob, L_, slots, used in (
        (0.15, 128, 19, 19),
        (0.15, 512, 79, 77),
        (0.25, 512, 130, 128),
    ):
        settings = Settings(mask_prob=mask_prob)
        batch = {'input_ids': np.zeros((1, L_), int), 'input_mask': np.ones((1, L_), int)}
        assert max_predictions_per_seq(settings, L_) == slots
        assert num_predictions(settings, batch).tolist() == [used]
    lengths_B1 = np.array([[2], [10], [30], [48]])
    few = {'input_ids': np.zeros((4, 128), int), 'input_mask': np.arange(128) < lengths_B1}
    # At least one slot of 2 tokens; 1.5 and 4.5 go to the even side, 7.2 to the nearest.
    assert num_predictions(Settings(), few).tolist() == [1, 2, 4, 7]


def test_masking_and_fake_data_treat_duplicates_as_the_reference():
    settings = Settings(mask_prob=0.5, mask_id=4)
    text = np.array([[2, 10, 11, 12, 13, 14, 15, 3]])
    batch = {'input_ids': text, 'input_mask': np.ones_like(text)}
    # Slots: 1 kept; 2 twice, kept once; 5 masked. n is round(8 * 0.5) = 4, P the same.
    positions, keep = np.array([[1, 2, 2, 5]]), np.array([[True, True, False, False]])
    masked = mask(settings, batch, Draws(positions, keep, np.zeros((1, 4, 23))))
    assert masked.input_ids_BL.tolist() == [[2, 10, 4, 12, 13, 4, 15, 3]]
    assert masked.weights_BP.tolist() == [[1, 1, 1, 1]]
    assert masked.targets_BP.tolist() == [[10, 11, 11, 14]]
    # Written over the original text: 10 as it was, the mean of 20 and 7, and 14 as it was.
    fake = masking.fake_data(settings, batch, masked, np.array([[9, 20, 7, 14]]))
    assert fake.input_ids_BL.tolist() == [[2, 9, 13, 12, 13, 14, 15, 3]]
    assert np.flatnonzero(fake.labels_BL).tolist() == [1, 2]
    electric = dataclasses.replace(settings, electra_objective=False, electric_objective=True)
    fake = masking.fake_data(electric, batch, masked, np.array([[9, 20, 7, 14]]))
    assert np.flatnonzero(fake.labels_BL).tolist() == [1, 2, 5]


def test_special_tokens_and_padding_are_no_candidates():
    settings = Settings()
    batch = {
        'input_ids': np.array([[2, 7, 4, 1, 3, 9]]),
        'input_mask': np.array([[1, 1, 1, 1, 1, 0]]),
    }
    assert candidates(settings, batch).tolist() == [[False, True, False, True, False, False]]


def test_losses_are_means_over_what_they_count():
    settings, variables, batch, draws = example()
    outcome = forward(settings, variables, batch, draws)
    used = outcome.masked.weights_BP > 0
    slots = set(zip(*np.nonzero(used), strict=True))
    assert len({(b, outcome.masked.positions_BP[b, p]) for b, p in slots}) < used.sum()
    logits = outcome.generator.logits_BPV[used]
    probs = np.exp(logits) / np.exp(logits).sum(axis=-1, keepdims=True)
    targets = outcome.masked.targets_BP[used]
    gen_loss = -np.log(probs[np.arange(len(probs)), targets]).sum() / (used.sum() + 1e-6)
    real = batch['input_mask'] == 1
    fake = 1 / (1 + np.exp(-outcome.disc_logits_BL[real]))
    right = np.where(outcome.given.fake.labels_BL[real], fake, 1 - fake)
    disc_loss = -np.log(right).sum() / (real.sum() + 1e-6)
    assert outcome.metrics['gen_loss'] == pytest.approx(gen_loss, rel=1e-12)
    assert outcome.metrics['disc_loss'] == pytest.approx(disc_loss, rel=1e-12)
    assert outcome.metrics['loss'] == pytest.approx(gen_loss + 50 * disc_loss, rel=1e-12)


def test_a_uniform_generator_costs_the_log_of_the_vocabulary():
    settings, variables, batch, draws = example('uniform')
    loss = forward(settings, variables, batch, draws).metrics['gen_loss']
    assert loss == pytest.approx(np.log(settings.vocab_size), rel=1e-6)


def test_a_disallowed_original_is_never_sampled():
    settings, variables, batch, draws = example('disallow_correct')
    # A single slot a row: the mean of two samples could be the original again.
    settings = dataclasses.replace(settings, mask_prob=0.1)
    draws = Draws(*(array[:, :1] for array in vars(draws).values()))
    original = batch['input_ids'][0, draws.positions_BP[0, 0]]
    variables['generator_predictions/output_bias'][original] = 30.0
    labels_BL = forward(settings, variables, batch, draws).given.fake.labels_BL
    assert labels_BL.sum() == B
    free = dataclasses.replace(settings, disallow_correct=False)
    assert forward(free, variables, batch, draws).given.fake.labels_BL.sum() < B


def test_electric_adds_the_noise_to_the_energy():
    settings, variables, batch, draws = example('electric')
    outcome = forward(settings, variables, batch, draws)
    plain = dataclasses.replace(settings, electra_objective=True, electric_objective=False)
    plain = dataclasses.replace(plain, two_tower_generator=True)
    energy_BL = forward(plain, variables, batch, draws, outcome.given).disc_logits_BL
    ids_BL1 = outcome.given.fake.input_ids_BL[..., None]
    log_q_BL = np.take_along_axis(outcome.generator.log_probs_BLV, ids_BL1, axis=-1)[..., 0]
    added_BL = outcome.disc_logits_BL - energy_BL
    np.testing.assert_allclose(added_BL, log_q_BL + np.log(0.5 / 0.5), atol=1e-12)
    rarer = dataclasses.replace(settings, mask_prob=0.25)
    moved_BL = forward(rarer, variables, batch, draws, outcome.given).disc_logits_BL
    np.testing.assert_allclose(moved_BL - outcome.disc_logits_BL, -np.log(3), atol=1e-12)


def test_the_optimizer_by_hand():
    variables = {'dense/kernel': np.array([2.0]), 'dense/bias': np.array([2.0])}
    gradients = {'dense/kernel': np.array([0.3]), 'dense/bias': np.array([0.4])}
    assert optimizer.clip_by_global_norm(gradients, 1.0)[0] == gradients
    clipped, norm = optimizer.clip_by_global_norm({'a': np.array([3.0, 4.0])}, 1.0)
    assert norm == 5.0
    np.testing.assert_allclose(clipped['a'], [0.6, 0.8], rtol=1e-15)
    slots = optimizer.zero_slots(variables)
    after, slots = optimizer.adam_weight_decay(variables, slots, gradients, 0.1, 0.01)
    # m = 0.1 g and v = 0.001 g^2: the first step is sqrt(10) of a sign; only the kernel decays.
    step = 0.1 * 0.4 / (0.001**0.5 * 0.4 + 1e-6)
    assert after['dense/bias'][0] == pytest.approx(2 - 0.1 * step, rel=1e-14)
    step = 0.1 * 0.3 / (0.001**0.5 * 0.3 + 1e-6)
    assert after['dense/kernel'][0] == pytest.approx(2 - 0.1 * (step + 0.01 * 2), rel=1e-14)
    _, slots = optimizer.adam_weight_decay(after, slots, gradients, 0.1, 0.01)
    assert slots['dense/bias/adam_m'][0] == pytest.approx(0.4 * (1 - 0.9**2), rel=1e-14)
    assert slots['dense/bias/adam_v'][0] == pytest.approx(0.16 * (1 - 0.999**2), rel=1e-12)


def test_each_replica_is_clipped_before_the_sum():
    settings, variables, batch, draws = example()
    batch = {name: np.concatenate([a, a]) for name, a in batch.items()}
    batch['input_ids'][B:] = random_batch(settings, B, L, 7, padding=False)['input_ids']
    draws = Draws(*(np.concatenate([a, a]) for a in vars(draws).values()))
    both = dataclasses.replace(settings, replicas=2)
    total, metrics = electra_numpy.clipped_gradients(both, variables, batch, draws)
    halves, losses = [], []
    for rows in (slice(0, B), slice(B, 2 * B)):
        own = {name: a[rows] for name, a in batch.items()}
        outcome = forward(settings, variables, own, draws.rows(rows))
        norm = np.sqrt(sum((g**2).sum() for g in outcome.gradients().values()))
        assert norm > 1
        halves.append({name: g / norm for name, g in outcome.gradients().items()})
        losses.append(outcome.metrics['loss'])
    for name, gradient in total.items():
        np.testing.assert_allclose(gradient, halves[0][name] + halves[1][name], atol=1e-12)
    assert metrics['loss'] == pytest.approx(np.mean(losses), rel=1e-12)


def test_a_run_warms_up_from_rate_zero_and_learns():
    settings = Settings(learning_rate=2e-2, num_warmup_steps=2, num_train_steps=30)
    batch = random_batch(settings, 4, 12)
    draws = random_draws(settings, batch)
    variables = random_variables(settings)
    history = run(variables, [batch] * 20, [draws] * 20, settings, 20)
    assert [step.metrics['learning_rate'] for step in history[:3]] == pytest.approx(
        [0, 2e-2 * 29 / 30 / 2, 2e-2 * 28 / 30]
    )
    for name, array in variables.items():
        np.testing.assert_array_equal(history[0].variables[name], array)
    assert np.abs(history[0].slots['electra/embeddings/word_embeddings/adam_m']).max() > 0
    assert history[-1].metrics['gen_loss'] < 0.7 * history[0].metrics['gen_loss']
    assert history[-1].metrics['disc_loss'] < 0.7 * history[0].metrics['disc_loss']


def test_contradictory_settings_are_refused():
    for changes in (
        {'two_tower_generator': True, 'untied_generator': False},
        {'electric_objective': True, 'uniform_generator': True},
        {'two_tower_generator': True, 'untied_generator_embeddings': True},
    ):
        with pytest.raises(ValueError):
            Settings(**changes)


@pytest.mark.parametrize('module', (masking, optimizer), ids=lambda m: m.__name__)
def test_examples(module):
    result = doctest.testmod(module)
    assert result.attempted and not result.failed
