"""Images and texts that belong together: their rows, their vectors, and what is refused."""

import jax
import numpy as np
import pytest

from electra_jax.core.errors import DataError
from electra_jax.finetune.features import to_batch
from electra_jax.finetune.kinds.image_retrieval import IMAGE_RETRIEVAL
from electra_jax.finetune.kinds.kind import Predictions
from tests.support import compiled, fakes, loading
from tests.support.configs import tiny_config
from tests.support.image_files import full, write_colours, write_index

ROWS = [
    {'image': 'red.png', 'text': 'the cafe'},
    {'image': 'blue.png', 'text': 'new york'},
    {'image': 'red.png', 'text': 'a'},
]


@pytest.fixture
def loaded(tmp_path):
    write_colours(tmp_path)
    write_index(tmp_path / 'train.jsonl', ROWS)
    return loading.load('image_retrieval', str(tmp_path), 'train', image_size=8)


@pytest.fixture
def rows(loaded):
    return IMAGE_RETRIEVAL.features(fakes.tokenizer(), loaded.examples, loaded.task)


def test_the_image_has_a_text_of_its_own_that_is_empty(rows):
    words = [fakes.VOCAB[i] for i in rows.tokens[1]]
    assert words == ['[CLS]', '[SEP]', '[CLS]', 'new', 'york', '[SEP]']
    batch = to_batch(rows, [1], 1, 8, 0)
    assert batch['documents'].tolist() == [[1, 1, 2, 2, 2, 2, 0, 0]]
    assert batch['inside'].tolist() == [[1, 0, 0, 1, 1, 0, 0, 0]]
    np.testing.assert_array_equal(batch['pixels'][0], full('blue'))
    first = rows.numbers['first'].tolist()
    assert first[0] == first[2] != first[1]  # an image that is there twice
    assert rows.numbers['wrong'].tolist() == [-1] * 3


def test_image_and_text_do_not_see_each_other(rows, loaded):
    model = tiny_config(model={'image_size': 8, 'image_patch': 4, 'init_stddev': 0.3}).model
    params = compiled.networks(model).init(jax.random.key(0), ('encoder',))
    head = compiled.head(model, IMAGE_RETRIEVAL.head(loaded.task))
    params = {**params, 'task_head': {}}
    batch = to_batch(rows, [0, 1], 2, 8, 0)

    def vectors(**changes):
        return np.asarray(head.answers(params, {**batch, **changes})['vectors'])

    before, turned = vectors(), vectors(pixels=batch['pixels'][::-1].copy())
    np.testing.assert_allclose(np.linalg.norm(before[:, :2], axis=-1), 1, rtol=1e-5)
    # The images have changed places, and so have their vectors; those of the texts have not.
    np.testing.assert_allclose(turned[::-1, 0], before[:, 0], atol=1e-5)
    np.testing.assert_allclose(turned[:, 1], before[:, 1], atol=1e-5)
    assert np.abs(before[0, 0] - before[1, 0]).max() > 1e-3
    tokens = batch['tokens'].copy()
    tokens[0, 3] = 7
    other = vectors(tokens=tokens)
    np.testing.assert_allclose(other[0, 0], before[0, 0], atol=1e-5)
    assert np.abs(other[0, 1] - before[0, 1]).max() > 1e-3


def test_answers_are_ranks_under_the_names_of_what_they_are(rows, loaded):
    vectors = np.zeros((3, 3, 4), np.float32)
    vectors[:, 0] = np.eye(4)[[0, 1, 0]]
    vectors[:, 1] = np.eye(4)[[0, 0, 2]]
    outputs = [{'vectors': one} for one in vectors]
    found = IMAGE_RETRIEVAL.answers(loaded.task, loaded.examples, rows, outputs)
    assert [one.rank for one in found] == [1.5, 2.0, 2.0]
    predictions = Predictions(loaded.task, loaded.examples, found)
    first = next(IMAGE_RETRIEVAL.to_json(predictions))
    assert first['image'] == 'red.png' and first['text'] == 'the cafe'
    chance = IMAGE_RETRIEVAL.trivial(loaded.task, (), loaded.examples)
    assert [one.rank for one in next(iter(chance.values()))] == [1.5, 2.0, 1.5]


def test_texts_about_an_image_are_on_one_side_of_a_division(loaded):
    content = [IMAGE_RETRIEVAL.content(one) for one in loaded.examples]
    assert content[0] == content[2] != content[1]


def test_an_image_needs_a_text(tmp_path):
    write_colours(tmp_path)
    write_index(tmp_path / 'train.jsonl', [ROWS[0], {'image': 'blue.png'}])
    with pytest.raises(DataError, match=r"train\.jsonl:2: there is no field 'text'"):
        loading.load('image_retrieval', str(tmp_path), 'train', image_size=8)
