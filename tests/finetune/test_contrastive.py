"""Texts that belong together: files, loss, ranks, BM25, and vectors that are those of `encode`."""

import collections
import dataclasses
import functools
import json
import math

import jax
import numpy as np
import pytest

from electra_jax.config import resolve
from electra_jax.config.recipe import recipe
from electra_jax.core.complaints import Complaints
from electra_jax.core.errors import ConfigError, DataError
from electra_jax.finetune import known, run, split
from electra_jax.finetune import task as tasks
from electra_jax.finetune.answers import put
from electra_jax.finetune.bm25 import BM25, words
from electra_jax.finetune.examples import TextExample
from electra_jax.finetune.features import to_batch
from electra_jax.finetune.files.locate import Location
from electra_jax.finetune.kinds import contrastive
from electra_jax.finetune.program import build_program
from electra_jax.inference.loaded import LoadedModel
from tests.support import trained
from tests.support.configs import tiny_config
from tests.support.trained import TOKENIZER

PAIRS = [
    ('the film', 'it was great', None),
    ('the film', 'anna saw it', 'bob was here'),
    ('who was it', 'anna saw it', 'rome'),
    ('they saw oslo', 'the film', 'it was great'),
]
EXAMPLES = [TextExample(str(i), *pair, '') for i, pair in enumerate(PAIRS)]


def task_of(**settings):
    return dataclasses.replace(tasks.of_kind('contrastive', 16), **settings)


def wanted_loss(vectors, task):
    """The loss of each pair by its definition; `vectors` by text."""

    def search(looking, partner, others, partners):
        # Texts that are there twice count twice; those that belong to an equal one do not count.
        candidates = [partner, *(x for x in others if x not in (looking, *partners[looking]))]
        logits = [vectors[looking] @ vectors[text] / task.temperature for text in candidates]
        return np.logaddexp.reduce(logits) - logits[0]

    firsts, seconds, wrong = ([pair[i] for pair in PAIRS if pair[i]] for i in range(3))
    there, back = collections.defaultdict(set), collections.defaultdict(set)
    for first, second, _ in PAIRS:
        there[first].add(second)
        back[second].add(first)
    losses = [search(first, second, seconds + wrong, there) for first, second, _ in PAIRS]
    if not task.symmetric:
        return losses
    others = [search(second, first, firsts, back) for first, second, _ in PAIRS]
    return [(a + b) / 2 for a, b in zip(losses, others, strict=True)]


@pytest.mark.parametrize('symmetric', [True, False])
def test_the_loss_is_that_of_all_texts_of_the_batch(symmetric):
    task = task_of(symmetric=symmetric, temperature=0.2)
    batch = to_batch(contrastive.features(TOKENIZER, EXAMPLES, task), range(4), 6, 48, 0)
    vectors = np.random.default_rng(0).standard_normal((6, 3, 5)).astype(np.float32)
    number = {text: (i, q) for i, pair in enumerate(PAIRS) for q, text in enumerate(pair) if text}
    table = {text: vectors[at] for text, at in number.items()}
    for i, pair in enumerate(PAIRS):
        vectors[i] = [table.get(text, 9.0 * vectors[i, 2]) for text in pair]
    found = jax.jit(functools.partial(contrastive.loss, task))({'vectors': vectors}, batch)
    np.testing.assert_allclose(found[:4], wanted_loss(table, task), rtol=1e-5)


