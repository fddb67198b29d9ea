"""A decoder: with a cache as without one, smoothed labels, and what it starts from."""

import collections
import dataclasses
import functools
import re

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from electra_jax.config.settings import MeshConfig
from electra_jax.core.errors import ConfigError
from electra_jax.model.bind import bind
from electra_jax.model.decoder import DecoderShape
from electra_jax.model.task_heads import HeadShape
from electra_jax.ops import decoding
from electra_jax.ops.decoding import Search
from electra_jax.parallel import mesh as meshes
from electra_jax.parallel import rules
from tests.support.configs import SPECIAL, modern_config, random_batch, tiny_config

V, B, L, R = 40, 3, 8, 5
HOW = Search('greedy', 3, R, 1.0, 0, True, 0.9, 1.0, 0)
MODELS = {
    'tied': (tiny_config, DecoderShape('discriminator', 1, True, False, HOW)),
    'copies': (tiny_config, DecoderShape('discriminator', 1, True, True, HOW)),
    # The modern block, of the generator's width, with embeddings of its own.
    'modern': (modern_config, DecoderShape('generator', 2, False, False, HOW)),
}


@pytest.fixture(autouse=True)
def caches_that_grow(monkeypatch):
    """Answers of 5 tokens begin with a cache for 2."""
    monkeypatch.setattr(decoding, '_SMALLEST_STAGE', 2)


@functools.cache
def made(name):
    """A model whose probabilities are far from even, a batch, and the functions that are used."""
    make_config, decoder = MODELS[name]
    model = bind(make_config().model, V)

    def head(**how):
        changed = dataclasses.replace(decoder, how=HOW._replace(**how))
        return model.head(HeadShape('text', 'reference', 0, 0.0, decoder=changed))

    @jax.jit
    def init(key):
        return {**model.init(key, ('encoder',)), 'task_head': head().init(key)}

    random = np.random.default_rng(1)
    params = jax.device_get(init(jax.random.key(1)))
    params = jax.tree.map(lambda x: x + random.normal(0, 0.3, x.shape).astype(x.dtype), params)
    batch = random_batch(B, L)
    batch['tokens'] %= V
    batch |= {
        'begin': np.full(B, SPECIAL.cls, np.int32),
        'end': np.full(B, SPECIAL.sep, np.int32),
        'draw': np.arange(B, dtype=np.int32),
        'weight': np.ones(B, np.float32),
    }
    outputs = jax.jit(lambda params, batch: head().outputs(params, batch, None))
    answers = {how: jax.jit(head(method=how).answers) for how in ('greedy', 'beam')}
    return jax.device_put(params), batch, outputs, answers


def losses(name, target_BR, row=None):
    """What `outputs` gives for targets: of each row of the batch, or all of one of its rows."""
    params, batch, outputs, _ = made(name)
    if row is not None:
        batch = {key: np.repeat(x[row : row + 1], len(target_BR), 0) for key, x in batch.items()}
    found = outputs(params, {**batch, 'target': np.asarray(target_BR, np.int32)})
    return {key: np.asarray(x, np.float64) for key, x in found.items()}


def greedy_without_cache(name, row):
    """The likeliest tokens one after another, each found by trying all with the whole beginning."""
    answer = []
    while SPECIAL.sep not in answer:
        target_VR = np.full((V, R), 7)
        target_VR[:, : len(answer)] = answer
        target_VR[:, len(answer)] = np.arange(V)
        best = int(losses(name, target_VR, row)['loss'][:, len(answer)].argmin())
        answer.append(SPECIAL.sep if len(answer) == R - 1 else best)
    return answer


@pytest.mark.parametrize('name', ['tied', 'copies', pytest.param('modern', marks=pytest.mark.slow)])
def test_decoding_with_a_cache_is_decoding_without_token_for_token(name):
    params, batch, _, answers = made(name)
    found = jax.device_get(answers['greedy'](params, batch))
    for row, tokens in enumerate(found['tokens'].tolist()):
        answer = greedy_without_cache(name, row)
        assert tokens == [*answer, *[0] * (R - len(answer))]
    assert len({tuple(row) for row in found['tokens'].tolist()}) > 1
    check_scores(name, found)


def check_scores(name, found):
    """The score of an answer is its mean log-probability by the whole row at once."""
    is_end_BR = found['tokens'] == SPECIAL.sep
    ends_B = np.argmax(is_end_BR, axis=1)
    assert is_end_BR.any(axis=1).all()
    own = losses(name, np.where(np.arange(R) <= ends_B[:, None], found['tokens'], -1))
    scores_B = -(own['loss'] * own['real']).sum(axis=1) / (ends_B + 1)
    np.testing.assert_allclose(found['score'], scores_B, atol=1e-4)


def test_a_beam_gives_its_answers_the_scores_of_the_whole_row():
    params, batch, _, answers = made('tied')
    found, greedy = (jax.device_get(answers[how](params, batch)) for how in ('beam', 'greedy'))
    check_scores('tied', found)
    assert (found['score'] >= greedy['score'] - 1e-5).any()
    # A row alone, the others being none.
    alone = jax.device_get(answers['beam'](params, {**batch, 'weight': np.eye(B)[2]}))
    np.testing.assert_array_equal(alone['tokens'][2], found['tokens'][2])


