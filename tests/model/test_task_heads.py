"""The heads of fine-tuning: transformers' numbers, the reference's search, dropout, sharding."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from electra_jax.model.bind import vocab_rows
from electra_jax.model.task_heads import HEADS, SPAN_HIDDEN, HeadShape
from electra_jax.parallel import rules
from tests.support import compiled, hf_weights
from tests.support.configs import VOCABULARY, random_batch, tiny_config

KEY = jax.random.key(0)
MODEL = dataclasses.replace(
    tiny_config(model={'norm': 'post'}).model, dropout=0.0, attention_dropout=0.0
)
ROWS = vocab_rows(MODEL, VOCABULARY.size)


def params_of(head, model=MODEL):
    params = dict(compiled.networks(model).init(KEY, ('discriminator',)))
    params['task_head'] = compiled.head(model, head).init(jax.random.key(1))
    return larger(params)


@jax.jit
def larger(params):
    """Larger than they start, biases included, so that nothing can hide."""
    leaves, tree = jax.tree.flatten(params)
    keys = jax.random.split(jax.random.key(2), len(leaves))
    return tree.unflatten(
        [x + 0.1 * jax.random.normal(k, x.shape) for x, k in zip(leaves, keys, strict=True)]
    )


def task_batch(B=4, L=16):
    batch = random_batch(B, L)
    allowed_BL = np.zeros((B, L), np.int32)
    allowed_BL[:, 0], allowed_BL[:, 5:12] = 1, 1
    batch['types'][:, 5:] = 1
    return {**batch, 'allowed': allowed_BL, 'start': np.array([5, 0, 7, 11][:B], np.int32)}


def outputs(head, params, batch, key=None, model=MODEL):
    return compiled.head(model, head).outputs(params, batch, key)


CLASSIFIER = {'dense': 'classifier.dense', 'output': 'classifier.out_proj'}


@pytest.mark.parametrize(
    ('form', 'classes', 'name', 'layers'),
    [
        ('row', 3, 'ElectraForSequenceClassification', CLASSIFIER),
        ('row', 1, 'ElectraForSequenceClassification', CLASSIFIER),
        ('token', 5, 'ElectraForTokenClassification', {'output': 'classifier'}),
        ('span', 2, 'ElectraForQuestionAnswering', {'output': 'qa_outputs'}),
    ],
)
def test_the_logits_are_those_of_transformers(form, classes, name, layers):
    torch = pytest.importorskip('torch')
    transformers = pytest.importorskip('transformers')
    head = HeadShape(form, 'huggingface', classes, dropout=0.1)
    params, batch = params_of(head), task_batch()
    config = hf_weights.hf_config(MODEL, ROWS, num_labels=classes)
    peer = hf_weights.load_into(getattr(transformers, name)(config), params, layers).eval()
    with torch.no_grad():
        predicted = peer(
            input_ids=torch.tensor(batch['tokens'], dtype=torch.long),
            attention_mask=torch.tensor(batch['documents'] > 0, dtype=torch.long),
            token_type_ids=torch.tensor(batch['types'], dtype=torch.long),
        )
    ours = outputs(head, params, batch)
    real = batch['documents'] > 0
    if form == 'span':
        where = batch['allowed'] > 0
        for mine, theirs in (('start', predicted.start_logits), ('end', predicted.end_logits)):
            np.testing.assert_allclose(ours[mine][where], theirs.numpy()[where], atol=1e-5)
    elif form == 'token':
        np.testing.assert_allclose(ours['logits'][real], predicted.logits.numpy()[real], atol=1e-5)
    else:
        np.testing.assert_allclose(ours['logits'], predicted.logits.numpy(), atol=1e-5)


def test_the_references_heads_are_one_dense_layer():
    for form, classes in (('row', 3), ('token', 5)):
        head = HeadShape(form, 'reference', classes, dropout=0.1)
        params, batch = params_of(head), task_batch()
        assert list(params['task_head']) == ['output']
        hidden = compiled.networks(MODEL).encode(params, batch, None)
        at = hidden if form == 'token' else hidden[:, 0]
        layer = jax.tree.map(np.asarray, params['task_head']['output'])
        expected = np.asarray(at) @ layer['kernel'] + layer['bias']
        np.testing.assert_allclose(outputs(head, params, batch)['logits'], expected, atol=1e-5)


JOINT = HeadShape('span', 'reference', 2, dropout=0.0, beams=3)


def test_the_joint_head_follows_the_reference():
    """The formulas of finetune/qa/qa_tasks.py in NumPy, the end given the true start."""
    params, batch = params_of(JOINT), task_batch()
    head = jax.tree.map(np.asarray, params['task_head'])
    hidden = np.asarray(compiled.networks(MODEL).encode(params, batch, None))
    masked = 1000.0 * (batch['allowed'] - 1.0)
    erf = np.vectorize(__import__('math').erf)

    def dense(x, name):
        return x @ head[name]['kernel'] + head[name]['bias']

    def hidden_layer(x, name):
        y = dense(x, name)
        return y * 0.5 * (1 + erf(y / np.sqrt(2)))

    start = dense(hidden, 'start')[..., 0] + masked
    at = hidden[np.arange(4), batch['start']][:, None].repeat(hidden.shape[1], 1)
    ends = hidden_layer(np.concatenate([at, hidden], -1), 'end_dense')
    end = dense(ends, 'end_output')[..., 0] + masked
    probs = np.exp(start - start.max(-1, keepdims=True))
    probs /= probs.sum(-1, keepdims=True)
    expected = (probs[..., None] * hidden).sum(1)
    both = np.concatenate([hidden[:, 0], expected], -1)
    answerable = hidden_layer(both, 'answerable_dense')
    impossible = dense(answerable, 'answerable_output')[..., 0]
    assert head['end_dense']['kernel'].shape == (2 * MODEL.hidden_size, SPAN_HIDDEN)
    ours = outputs(JOINT, params, batch)
    for name, theirs in (('start', start), ('end', end), ('impossible', impossible)):
        np.testing.assert_allclose(ours[name], theirs, atol=2e-4, err_msg=name)


def test_the_search_scores_ends_as_training_does_for_the_same_start():
    params, batch = params_of(JOINT), task_batch()
    found = compiled.head(MODEL, JOINT).answers(params, batch)
    assert found['start_index'].shape == (4, 3) and found['end_index'].shape == (4, 3, 3)
    for beam in range(3):
        given = {**batch, 'start': found['start_index'][:, beam]}
        known = outputs(JOINT, params, given)
        log_probs = jax.nn.log_softmax(known['end'])
        best, index = jax.lax.top_k(log_probs, 3)
        np.testing.assert_allclose(found['end_log_prob'][:, beam], best, atol=1e-5)
        np.testing.assert_array_equal(found['end_index'][:, beam], index)
    allowed = np.take_along_axis(batch['allowed'], np.asarray(found['start_index']), axis=1)
    assert allowed.all()


@pytest.mark.parametrize('pair', [True, False])
def test_means_are_of_each_text_and_of_no_padding(pair):
    head = HeadShape('row', 'mean', 3, dropout=0.1)
    params, batch = params_of(head), task_batch()
    batch['types'] *= pair
    hidden = np.asarray(compiled.networks(MODEL).encode(params, batch, None))
    rows = []
    for states, types, real in zip(hidden, batch['types'], batch['documents'] > 0, strict=True):
        u, v = (states[real & (types == k)].sum(0) for k in range(2))
        u = u / (real & (types == 0)).sum()
        v = v / max(1, (real & (types == 1)).sum())
        rows.append(np.concatenate([u, v, abs(u - v), u * v]))
    assert (batch['documents'] == 0).any()
    layer = jax.tree.map(np.asarray, params['task_head']['output'])
    expected = np.stack(rows) @ layer['kernel'] + layer['bias']
    np.testing.assert_allclose(outputs(head, params, batch)['logits'], expected, atol=1e-5)


@pytest.mark.parametrize(('form', 'style'), HEADS, ids='-'.join)
def test_every_head_has_its_sharding_letters_and_starts_finite(form, style):
    head = HeadShape(form, style, 3, dropout=0.1, words=(0, 1, 2))
    params = {'task_head': compiled.head(MODEL, head).init(KEY)}
    letters = rules.parameter_letters(params)
    jax.tree.map(lambda text, leaf: _same_rank(text, leaf), letters, params)
    assert all(jnp.isfinite(leaf).all() for leaf in jax.tree.leaves(params))


def _same_rank(letters, leaf):
    assert len(letters) == leaf.ndim, (letters, leaf.shape)


@pytest.mark.parametrize(
    ('form', 'style', 'drops'),
    [
        ('row', 'reference', True),
        ('row', 'huggingface', True),
        ('row', 'mean', True),
        ('token', 'reference', False),
        ('token', 'huggingface', True),
        ('span', 'huggingface', False),
        ('span', 'reference', False),
    ],
)
def test_a_head_drops_where_its_original_does(form, style, drops):
    head = HeadShape(form, style, 3, dropout=0.5)
    params, batch = params_of(head), task_batch()
    quiet, loud = outputs(head, params, batch), outputs(head, params, batch, jax.random.key(3))
    name = 'start' if form == 'span' else 'logits'
    assert bool((quiet[name] != loud[name]).any()) == drops
