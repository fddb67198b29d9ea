"""Texts of several classes: how they are read, their rows, loss, answers and scores."""

import json

import jax.numpy as jnp
import numpy as np
import pytest

from electra_jax.core.complaints import Complaints
from electra_jax.core.errors import DataError
from electra_jax.finetune.examples import TextExample
from electra_jax.finetune.features import to_batch
from electra_jax.finetune.files import predict_input
from electra_jax.finetune.files.tables import Columns
from electra_jax.finetune.kinds.kind import Predictions
from electra_jax.finetune.kinds.multi_label import MULTI_LABEL
from tests.support import fakes
from tests.support.loading import Known, load, task_of

LABELS = ('calm', 'loud', 'rude')


def write(folder, rows):
    text = '\n'.join(json.dumps({'text': text, 'label': label}) for text, label in rows)
    (folder / 'train.jsonl').write_text(text + '\n')


def test_lists_and_cells_name_any_number_of_classes(tmp_path):
    write(tmp_path, [('a', ['rude', 'loud', 'rude']), ('b', []), ('c', 'calm|loud'), ('d', 'calm')])
    loaded = load('text_multi_label', str(tmp_path), 'train')
    assert loaded.task.labels == LABELS
    expected = [('rude', 'loud'), (), ('calm', 'loud'), ('calm',)]
    assert [example.label for example in loaded.examples] == expected
    rows = MULTI_LABEL.features(fakes.tokenizer(), loaded.examples, loaded.task)
    assert rows.numbers['classes'].tolist() == [[0, 1, 1], [0, 0, 0], [1, 1, 0], [1, 0, 0]]
    batch = to_batch(rows, [2, 0], 3, 8, 0)
    assert batch['classes'].tolist() == [[1, 1, 0], [0, 1, 1], [0, 0, 0]]


@pytest.mark.parametrize(
    ('label', 'message'),
    [(None, 'no label'), (['odd'], "'odd' is not one"), ([0, 1, 0], "'0' is not one")],
)
def test_rows_without_usable_classes_are_refused(tmp_path, label, message):
    write(tmp_path, [('a', ['rude']), ('b', label)])
    with pytest.raises(DataError, match=message):
        load('text_multi_label', str(tmp_path), 'train', labels=LABELS)


def test_the_loss_is_the_mean_over_classes():
    outputs = {'logits': jnp.array([[0.0, 2.0], [-1.0, 0.5]])}
    batch = {'classes': jnp.array([[1.0, 0.0], [0.0, 1.0]])}
    p = 1 / (1 + np.exp(-np.asarray(outputs['logits'])))
    expected = -np.log(np.where(batch['classes'] == 1, p, 1 - p)).mean(axis=1)
    np.testing.assert_allclose(MULTI_LABEL.loss(None, outputs, batch), expected, rtol=1e-5)


def predictions_of(tmp_path, logits):
    write(tmp_path, [('a', ['rude', 'loud']), ('b', []), ('c', ['calm'])])
    loaded = load('text_multi_label', str(tmp_path), 'train')
    outputs = [{'logits': np.array(row, np.float32)} for row in logits]
    values = MULTI_LABEL.answers(loaded.task, loaded.examples, None, outputs)
    return Predictions(loaded.task, loaded.examples, values)


def test_answers_are_sigmoids_and_scored_by_decision(tmp_path):
    found = predictions_of(tmp_path, [[-3, 3, 3], [-3, -3, 3], [-900, -3, -3]])
    np.testing.assert_allclose(found.values[0], [0.047426, 0.952574, 0.952574], atol=1e-6)
    # Two of three decisions for a class are right, and two of three true classes are found.
    scores = MULTI_LABEL.score(found)
    assert scores.values['micro_f1'] == pytest.approx(2 / 3)
    assert scores.values['macro_f1'] == pytest.approx((0 + 1 + 2 / 3) / 3)
    assert scores.values['accuracy'] == pytest.approx(1 / 3) and not scores.notes
    first = next(MULTI_LABEL.to_json(found))
    assert first['prediction'] == ['loud', 'rude'] and first['label'] == ('rude', 'loud')
    assert first['probabilities']['calm'] == pytest.approx(0.0474259)
    trivial = MULTI_LABEL.trivial(found.task, found.examples, found.examples)
    assert {values.sum() for values in trivial.values()} == {0, 3}


def test_a_model_from_elsewhere_reads_texts_and_pairs(tmp_path):
    path, bad = tmp_path / 'new.txt', Complaints('data.on_bad_row', 'skip')
    path.write_text('one text\na pair\tof texts\n')
    task = task_of('text_multi_label', Known(LABELS))
    both = type(task)(**{**task.__dict__, 'any_pairs': True})
    read = [predict_input.read(t, path, 'lines', Columns(), bad) for t in (both, task)]
    assert [[e.text_b for e in some] for some in read] == [[None, 'of texts'], [None]]
    table = tmp_path / 'new.jsonl'
    table.write_text(json.dumps({'text': 'a pair', 'text_b': 'of texts'}) + '\n')
    (example,) = predict_input.read(both, table, 'jsonl', Columns(), bad)
    assert example.text_b == 'of texts'
    with pytest.raises(DataError, match='text_b'):
        predict_input.read(task, table, 'jsonl', Columns(), bad)


def test_a_number_for_every_class_is_no_list_of_names(tmp_path):
    write(tmp_path, [('a', [0, 1, 1]), ('b', [1, 0, 0])])
    with pytest.raises(DataError, match='0 or 1 for every class'):
        load('text_multi_label', str(tmp_path), 'train')


def test_texts_to_score_may_all_have_no_class():
    task = task_of('text_multi_label', Known(labels=LABELS))
    examples = [TextExample('0', 'a', None, (), '')]
    answers = MULTI_LABEL.trivial(task, (), examples)
    assert [values.tolist() for values in answers.values()] == [[[0, 0, 0]]]