@pytest.mark.slow
@pytest.mark.parametrize('name', ['tied', 'copies'])
@pytest.mark.parametrize('sizes', [{'data': 8}, {'data': 2, 'fsdp': 2, 'tensor': 2}])
def test_the_mesh_changes_no_answer(name, sizes):
    params, batch, _, answers = made(name)
    batch = {key: np.concatenate([x, x, x[:2]]) for key, x in batch.items()}  # 8 rows
    ours = jax.device_get(answers['beam'](params, batch))
    mesh = meshes.make_mesh(MeshConfig(**sizes))
    params = jax.device_put(params, rules.state_shardings(params, mesh))
    theirs = jax.device_get(jax.jit(rules.on_mesh(answers['beam'], mesh))(params, batch))
    np.testing.assert_array_equal(ours['tokens'], theirs['tokens'])
    np.testing.assert_allclose(ours['score'], theirs['score'], atol=1e-5)


@pytest.mark.slow
def test_a_decoder_copies_words_that_no_answer_had_in_training():
    """The answer is the third word that is read."""
    make_config, decoder = MODELS['copies']
    model = bind(make_config().model, V)
    shape = dataclasses.replace(decoder, how=HOW._replace(length=2))
    head = model.head(HeadShape('text', 'reference', 0, 0.0, decoder=shape))
    known, unknown, random = np.arange(8, 34), np.arange(34, V), np.random.default_rng(0)

    def batch_of(words, count=32):
        tokens = random.choice(np.arange(8, V), (count, L)).astype(np.int32)
        tokens[:, 0], tokens[:, -1] = SPECIAL.cls, SPECIAL.sep
        tokens[:, 3] = answer = random.choice(words, count)
        same = {key: np.full(count, value, np.int32) for key, value in
                (('begin', SPECIAL.cls), ('end', SPECIAL.sep), ('draw', 0))}  # fmt: skip
        positions = np.broadcast_to(np.arange(L, dtype=np.int32), (count, L))
        ones = np.ones((count, L), np.int32)
        return same | {
            'tokens': tokens,
            'documents': ones,
            'positions': positions,
            'types': 0 * ones,
            'weight': np.ones(count, np.float32),
            'target': np.stack([answer, same['end']], axis=1).astype(np.int32),
        }

    params = jax.jit(
        lambda key: {**model.init(key, ('encoder',)), 'task_head': head.init(key)}
    )(jax.random.key(0))  # fmt: skip
    optimizer = optax.adam(1e-2)

    @jax.jit
    def step(params, state, batch):
        def loss(params):
            return jnp.mean(head.outputs(params, batch, None)['loss'])

        updates, state = optimizer.update(jax.grad(loss)(params), state)
        return optax.apply_updates(params, updates), state

    state = optimizer.init(params)
    for _ in range(200):
        params, state = step(params, state, batch_of(known))
    answers = jax.jit(head.answers)

    def share_of_right(words):
        batch = batch_of(words, 200)
        found = answers(params, batch)['tokens'][:, 0]
        return float(np.mean(found == batch['target'][:, 0]))

    assert share_of_right(known) > 0.9
    assert share_of_right(unknown) > 0.9


def test_a_step_writes_into_the_cache_and_copies_none_of_it():
    """What has the size of a layer's keys is only ever passed on, grown, or written into."""
    model = tiny_config().model
    how = HOW._replace(method='beam')
    decoder = dataclasses.replace(MODELS['tied'][1], num_layers=2, how=how)
    head = bind(model, V).head(HeadShape('text', 'reference', 0, 0.0, decoder=decoder))
    params, batch, _, _ = made('tied')
    params = {**params, 'task_head': jax.eval_shape(head.init, jax.random.key(0))}
    text = jax.jit(head.answers).lower(params, batch).compile().as_text()
    size, operations = B * how.beams * R * model.hidden_size, collections.Counter()
    for sizes, operation in re.findall(r'= f32\[([\d,]+)\]\S* ([\w-]+)\(', text):
        operations[operation] += int(np.prod([int(one) for one in sizes.split(',')]) % size == 0)
    written = operations['fusion'] or operations['dynamic-update-slice']
    assert written == 2 * decoder.num_layers
    for copying in ('copy', 'transpose', 'concatenate', 'slice', 'dynamic-slice', 'broadcast'):
        assert operations[copying] == 0, f'{copying}: {operations}'


def test_above_mean_is_the_distance_to_the_mean_log_probability():
    """Cross-entropy with smoothed labels by its definition, from all log-probabilities."""
    eps, answer = 0.2, [9, 30, SPECIAL.sep]
    target_VR = np.full((V, R), -1)
    target_VR[:, :2] = answer[:2]
    target_VR[:, 2] = np.arange(V)
    every = losses('tied', target_VR, 0)
    log_probs_V, at = -every['loss'][:, 2], answer[2]
    np.testing.assert_allclose(np.exp(log_probs_V).sum(), 1, atol=1e-5)
    share_V = np.full(V, eps / V) + (1 - eps) * np.eye(V)[at]
    ours = every['loss'][at, 2] + eps * every['above_mean'][at, 2]
    assert ours == pytest.approx(-np.sum(share_V * log_probs_V), abs=1e-4)
    assert every['real'][0].tolist() == [1, 1, 1, 0, 0]


def test_answers_longer_than_the_positions_are_refused():
    model = bind(tiny_config().model, V)
    decoder = DecoderShape('discriminator', None, True, False, HOW._replace(length=64))
    with pytest.raises(ConfigError, match=r'target_length is 64.*max_positions is 32'):
        model.head(HeadShape('text', 'reference', 0, 0.0, decoder=decoder))
