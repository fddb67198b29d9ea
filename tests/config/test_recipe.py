"""Recipes: those that come with the project, and what is refused."""

import pathlib
import runpy

import pytest

from electra_jax.config import fields, resolve
from electra_jax.config import recipe as recipes
from electra_jax.config.fields import Settings
from electra_jax.config.recipe import recipe
from electra_jax.core.errors import ConfigError

ROOT = pathlib.Path(__file__).parent.parent.parent
RECIPES = sorted((ROOT / 'configs').rglob('*.py'))


@pytest.mark.parametrize('path', RECIPES, ids=lambda path: path.stem)
def test_every_recipe_is_valid_short_and_says_what_it_reaches(path):
    settings = recipes.load(path)
    assert isinstance(settings, Settings)
    resolve.check(settings)
    assert runpy.run_path(str(path))['__doc__'] and len(path.read_text().splitlines()) <= 60


def test_a_vocabulary_that_is_typed_has_its_own_size():
    settings = recipe({'data': {'tokenizer': {'path': 'vocab.txt', 'vocab_size': 4096}}})
    recipes.give_way(settings, {'data.path'})
    assert settings.data.tokenizer.vocab_size == 4096
    recipes.give_way(settings, {'data.tokenizer.path', 'data.tokenizer.vocab_size'})
    assert settings.data.tokenizer.vocab_size == 4096
    recipes.give_way(settings, {'data.tokenizer.path'})
    assert settings.data.tokenizer.vocab_size is None
    settings.data.tokenizer.train_megabytes = 8
    with pytest.raises(ConfigError, match=r'train_megabytes is 8, but .*path is .*vocab\.txt'):
        resolve.check(settings)


@pytest.mark.parametrize(
    ('typed', 'left'),
    [
        ({'objective.name': 'electra'}, {'objective.generator_share': None}),
        (
            {'model.generator': 'tied'},
            {'model.embedding_sharing': 'shared', 'model.generator_embedding_size': None},
        ),
        ({'model.embedding_sharing': 'shared'}, {'model.generator_embedding_size': None}),
    ],
)
def test_what_a_recipe_has_for_another_choice_gives_way_to_the_one_that_is_typed(typed, left):
    settings = recipes.load(ROOT / 'configs' / 'laptop.py')
    theirs = {name: fields.get(settings, name) for name in left}
    for name, value in typed.items():
        fields.put(settings, name, value)
    recipes.give_way(settings, typed)
    assert {name: fields.get(settings, name) for name in left} == left
    for name, value in theirs.items():
        fields.put(settings, name, value)
    recipes.give_way(settings, {*typed, *left})  # what is typed is refused, not dropped
    assert {name: fields.get(settings, name) for name in left} == theirs
    if 'objective.name' in typed:
        with pytest.raises(ConfigError, match=r'generator_share is 0\.6'):
            resolve.check(settings)


def test_a_recipe_is_not_taken_apart_for_another_job():
    settings = recipe({'job': 'pretrain', 'task': {'name': 'sst2'}})
    recipes.give_way(settings, {'job'})
    with pytest.raises(ConfigError, match=r"task.name is 'sst2', but config.job is 'pretrain'"):
        resolve.check(settings)


@pytest.mark.parametrize(
    ('changes', 'problem'),
    [
        ({'task': {'cache': 'x'}}, 'config.task.cache is no longer a setting: .*leave it out'),
        ({'optimizer': {'lr': 1.0}}, 'config.optimizer.lr is not a setting'),
        ({'batch_sise': 8}, "did you mean 'batch_size'"),
        ({'batch_size': '8'}, 'a whole number'),
        ({'model': 'small'}, "config.model is 'small'"),
        ({'data': {'tokenizer': {'kind': 3}}}, 'config.data.tokenizer.kind is 3'),
    ],
)
def test_a_recipe_with_a_typo_or_a_wrong_type_is_refused(changes, problem):
    with pytest.raises(ConfigError, match=problem):
        recipe(changes)


def test_a_recipe_may_differ_from_another_next_to_it(tmp_path, monkeypatch):
    head = 'from electra_jax.config.recipe import recipe\ndef get_config():\n    return '
    (tmp_path / 'base.py').write_text(head + "recipe({'batch_size': 3, 'seed': 4})")
    (tmp_path / 'far').mkdir()
    path = tmp_path / 'far' / 'other.py'
    path.write_text(head + "recipe({'seed': 5}, base='../base.py')")
    monkeypatch.chdir(tmp_path)
    for named in (path, 'far/other.py'):
        settings = recipes.load(named)
        assert (settings.batch_size, settings.seed) == (3, 5)
    path.write_text(head + "recipe({}, base='none.py')")
    with pytest.raises(ConfigError, match=r'far/none\.py'):
        recipes.load(path)


def test_a_recipe_that_a_task_replaced_is_answered_with_the_new_command():
    words = r'--config=configs/finetune/task\.py --config\.task\.name=NAME$'
    with pytest.raises(ConfigError, match=words):
        recipes.load('configs/finetune/mrpc.py')


def test_a_recipe_of_the_old_import_is_answered_with_the_new_one(tmp_path):
    path = tmp_path / 'old.py'
    path.write_text('from electra_jax.flags import recipe\n')
    with pytest.raises(ConfigError, match=r'from electra_jax\.config\.recipe import recipe'):
        recipes.load(path)


def test_a_recipe_that_returns_something_else_is_refused(tmp_path):
    path = tmp_path / 'dict.py'
    path.write_text('def get_config():\n    return {}\n')
    with pytest.raises(ConfigError, match=r'dict\.py returns \{\}'):
        recipes.load(path)


@pytest.mark.parametrize('text', ['data.row_length', 'config.data.row_length', 'row_length'])
def test_a_setting_is_known_by_its_whole_name_or_its_last_word(text):
    assert recipes.setting_name(text) == 'data.row_length'


@pytest.mark.parametrize(
    ('text', 'problem'),
    [('row_lenght', 'not a setting'), ('every_steps', 'checkpoint.every_steps, eval')],
)
def test_a_setting_that_is_unknown_or_ambiguous_is_refused(text, problem):
    with pytest.raises(ConfigError, match=problem):
        recipes.setting_name(text)


@pytest.mark.parametrize(
    ('typed', 'meant'),
    [
        ('configs/onw.py', 'configs/own.py'),
        ('configs/own', 'configs/own.py'),
        ('configs/own_text.py', 'configs/finetune/own_text.py'),
        ('configs/finetune/laptp.py', 'configs/finetune/laptop.py'),
        ('configs/smal.py', 'configs/small.py'),
        ('configs/modern.py', 'configs/modern_base.py or configs/modern_small.py'),
        ('configs/study/modern_small.py', 'configs/modern_small.py'),
        ('configs/electric.py', 'configs/objectives/electric.py or configs/study/electric.py'),
        ('configs/study/moder.py', 'configs/study/modern.py'),
        ('mine/smal.py', 'mine/small_de.py'),
        ('mine/basé.py', 'configs/base.py'),
        ('zzzzz/qqqqq.py', None),
    ],
)
def test_the_nearest_recipe_is_suggested(tmp_path, monkeypatch, typed, meant):
    (tmp_path / 'mine').mkdir()
    (tmp_path / 'mine' / 'small_de.py').touch()
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ConfigError, match='there is no recipe') as raised:
        recipes.find(typed)
    hint = f'{typed}; did you mean {meant}?' if meant else f'{typed}; those of'
    assert hint in str(raised.value)
