"""What the page asks a model, and how it shows what cannot be asked."""

import dataclasses
import warnings

import pytest

from electra_jax.demo import tabs
from electra_jax.inference.loaded import LoadedModel
from tests.support import trained
from tests.support.loading import Known, task_of

BY_TITLE = {tab.title: tab for tab in tabs.TABS}


@pytest.fixture(scope='module')
def pretrained():
    return LoadedModel(trained.found(), 8)


@pytest.fixture(scope='module')
def tuned():
    task = dataclasses.replace(task_of('text', Known(('bad', 'good'))), row_length=16)
    return LoadedModel(trained.found(('encoder',), task), 8)


def ask(title, model, *values):
    return tabs.answered(BY_TITLE[title], model, values)


@pytest.mark.parametrize(
    ('title', 'values', 'shown'),
    [
        ('Replaced tokens', ['Anna saw films'], '<mark'),
        ('Fill the mask', ['Anna [MASK] films'], 'class="bar"'),
        ('Labels without training', ['films', 'good, bad', '{text} {label}'], 'class="answer"'),
    ],
)
def test_a_pre_trained_model_answers(title, values, shown, pretrained):
    assert tabs.lack(BY_TITLE[title], pretrained) is None
    assert shown in ask(title, pretrained, *values)


def test_the_filled_sentence_is_shown_to_the_discriminator(pretrained):
    drawn = ask('Fill the mask', pretrained, 'Anna [MASK] films')
    best = pretrained.fill_mask(['Anna [MASK] films'])[0][0][0].token
    assert f'>{best.removeprefix("##")}<' in drawn.partition('discriminator doubts')[2]


def test_a_fine_tuned_model_answers_its_task(tuned):
    assert [field.label for field in BY_TITLE['Answer'].fields(tuned)] == ['Text']
    drawn = ask('Answer', tuned, 'the film was great')
    assert tuned.predict(['the film was great'])[0]['prediction'] in drawn
    assert drawn.count('class="bar"') == 2


@pytest.mark.parametrize(
    ('kind', 'known', 'values', 'shown'),
    [
        ('tagging', Known(('O', 'B-PER', 'I-PER'), 'bio'), ['anna saw films'], 'class="tag"'),
        ('spans', Known(), ['who saw', 'anna saw films'], 'class="answer"'),
        ('translation', Known(), ['anna saw films'], 'class="answer"'),
        ('summarization', Known(), ['anna saw films'], 'class="answer"'),
    ],
)
def test_each_kind_of_fine_tuned_model_answers(kind, known, values, shown):
    settings = {'question_length': 6, 'stride': 4} if kind == 'spans' else {}
    if kind in ('translation', 'summarization'):
        settings = {'decoder': {'target_length': 4}, 'decoding': {'beams': 2}}
    task = dataclasses.replace(task_of(kind, known, **settings), row_length=16)
    model = LoadedModel(trained.found(('encoder',), task), 8)
    drawn = ask('Answer', model, *values)
    assert shown in drawn, drawn


def test_what_a_checkpoint_lacks_is_a_sentence(pretrained, tuned):
    assert 'was not fine-tuned' in tabs.lack(BY_TITLE['Answer'], pretrained)
    assert 'generator' in tabs.lack(BY_TITLE['Fill the mask'], tuned)


def test_images_of_this_machine_are_not_read_for_visitors(tuned):
    class Model:
        where = 'runs/emoji'
        task = dataclasses.replace(tuned.task, image_size=32)

    why = tabs.lack(BY_TITLE['Answer'], Model())
    assert 'images' in why and 'predict --checkpoint=runs/emoji' in why


def test_a_pair_is_answered_by_its_similarity():
    found = {'text_a': 'a', 'text_b': 'b', 'similarity': 0.25, 'rank': 1, 'prediction': 'b'}
    assert 'similarity 0.250' in tabs._drawn_answer(found)


@pytest.mark.parametrize(
    ('title', 'values', 'named'),
    [
        ('Replaced tokens', ['  '], 'Sentence is empty'),
        ('Fill the mask', ['no mask here'], '[MASK]'),
        ('Labels without training', ['films', 'good', '{text} {label}'], 'at least two'),
        ('Labels without training', ['films', 'good, bad', 'nothing'], '{label}'),
    ],
)
def test_a_mistake_is_a_sentence(title, values, named, pretrained):
    drawn = ask(title, pretrained, *values)
    assert named in drawn and 'Traceback' not in drawn


def test_what_was_cut_is_reported_and_warnings_of_libraries_are_not(pretrained, monkeypatch):
    long = 'Anna saw films here ' * 100
    assert 'cut' in ask('Replaced tokens', pretrained, long)

    def draw(model, values):
        warnings.warn('a socket is open', ResourceWarning, stacklevel=1)
        return ''

    tab = BY_TITLE['Replaced tokens']._replace(draw=draw)
    assert 'socket' not in tabs.answered(tab, pretrained, ['films'])


def test_sentences_of_a_text_are_an_answer():
    found = {'prediction': 'It is.', 'sentences': [0], 'probabilities': [0.75, 0.25]}
    assert 'It is.' in tabs._drawn_answer(found)


@pytest.mark.parametrize(
    ('kind', 'labels'),
    [
        ('text_multi_label', ['Text']),
        ('tagging', ['Sentence']),
        ('spans', ['Question', 'Text that holds the answer']),
        ('translation', ['Text']),
    ],
)
def test_each_kind_of_task_has_its_fields(kind, labels):
    class Model:
        task = task_of(kind, Known(('bad', 'good')))

    assert [field.label for field in tabs._task_fields(Model())] == labels