@pytest.mark.slow
def test_negatives_come_from_all_devices():
    task = task_of(temperature=0.2)
    rows = contrastive.features(TOKENIZER, EXAMPLES, task)
    batch = to_batch(rows, range(4), 8, 32, 0)  # four rows are filled up
    config = tiny_config(
        job='finetune', total_steps=2, batch_size=8, task={'name': 'retrieval'},
        model={'dropout': 0.0, 'attention_dropout': 0.0, 'init_stddev': 0.3, 'num_layers': 1},
    )  # fmt: skip
    found = {}
    for name, mesh, devices in (('one', {}, 1), ('eight', {'data': 2, 'fsdp': 4}, 8)):
        one = dataclasses.replace(config, mesh=dataclasses.replace(config.mesh, **mesh))
        program = build_program(one, TOKENIZER.vocab_size, task, jax.devices()[:devices])
        state = program.fresh_state({}, np.uint32(0))
        outputs = program.answerer.answers(state.params, put(program.mesh, batch))
        vectors = np.asarray(outputs['vectors'])
        _, metrics = program.step(state, put(program.mesh, batch), np.uint32(0))
        found[name] = float(metrics['loss'])
    table = {text: vectors[i, q] for i, pair in enumerate(PAIRS) for q, text in enumerate(pair)}
    assert found['one'] == pytest.approx(np.mean(wanted_loss(table, task)), rel=1e-4)
    assert found['eight'] == pytest.approx(found['one'], rel=1e-4)


def test_texts_that_stand_side_by_side_have_the_vectors_of_encode():
    model = LoadedModel(trained.found(), 8)
    task = task_of()
    whole = contrastive.features(TOKENIZER, EXAMPLES, task)
    rows = whole.once  # those for answers
    assert len(rows.tokens.values) < len(whole.tokens.values)
    texts = list(dict.fromkeys(text for pair in PAIRS for text in pair if text))
    alone = {
        text: vector / np.linalg.norm(vector)
        for text, vector in zip(texts, model.encode(texts), strict=True)
    }
    run = model._opened.program(
        ('encoder',), lambda made: made.head(contrastive.CONTRASTIVE.head(task)).answers
    )
    outputs, seen = run(rows), []
    for row, output in enumerate(outputs):
        for vector, name in zip(output['vectors'], ('first', 'second', 'wrong'), strict=True):
            number = rows.numbers[name][row]
            seen += [number] if number >= 0 else []
            expected = alone[texts[number]] if number >= 0 else 0 * vector
            np.testing.assert_allclose(vector, expected, atol=1e-5)
    assert sorted(seen) == list(range(len(texts)))
    found = contrastive.searched(EXAMPLES, rows, outputs)
    cosines = [alone[a] @ alone[b] for a, b, _ in PAIRS]
    assert [one.score for one in found] == pytest.approx(cosines, abs=1e-5)
    assert contrastive.cosines(EXAMPLES, rows, outputs) == pytest.approx(cosines, abs=1e-5)


@pytest.mark.parametrize('name', ['retrieval', 'image_retrieval'])
@pytest.mark.parametrize(
    ('batch_size', 'parts', 'least'),
    [
        (1, {}, 2),
        (4, {'microbatches': 4}, 8),
        (4, {'clip_replicas': 4}, 8),
    ],
)
def test_a_batch_of_one_pair_has_no_other_texts_and_is_refused(name, batch_size, parts, least):
    def check(task, size):
        given = {'task': {'name': task}, 'batch_size': size, 'optimizer': parts}
        run._check_rows(resolve.fill(recipe({'job': 'finetune', **given})))

    wanted = rf'batch_size is {batch_size}\b.*{name}.*batch_size=32, .* from {least} on'
    with pytest.raises(ConfigError, match=wanted):
        check(name, batch_size)
    check(name, least)
    check('sst2', batch_size)  # whose rows are judged one by one


def ranks_of(scores, examples=EXAMPLES):
    """Ranks by a score of each candidate text, the same for all questions."""
    found = contrastive.found(
        examples, lambda questions, texts: np.tile([scores[x] for x in texts], (len(questions), 1))
    )
    return [one.rank for one in found]


