"""Images with a class: how they are read, their rows, and what is refused."""

import pathlib

import numpy as np
import pytest

from electra_jax.core.complaints import Complaints
from electra_jax.core.errors import ConfigError, DataError
from electra_jax.finetune.features import to_batch
from electra_jax.finetune.files import predict_input
from electra_jax.finetune.files.tables import Columns
from electra_jax.finetune.kinds.images import IMAGE_CLASSIFICATION
from electra_jax.finetune.kinds.kind import Predictions
from tests.support import fakes, loading
from tests.support.image_files import full, write_colours, write_image, write_index

ROWS = [
    {'image': 'red.png', 'text': 'the cafe', 'label': 'no'},
    {'image': 'blue.png', 'text': 'a', 'label': 'yes'},
    {'image': 'red.png', 'text': 'new york', 'label': 'yes'},
]


@pytest.fixture
def folder(tmp_path):
    write_colours(tmp_path)
    write_index(tmp_path / 'train.jsonl', ROWS)
    return tmp_path


def load(folder, split='train', **changes):
    return loading.load('image_text', str(folder), split, image_size=8, **changes)


def features(loaded):
    return IMAGE_CLASSIFICATION.features(fakes.tokenizer(), loaded.examples, loaded.task)


def test_rows_have_the_text_and_the_pixels_of_their_image(folder):
    loaded = load(folder)
    assert loaded.task.labels == ('no', 'yes')
    rows = features(loaded)
    assert [fakes.VOCAB[i] for i in rows.tokens[2]] == ['[CLS]', 'new', 'york', '[SEP]']
    batch = to_batch(rows, [1, 0], 3, 8, 0)
    np.testing.assert_array_equal(batch['pixels'][0], full('blue'))
    np.testing.assert_array_equal(batch['pixels'][1], full('red'))
    assert not batch['pixels'][2].any()
    assert batch['label'][:2].tolist() == [1, 0]
    assert rows.notes == []


def test_images_alone_have_an_empty_text(folder):
    rows = [{name: row[name] for name in ('image', 'label')} for row in ROWS]
    write_index(folder / 'train.jsonl', rows)
    made = features(load(folder))
    assert [fakes.VOCAB[i] for i in made.tokens[0]] == ['[CLS]', '[SEP]']


def test_a_table_may_name_images_too(folder):
    (folder / 'train.jsonl').unlink()
    (folder / 'train.csv').write_text('image,label\nred.png,0\nblue.png,1\n')
    assert [one.text_a for one in load(folder).examples] == ['red.png', 'blue.png']


def test_images_of_another_size_are_reported(folder):
    write_image(folder / 'blue.png', 'blue', (4, 4))
    assert features(load(folder)).notes == [
        'images of another size than 8 x 8: 1 of 3 (scaled to fit, and put on white)'
    ]


def test_an_image_of_no_use_is_refused_by_its_line_or_counted(folder):
    write_index(folder / 'train.jsonl', [*ROWS, {**ROWS[0], 'image': 'none.png'}])
    with pytest.raises(DataError, match=r'train\.jsonl:4: there is no file .*none\.png'):
        load(folder)
    loaded = load(folder, on_bad_row='skip')
    assert len(loaded.examples) == 3
    assert loading.counts(loaded.complaints) == {'bad_image': 1}


def test_a_model_without_images_is_refused(folder):
    loaded = load(folder)
    with pytest.raises(ConfigError, match=r'image_text.*reads no images'):
        IMAGE_CLASSIFICATION.features(
            fakes.tokenizer(), loaded.examples, loading.task_of('image_text')
        )


def test_new_images_come_from_lines_and_tables(folder, monkeypatch):
    task = load(folder).task
    (folder / 'input.txt').write_text('red.png\nblue.png\tthe cafe\n')
    complaints = Complaints('data.on_bad_row', 'error')

    def read(name, form):
        return predict_input.read(task, folder / name, form, Columns(), complaints)

    lines = read('input.txt', 'lines')
    assert [(one.text_a, one.text_b) for one in lines] == [
        ('red.png', None),
        ('blue.png', 'the cafe'),
    ]
    assert [one.text_a for one in read('train.jsonl', 'jsonl')] == [x['image'] for x in ROWS]
    monkeypatch.chdir(folder)
    rows = predict_input.from_rows(task, [{'image': 'red.png', 'text': 'a'}], complaints)
    assert rows[0].text_a == 'red.png'
    (folder / 'input.txt').write_text('none.png\n')
    with pytest.raises(DataError, match=r'input\.txt:1: there is no file'):
        read('input.txt', 'lines')
    assert pathlib.Path('red.png').exists()


def test_answers_name_image_and_text(folder):
    loaded = load(folder)
    values = np.array([[0.9, 0.1], [0.2, 0.8], [0.6, 0.4]])
    predictions = Predictions(loaded.task, loaded.examples, values)
    first = next(IMAGE_CLASSIFICATION.to_json(predictions))
    assert first['image'] == 'red.png' and first['text'] == 'the cafe'
    assert first['prediction'] == 'no' and 'text_a' not in first
    assert IMAGE_CLASSIFICATION.score(predictions).values['accuracy'] == pytest.approx(2 / 3)
