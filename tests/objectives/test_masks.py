"""Ways to choose the masked tokens: how often each is, how many are, and what is remembered."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from electra_jax.config.recipe import recipe
from electra_jax.core import rng
from electra_jax.core.errors import ConfigError
from electra_jax.objectives import draws, table
from electra_jax.objectives.definition import without_text
from electra_jax.objectives.masks.running_loss import running_loss
from electra_jax.objectives.masks.table import MASKS
from electra_jax.ops import corrupt
from electra_jax.ops.vocab_softmax import Prediction
from tests.support.configs import LOG_UNIGRAM_V, SPECIAL, VOCABULARY, random_batch, tiny_config

NEVER = (SPECIAL.pad, SPECIAL.cls, SPECIAL.sep, SPECIAL.mask)
CONTINUES_V = np.arange(256) % 3 > 0
WITH_WORDS = VOCABULARY._replace(continues_V=CONTINUES_V)
MEMORY = {'token_loss': jnp.linspace(0.5, 8, 256)}


def drawn(masks, batch, step=0, memory=None, **objective):
    """The masked positions of each row, in the order in which they were drawn."""
    config = tiny_config(objective={'masks': masks, **objective})
    draw = draws.make_draw(config, WITH_WORDS, 256)
    keys = rng.step_keys(rng.root_key(0), 3)
    made = jax.jit(lambda batch, memory: draw(batch, keys, step, memory).draws.masked)
    positions_BP, weights_BP = jax.device_get(made(batch, memory))
    return [
        positions[weights > 0] for positions, weights in zip(positions_BP, weights_BP, strict=True)
    ]


def test_uniform_masks_are_those_of_a_plain_draw():
    batch = random_batch(B=16, L=64)
    noise_BL = jax.random.uniform(rng.step_keys(rng.root_key(0), 3)['positions'], (16, 64))
    maskable_BL = corrupt.maskable(batch['tokens'], batch['documents'], NEVER)
    order_BL = np.argsort(-np.where(maskable_BL, noise_BL, -1.0), axis=1)
    for row, found in enumerate(drawn('uniform', batch)):
        assert found.tolist() == order_BL[row, : len(found)].tolist()


@pytest.mark.parametrize('masks', sorted(MASKS))
def test_every_way_draws_as_many_ordinary_tokens(masks):
    batch = random_batch(B=16, L=64)
    found, plain = (drawn(one, batch, memory=MEMORY) for one in (masks, 'uniform'))
    for row, (ours, uniform) in enumerate(zip(found, plain, strict=True)):
        assert len(set(ours)) == len(ours) == len(uniform) > 0
        assert not np.isin(batch['tokens'][row, ours], NEVER).any()
        assert (batch['documents'][row, ours] > 0).all()
    if masks != 'uniform':
        assert any(set(a) != set(b) for a, b in zip(found, plain, strict=True))


@pytest.mark.parametrize('masks', sorted(MASKS))
def test_held_out_text_is_masked_uniformly(masks):
    batch = random_batch(B=4, L=64)
    plain = drawn('uniform', batch)
    assert all(map(np.array_equal, drawn(masks, batch, step=None), plain))


@pytest.mark.parametrize(
    ('masks', 'power', 'weights_V'),
    [
        ('rarity', None, np.exp(-0.5 * LOG_UNIGRAM_V)),
        ('rarity', 1.0, np.exp(-LOG_UNIGRAM_V)),
        ('loss', None, np.asarray(MEMORY['token_loss'])),
        ('loss', 2.0, np.asarray(MEMORY['token_loss']) ** 2),
    ],
)
def test_tokens_are_masked_in_proportion_to_their_weights(masks, power, weights_V):
    batch = {name: x[:1].repeat(4000, 0) for name, x in random_batch(L=16).items()}
    one = drawn(masks, batch, memory=MEMORY, mask_power=power, mask_rate=0.05)  # one of a row
    counts = np.bincount(np.concatenate(one), minlength=16)[1:15]
    weights = weights_V[batch['tokens'][0, 1:15]]
    expected = 4000 * weights / weights.sum()
    assert counts.sum() == 4000
    chi_square = ((counts - expected) ** 2 / expected).sum()
    assert chi_square < 34.5  # 0.1 % level at 13 degrees of freedom


def test_words_are_masked_whole():
    batch = random_batch(B=16, L=64)
    for row, positions in enumerate(drawn('words', batch, mask_rate=0.3)):
        begins_L = ~CONTINUES_V[batch['tokens'][row]]
        word_L = np.maximum.accumulate(np.where(begins_L, np.arange(64), 0))
        words = word_L[positions].tolist()
        assert words == sorted(words, key=words.index)  # pieces of a word follow one another
        real_L = (batch['documents'][row] > 0) & ~np.isin(batch['tokens'][row], NEVER)
        for word in set(words) - {words[-1]}:  # the last one may be cut
            whole = np.flatnonzero((word_L == word) & real_L)
            assert set(whole) <= set(positions.tolist())
        assert len(set(words)) < len(words)


def test_the_running_loss_is_that_of_the_times_that_a_token_was_masked():
    config = tiny_config(objective={'masks': 'loss'}, model={'num_layers': 1})
    objective = table.build(config, VOCABULARY)
    memory = objective.memory()
    np.testing.assert_array_equal(memory['token_loss'], -LOG_UNIGRAM_V)
    losses_V, counts_V = np.zeros(256, np.float32), np.zeros(256, np.float32)
    losses_V[[7, 9]], counts_V[[7, 9]] = (6.0, 2.0), (3, 1)
    metrics = {'loss': jnp.float32(1.0), 'token_losses': losses_V, 'token_counts': counts_V}
    memory, reported = objective.remember(memory, metrics)
    assert set(reported) == {'loss'}
    expected = -LOG_UNIGRAM_V
    expected[7] = 0.95**3 * expected[7] + (1 - 0.95**3) * 2.0
    expected[9] = 0.95 * expected[9] + 0.05 * 2.0
    np.testing.assert_allclose(memory['token_loss'], expected, rtol=1e-6)


def test_what_is_observed_is_the_loss_of_the_masked_tokens():
    batch = random_batch(B=4, L=16)
    config = tiny_config(objective={'masks': 'loss'})
    draw = draws.make_draw(config, VOCABULARY, 256)
    made = draw(batch, rng.step_keys(rng.root_key(0), 0), 0, MEMORY)
    loss_BP = jnp.ones(made.targets_BP.shape) * 3
    prediction = Prediction(loss_BP, made.targets_BP, made.targets_BP, loss_BP)
    observed = running_loss(config, VOCABULARY).observe(made, prediction)
    used = made.draws.masked.weights_BP > 0
    counts_V = np.bincount(np.asarray(made.targets_BP)[used], minlength=256)
    np.testing.assert_array_equal(observed['token_counts'], counts_V)
    np.testing.assert_allclose(observed['token_losses'], 3.0 * counts_V)


@pytest.mark.parametrize(
    ('objective', 'words'),
    [
        ({'masks': 'rare'}, r"masks is 'rare', allowed: loss, rarity, uniform, words"),
        ({'masks': 'words', 'positions': 'reference'}, r'masks is .words.*positions=distinct'),
        ({'mask_power': 2.0}, r'mask_power is 2.0.*masks=rarity'),
    ],
)
def test_settings_that_fit_no_way_are_refused(objective, words):
    with pytest.raises(ConfigError, match=words):
        tiny_config(objective=objective)


def test_masks_that_learn_are_refused_where_nothing_is_passed_on(monkeypatch):
    changes = {'objective': {'name': 'own', 'masks': 'loss'}}
    row = table.OBJECTIVES['electra']
    monkeypatch.setitem(table.OBJECTIVES, 'own', row)
    table.complete(recipe(changes))
    monkeypatch.setitem(table.OBJECTIVES, 'own', row._replace(observes=False))
    with pytest.raises(ConfigError, match=r"masks is 'loss'.*name=own.*uniform, rarity or words"):
        table.complete(recipe(changes))
    table.complete(recipe({'objective': {'name': 'own', 'masks': 'rarity'}}))


def test_whole_words_need_a_tokenizer_that_knows_them():
    config = tiny_config(objective={'masks': 'words'})
    for vocabulary in (VOCABULARY, VOCABULARY._replace(continues_V=np.zeros(256, bool))):
        with pytest.raises(ConfigError, match='continues a word'):
            draws.make_draw(config, vocabulary, 256)


@pytest.mark.parametrize('masks', sorted(MASKS))
def test_a_step_can_be_made_without_a_text(masks):
    config = tiny_config(objective={'masks': masks})
    bare = VOCABULARY._replace(log_unigram_V=None)
    objective = table.build(config, without_text(bare, config.model))
    memory = jax.eval_shape(objective.memory)
    keys = rng.step_keys(rng.root_key(0), 0)
    made = jax.eval_shape(lambda memory: objective.draw(random_batch(), keys, 0, memory), memory)
    assert made.draws.masked.positions_BP.shape[0] == len(random_batch()['tokens'])