def test_a_partner_is_ranked_among_all_that_are_no_partner_of_the_same_text():
    order = ['bob was here', 'it was great', 'anna saw it', 'rome', 'the film']
    scores = {text: -float(i) for i, text in enumerate(order)}
    # 'it was great' does not count against 'anna saw it', nor 'the film' at all, which looks.
    assert ranks_of(scores) == [2, 2, 3, 5]
    assert ranks_of(dict.fromkeys(order, 0.0)) == [2, 2, 3, 3]  # ties: the mean rank
    found = contrastive.found(
        EXAMPLES,
        lambda questions, texts: np.array([[float(x in y) for x in texts] for y in questions]),
    )
    assert found[0].best != 'the film'  # which is the text itself
    values = contrastive.measure([contrastive.Found(x, 0.0, '') for x in (1, 2, 5, 40)])
    assert values['mrr'] == pytest.approx((1 + 1 / 2 + 1 / 5 + 1 / 40) / 4)
    assert [values[f'recall_at_{k}'] for k in (1, 5, 20)] == [0.25, 0.75, 0.75]


def test_bm25_is_that_of_its_formula():
    texts = ['the red train', 'the train and the long red bus', 'a bus']
    index = BM25(texts)
    length = [len(words(text)) for text in texts]
    expected = np.zeros(3)
    for word in ('red', 'the', 'the', 'zebra'):
        count = np.array([words(text).count(word) for text in texts])
        n = np.sum(count > 0)
        idf = math.log(1 + (3 - n + 0.5) / (n + 0.5))
        expected += idf * count / (count + 1.2 * (0.25 + 0.75 * np.array(length) / np.mean(length)))
    np.testing.assert_allclose(index.scores('The red, the ZEBRA!'), expected)
    assert index.scores('bus').argmax() == 2  # the shorter one


def read(path, name='retrieval', **columns):
    settings = {'name': name, 'columns': columns}
    config = tiny_config(job='finetune', task=settings, data={'row_length': 16})
    return split.read(tasks.from_config(config), Location(path), 'train', 'error')


def test_pairs_may_have_a_text_that_does_not_belong(tmp_path):
    path = tmp_path / 'train.jsonl'
    rows = [{'text_a': a, 'text_b': b, **({'negative': n} if n else {})} for a, b, n in PAIRS]
    path.write_text(''.join(f'{json.dumps(row)}\n' for row in rows))
    assert [one.label for one in read(path).examples] == [pair[2] for pair in PAIRS]
    table = tmp_path / 'train.csv'
    table.write_text('text_a,text_b,hard\nthe film,it,\nanna,bob,rome\n')
    assert [one.label for one in read(table).examples] == [None, None]
    assert [one.label for one in read(table, label='hard').examples] == [None, 'rome']
    with pytest.raises(DataError, match="'other'"):
        read(table, label='other')


def test_a_file_of_squad_gives_questions_and_paragraphs(tmp_path):
    path = tmp_path / 'train-v2.0.json'
    answers = [{'text': 'anna', 'answer_start': 0}]
    qas = [
        {'id': 'a', 'question': 'who ?', 'answers': answers},
        {'id': 'b', 'question': 'where ?', 'answers': [], 'is_impossible': True},
    ]
    data = {'data': [{'paragraphs': [{'context': 'anna saw it', 'qas': qas}]}]}
    path.write_text(json.dumps(data))
    loaded = read(path, 'squad_retrieval')
    (one,) = loaded.examples
    assert loaded.complaints.lines() == [f'{path}: 1 question without an answer was left out']
    assert (one.id, one.text_a, one.text_b, one.label) == ('a', 'who ?', 'anna saw it', None)
    assert known.get('squad_retrieval').files.names['dev'][0] == 'dev-v1.1'


def test_questions_about_a_text_are_on_one_side_of_a_division():
    loaded = split.Loaded(EXAMPLES, task_of(), Complaints('', 'skip'), 'here')
    for below in (0.2, 0.4, 0.6, 0.8):
        try:
            rest, held_out = split.divided(loaded, below, below)
        except DataError:
            continue
        assert not {one.text_b for one in rest} & {one.text_b for one in held_out}
