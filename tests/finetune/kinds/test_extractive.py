"""Summaries made of sentences: which are wanted, rows, loss, answers, and notes of scores."""

import dataclasses

import jax.numpy as jnp
import numpy as np
import pytest

from electra_jax.core.complaints import Complaints
from electra_jax.finetune import sentences
from electra_jax.finetune import split as splits
from electra_jax.finetune.examples import WrittenExample
from electra_jax.finetune.features import to_batch
from electra_jax.finetune.kinds.extractive import EXTRACTIVE
from electra_jax.finetune.kinds.kind import Predictions
from electra_jax.finetune.split import Loaded
from tests.support import fakes
from tests.support.configs import tiny_config
from tests.support.loading import counts, task_of

A, B, C, D, *_ = [piece for piece in fakes.VOCAB if piece.isalpha()]
TEXT = f'{A} {B}. {C} {D} {A}.\n{B}'


def example(text=TEXT, summary=None, name='0'):
    return WrittenExample(name, text, summary, f'f:{name}')


def task_with(**changes):
    return dataclasses.replace(task_of('extractive'), **changes)


@pytest.mark.parametrize(
    ('text', 'found'),
    [
        ('One. Two! Three?', ['One.', 'Two!', 'Three?']),
        ('v1.2 is out', ['v1.2 is out']),
        ('\u4f60\u597d\u3002\u518d\u89c1\u3002', ['\u4f60\u597d\u3002', '\u518d\u89c1\u3002']),
        (
            '\u201c\u4f60\u597d\uff01\u201d\u300c\u597d\uff1f\uff01\u300d\u597d',
            ['\u201c\u4f60\u597d\uff01\u201d', '\u300c\u597d\uff1f\uff01\u300d', '\u597d'],
        ),
        ('She said "No."  Then left', ['She said "No."', 'Then left']),
        ('Dear Ann,\n\n  hello\n', ['Dear Ann,', 'hello']),
        ('...', ['...']),
    ],
)
def test_sentences_end_at_signs_before_white_space_and_at_lines(text, found):
    assert sentences.split(text) == found


def test_the_oracle_adds_sentences_while_they_bring_it_nearer():
    text = 'a b c. d e. x y z. a b.'
    assert sentences.oracle(text, 'a b c d e') == (0, 1)
    assert sentences.oracle(text, 'A, B!') == (3,)  # shorter, so nearer
    assert sentences.oracle(text, 'q') == ()


def test_rows_mark_sentences_and_those_that_are_wanted():
    task = task_with(row_length=16)
    loaded = Loaded(
        [example(summary=f'{C} {D}')], task, Complaints('data.on_bad_row', 'error'), 'f'
    )
    rows = EXTRACTIVE.features(fakes.tokenizer(), loaded.examples, task)
    numbers, wanted = rows.marks['sentence'][0], rows.marks['wanted'][0]
    sep = fakes.tokenizer().special.sep
    assert rows.tokens[0][0] == fakes.tokenizer().special.cls and numbers[0] == -1
    assert (rows.tokens[0] == sep).sum() == 3 and numbers.max() == 2
    np.testing.assert_array_equal(wanted, numbers == 1)
    # Sentences that do not fit are left out, and the text is counted.
    task = task_with(row_length=8)
    config = tiny_config(job='finetune', task={'name': 'extractive'}, data={'row_length': 8})
    split = splits.make_split(config, fakes.tokenizer(), loaded._replace(task=task))
    assert split.rows.marks['sentence'][0].max() == 0 and counts(loaded.complaints) == {'cut': 1}
    # A first sentence that is too long alone keeps its beginning, and [SEP].
    (row,) = (EXTRACTIVE.features(fakes.tokenizer(), [example(' '.join([A] * 9))], task).tokens,)
    assert len(row[0]) == 8 and row[0][-1] == sep


def test_the_loss_is_cross_entropy_over_the_sentences_of_a_row():
    task = task_with(row_length=16)
    some = [example(summary=f'{C} {D}'), example(summary='?'), example(f'{A}. {A}.', A)]
    rows = EXTRACTIVE.features(fakes.tokenizer(), some, task)
    batch = to_batch(rows, [0, 1, 2], 4, 16, 0)
    assert EXTRACTIVE.terms(batch).tolist() == [1, 0, 1, 0]
    logits_BLC = np.random.default_rng(0).normal(size=(4, 16, 1)).astype(np.float32)
    loss_B = EXTRACTIVE.loss(
        task, {'logits': jnp.asarray(logits_BLC)}, {k: jnp.asarray(x) for k, x in batch.items()}
    )
    means = [logits_BLC[0, batch['sentence'][0] == number, 0].mean() for number in range(3)]
    assert loss_B[0] == pytest.approx(np.log(np.sum(np.exp(means))) - means[1], abs=1e-5)
    assert loss_B[1] == 0 and np.isfinite(loss_B).all()


def test_the_best_sentences_are_the_answer_in_their_order():
    task, some = task_with(row_length=16, sentences=2), [example(summary=A)]
    rows = EXTRACTIVE.features(fakes.tokenizer(), some, task)
    logits = np.zeros((16, 1))
    numbers = rows.marks['sentence'][0]
    logits[: len(numbers), 0] = np.array([0.0, 1.0, 3.0])[numbers]
    logits[0] = 9  # [CLS] is in no sentence
    (found,) = EXTRACTIVE.answers(task, some, rows, [{'logits': logits}])
    assert found.chosen == (1, 2) and found.text == f'{C} {D} {A}. {B}'
    assert np.argmax(found.scores) == 2 and sum(found.scores) == pytest.approx(1)
    (line,) = EXTRACTIVE.to_json(Predictions(task, some, [found]))
    assert line['prediction'] == found.text and line['sentences'] == [1, 2]


def test_first_sentences_and_the_oracle_stand_next_to_every_score():
    task = task_with(sentences=1)
    some = [example('x y. a b.', 'a b'), example('c d. e.', 'c d')]
    answers = EXTRACTIVE.trivial(task, some, some)
    first, last = answers.values()
    assert [one.text for one in first] == ['x y.', 'c d.']
    assert [one.text for one in last] == ['a b.', 'e.']
    scores = EXTRACTIVE.score(Predictions(task, some, last))
    assert scores.values['rouge1'] == pytest.approx(0.5)
    lead, oracle = scores.notes
    assert 'lead' in lead and 'rouge1 50.00' in lead
    assert 'oracle' in oracle and 'rouge1 100.00' in oracle


def test_the_training_file_gives_the_number_of_sentences(tmp_path):
    rows = ['document,summary', '"a b. c d. e f.",a b c d', '"g h. i j.",g h i j', 'k l.,zz']
    (tmp_path / 'train.csv').write_text('\n'.join(rows) + '\n')
    changes = {'job': 'finetune', 'data': {'path': str(tmp_path)}}
    loaded, _ = splits.read_train(tiny_config(**changes, task={'name': 'extractive'}))
    assert loaded.task.sentences == 2
    (note,) = loaded.complaints.lines()
    assert '1 of 3 summaries share no word' in note
    config = tiny_config(**changes, task={'name': 'extractive', 'sentences': 5})
    assert splits.read_train(config)[0].task.sentences == 5
