"""The head that reads classes from their words in a template."""

import dataclasses
import types

import pytest

from electra_jax.core.errors import ConfigError
from electra_jax.finetune import run, split
from electra_jax.finetune import task as tasks
from electra_jax.finetune.examples import TextExample
from electra_jax.finetune.files.locate import Location
from electra_jax.finetune.kinds import prompt
from electra_jax.finetune.kinds.kind import FRESH
from electra_jax.inference.loaded import LoadedModel
from tests.support import trained
from tests.support.configs import tiny_config

TEXTS = ['the film here', 'they saw it then', 'the the the the the the the the the the the a']
TEMPLATE, WORDS = '{text} it was {label}', 'pos=great|films,neg=bad'


def task_of(template=TEMPLATE, words=WORDS, **settings):
    asked = {'name': 'text', 'head': 'prompt', 'template': template, 'words': words, **settings}
    return tasks.from_config(tiny_config(job='finetune', task=asked, data={'row_length': 16}))


def test_before_training_it_answers_as_zero_shot_classification_does():
    task = task_of()
    assert task.labels == ('pos', 'neg')  # of the words: the file has not been read
    task = dataclasses.replace(task, labels=('neg', 'pos'))  # in the order of a file
    found = trained.found(task=task)
    head = {'discriminator_head': found.params['discriminator_head']}
    assert set(prompt.start(task, found.params).arrays) == {
        f'task_head/discriminator_head/{layer}/{name}'
        for layer in ('dense', 'output')
        for name in ('kernel', 'bias')
    }
    model = LoadedModel(found._replace(params={**found.params, 'task_head': head}), 8)
    with pytest.warns(UserWarning, match=r'longer.*\(cut\)'):
        rows = model.predict(TEXTS)
    labels = {'pos': ['great', 'films'], 'neg': ['bad']}
    with pytest.warns(UserWarning, match=r'longer.*\(cut\)'):
        wanted = model.classify(TEXTS, labels, TEMPLATE, 'discriminator')
    for row, one in zip(rows, wanted, strict=True):
        assert row['probabilities'] == pytest.approx(one.probabilities, abs=1e-5)
        assert row['prediction'] == one.prediction


def test_a_checkpoint_without_the_head_is_refused():
    with pytest.raises(ConfigError, match='no head of a discriminator'):
        prompt.start(task_of(), {'discriminator': {}})
    assert prompt.start(task_of(), {}) == FRESH  # from scratch


def test_a_head_of_another_shape_is_refused_by_the_setting_that_asks_for_it():
    start = types.SimpleNamespace(where='/here', params=trained.found().params)
    program = types.SimpleNamespace(abstract_state=types.SimpleNamespace(params={}))
    with pytest.raises(ConfigError, match=r"head is 'prompt', but .* type --config.task.head=mean"):
        run._head_start(program, start, task_of())


@pytest.mark.parametrize(
    ('settings', 'message'),
    [
        ({'template': None}, 'config.task.template is not given'),
        ({'template': '{text}'}, "config.task.template is '{text}'"),
        ({'template': 'topic', 'words': None}, 'config.task.words is not given'),
        ({'words': 'a'}, "config.task.words is 'a', and at least two"),
        ({'labels': 'good,bad'}, "'pos', 'neg'.*'good', 'bad'.*words='good=WORD,bad=WORD'"),
        ({'name': 'text_regression'}, "'prompt', .*text_regression is of the kind regression"),
        ({'name': 'image_text'}, "'prompt', .*image_text is of the kind image_classification"),
    ],
)
def test_templates_and_words_that_do_not_fit_are_refused(settings, message):
    with pytest.raises(ConfigError, match=message):
        task_of(**settings)


@pytest.mark.parametrize(
    ('template', 'second'), [(TEMPLATE, 'they saw it'), ('{text} {label} {text_b}', None)]
)
def test_a_template_reads_all_texts_of_a_pair(template, second):
    example = TextExample('0', 'the film', second, 'pos', '')
    with pytest.raises(ConfigError, match=r'config.task.template is .*\{text_b\}'):
        prompt.rows(trained.TOKENIZER, [example], task_of(template), {})


def test_a_template_without_its_head_is_refused():
    with pytest.raises(ConfigError, match=r"config.task.template is 'topic'.*head=prompt"):
        task_of('topic', 'a,b', head='mean')


def test_numbers_in_a_file_are_read_as_the_names_of_the_words(tmp_path):
    path = tmp_path / 'train.csv'
    path.write_text('text,label\nthe film,0\nthey saw it,1\n')
    task = task_of(words='neg=bad,pos=great')
    loaded = split.read(task, Location(path), 'train', 'error')
    assert [one.label for one in loaded.examples] == ['neg', 'pos']
