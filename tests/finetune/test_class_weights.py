"""Classes that count more in the loss than others."""

import numpy as np
import pytest

from electra_jax.core.errors import ConfigError
from electra_jax.finetune import class_weights
from electra_jax.finetune.examples import TaggedExample, TextExample
from electra_jax.finetune.kinds.tagging import TAGGING
from electra_jax.finetune.kinds.text import CLASSIFICATION
from tests.support.loading import Known, task_of

LABELS = ('a', 'b', 'c')
EXAMPLES = [TextExample(str(i), 'x', None, label, '') for i, label in enumerate('aaaabb')]


def weighted(asked):
    return class_weights.weighted(task_of('text', Known(LABELS)), EXAMPLES, asked)


def test_balanced_classes_count_the_same_together_and_rows_1_in_the_mean():
    weight = dict(zip(LABELS, weighted('balanced').class_weights, strict=True))
    assert 4 * weight['a'] == pytest.approx(2 * weight['b']) and weight['c'] == 1
    assert np.mean([weight[one.label] for one in EXAMPLES]) == pytest.approx(1)


def test_numbers_are_in_the_order_of_the_labels():
    assert weighted('1,4,0').class_weights == pytest.approx((0.5, 2.0, 0.0))
    assert weighted('none').class_weights == ()


@pytest.mark.parametrize('asked', ['1,2', 'even', '1,-1,1', '1,nan,1', ''])
def test_other_weights_are_refused_with_the_classes(asked):
    with pytest.raises(ConfigError, match=r'none, balanced, .* the 3 classes.*: a, b, c'):
        weighted(asked)


def test_a_score_has_no_class():
    with pytest.raises(ConfigError, match='text_regression is of the kind regression'):
        class_weights.weighted(task_of('text_regression'), [], 'balanced')
    with pytest.raises(ConfigError, match='no row has a class that counts'):
        weighted('0,0,1')


def test_the_loss_of_a_row_is_multiplied_by_the_weight_of_its_class():
    batch = {'label': np.array([0, 1, -1], np.int32)}
    outputs = {'logits': np.log(np.full((3, 3), 1 / 3, np.float32))}
    loss_B = CLASSIFICATION.loss(weighted('1,4,0'), outputs, batch)
    assert np.allclose(loss_B[:2], [0.5 * np.log(3), 2 * np.log(3)], rtol=1e-6)


def test_the_loss_of_a_word_is_multiplied_by_the_weight_of_its_tag():
    task = task_of('tagging', Known(('O', 'B-X', 'I-X')))
    sentences = [TaggedExample('0', tuple('abcd'), ('O', 'O', 'O', 'B-X'), '')]
    task = class_weights.weighted(task, sentences, 'balanced')
    assert task.class_weights == pytest.approx((4 / (2 * 3), 4 / 2, 1.0))
    batch = {'labels': np.array([[-1, 0, 1, -1], [0, -1, -1, -1]], np.int32)}
    outputs = {'logits': np.log(np.full((2, 4, 3), 1 / 3, np.float32))}
    loss_B = TAGGING.loss(task, outputs, batch)
    assert np.allclose(loss_B, np.log(3) * np.array([2 / 3 + 2, 2 / 3]), rtol=1e-6)
