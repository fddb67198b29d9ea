"""Lengths in words, how often corpora are read, and the checkpoints at numbers of words."""

import dataclasses
import json
import math
import pathlib
import shlex
import subprocess

import pytest
from etils import epath

from electra_jax.config import recipe
from electra_jax.config.resolve import fill, resolve
from electra_jax.core.errors import ConfigError, DataError
from electra_jax.corpus import job as corpus_job
from electra_jax.data import manifest
from electra_jax.pretrain import job, length, words
from electra_jax.pretrain.text import Text
from tests.support import corpora
from tests.support.configs import VOCABULARY, settings_of, tiny_config
from tests.support.recipes import ROOT


@pytest.fixture(scope='module')
def built(tmp_path_factory):
    return corpora.build(tmp_path_factory.mktemp('one'), 'one')


@pytest.fixture(scope='module')
def other(tmp_path_factory):
    return corpora.build(tmp_path_factory.mktemp('two'), 'two', 100, seed=1, layout='segments')


@pytest.fixture
def folder(tmp_path):
    return epath.Path(tmp_path / 'run')


def begun(folder, config):
    folder.mkdir()
    (folder / 'config.json').write_text(json.dumps({'config': dataclasses.asdict(config)}))
    (folder / 'metrics.jsonl').write_text('{"step": 1}\n')


def reading_of(config, *pairs):
    found, weights = zip(*pairs, strict=True)
    return words.bind(config, Text(list(found), list(weights), None))


def uncounted(built, tmp_path):
    """A copy of a corpus as an earlier version built it."""
    folder = tmp_path / 'older corpus'
    subprocess.run(['cp', '-r', built.path, folder], check=True)
    path = folder / manifest.FILE_NAME
    content = json.loads(path.read_text())
    del content['counts']['train_words'], content['counts']['validation_words']
    path.write_text(json.dumps(content))
    return manifest.load_corpus(folder)


def test_words_become_the_steps_that_read_at_most_so_many(built, other, folder):
    a, b = (one.counts['train_words'] / one.counts['train_rows'] for one in (built, other))
    for pairs, each in (([(built, 1.0)], a), ([(built, 3.0), (other, 1.0)], 0.75 * a + 0.25 * b)):
        config = tiny_config(words=50 * 8 * each + 1, checkpoint={'every_steps': 1000})
        reading = reading_of(config, *pairs)
        assert reading.in_step == pytest.approx(8 * each)
        now = words.of_words(config, reading, folder)
        assert now.total_steps == 50 and now.words == config.words
        assert now.checkpoint.every_steps == 5  # what follows from a measured length
        less = dataclasses.replace(config, words=50 * 8 * each - 1)
        assert words.of_words(less, reading, folder).total_steps == 49
        line = words.line(now, reading)
        assert f'{50 * 8 * each:,.0f} words in 50 steps' in line
        for one in reading.shares:
            times = 50 * 8 * one.share / one.corpus.counts['train_rows']
            assert f'{one.corpus.path} {times:.4g} times' in line
    assert words.of_words(tiny_config(), reading, folder).total_steps == 100


def test_a_run_that_has_begun_keeps_the_length_of_its_words(built, folder):
    config = tiny_config(words=900.0)
    begun(folder, dataclasses.replace(config, total_steps=55))
    again = length.stored(config, folder)
    assert words.of_words(again, reading_of(again, (built, 1.0)), folder).total_steps == 55


def test_a_length_in_steps_that_reads_a_corpus_too_often_is_refused(built, other, folder):
    rows = other.counts['train_rows']
    most = math.floor(2.5 * rows / 0.75 / 8)
    config = tiny_config(total_steps=most, max_exposures=2.5)
    reading = reading_of(config, (built, 1.0), (other, 3.0))  # the second one is read more often
    words.check(config, reading, folder)
    longer = dataclasses.replace(config, total_steps=most + 1)
    with pytest.raises(ConfigError) as error:
        words.check(longer, reading, folder)
    times = (most + 1) * 8 * 0.75 / rows
    assert f'{other.path} is read {times:.5g} times' in str(error.value)
    assert 'config.max_exposures is 2.5' in str(error.value)
    assert f'--config.total_steps={most}, or --config.max_exposures=3' in str(error.value)
    begun(folder, longer)  # another length would be another run
    with pytest.raises(ConfigError, match=r': type --config.max_exposures=3'):
        words.check(longer, reading, folder)


def test_operations_that_read_a_corpus_too_often_are_refused(built, folder):
    def of(petaflop):
        config = tiny_config(petaflop=petaflop, max_exposures=2.0, model={'num_layers': 1})
        return length.of_operations(config, VOCABULARY, folder)

    config = of(1e-3)
    reading = reading_of(config, (built, 1.0))
    with pytest.raises(ConfigError, match=r'petaflop is 0\.001, by which') as error:
        words.check(config, reading, folder)
    less = float(str(error.value).partition('--config.petaflop=')[2].partition(',')[0])
    shorter = of(less)
    words.check(shorter, reading, folder)
    most = reading.most_steps
    assert 0.99 * most <= shorter.total_steps <= most


def test_minutes_in_which_nothing_may_be_read_are_refused(built, folder):
    cap = 15 / built.counts['train_rows']  # two steps of 8 rows are more
    config = tiny_config(minutes=1.0, max_exposures=cap, total_steps=10**6)
    with pytest.raises(ConfigError, match=r'minutes is 1, by .*type --config.max_exposures=1$'):
        words.check(config, reading_of(config, (built, 1.0)), folder)
    config = dataclasses.replace(config, max_exposures=1.0)
    words.check(config, reading_of(config, (built, 1.0)), folder)


def test_a_run_of_a_recipes_words_is_made_shorter_and_typed_ones_are_refused(built, folder, capsys):
    config = tiny_config(words=1e6, max_exposures=2.0)
    reading = reading_of(config, (built, 1.0))
    now = words.of_words(config, reading, folder)
    assert now.total_steps == 2 * built.counts['train_rows'] // 8
    allowed = f'{2 * built.counts["train_words"]:,}: {now.total_steps} steps\n'
    printed = capsys.readouterr().out
    assert f'words is 1,000,000, of which config.max_exposures=2 allows {allowed}' in printed
    with pytest.raises(ConfigError, match=r'config\.words is 1,000,000, by which .* read') as error:
        words.of_words(config, reading, folder, ('words',))
    less = float(str(error.value).partition('--config.words=')[2].partition(',')[0])
    shorter = words.of_words(dataclasses.replace(config, words=less), reading, folder, ('words',))
    assert shorter.total_steps == now.total_steps


def test_words_of_less_than_two_steps_are_refused(built, folder):
    config = tiny_config(words=30.0)
    reading = reading_of(config, (built, 1.0))
    each = reading.in_step
    with pytest.raises(ConfigError, match=r'config\.words is 30, but a step reads about') as error:
        words.of_words(config, reading, folder)
    least = float(str(error.value).partition('--config.words=')[2].partition(' ')[0])
    assert 2 * each <= least < 2 * each + 1
    enough = dataclasses.replace(config, words=least)
    assert words.of_words(enough, reading, folder).total_steps == 2


def test_what_can_be_refused_is_refused_before_a_device_is_looked_for(
    built, tmp_path, folder, monkeypatch
):
    monkeypatch.setattr(job.distributed, 'initialize', lambda: pytest.fail('too late'))
    older = uncounted(built, tmp_path)
    for path, changes, typed, error in (
        (built, {'total_steps': 9999, 'max_exposures': 2.0}, (), r'total_steps is 9,999'),
        (built, {'words': 1e7, 'max_exposures': 2.0}, ('words',), r'words is 10,000,000'),
        (older, {'words': 1e7}, (), r'config\.words is 10,000,000, but the words of'),
        (older, {'checkpoint': {'keep_at_words': '1e3'}}, (), r"keep_at_words is '1e3', but"),
    ):
        settings = settings_of({'data': {'path': str(path.path), 'row_length': 16}, **changes})
        with pytest.raises((ConfigError, DataError), match=error):
            job.configure(settings, folder, typed)
    # Of a corpus that is built first nothing is known yet.
    settings = settings_of({'data': {'path': str(tmp_path / 'none')}, 'words': 1e7})
    words.check_settings(fill(settings), folder, ())


def test_a_corpus_without_counts_names_the_command_that_builds_it_again(tmp_path, folder):
    (tmp_path / 'bad.txt').write_bytes(b'\x00\xff\x00' * 1000)
    source = f'text:{tmp_path}/*.txt'
    built = corpora.build(tmp_path, 'made', source=source, on_bad_text='skip', build_seed=3)
    assert built.bad_text
    older = uncounted(built, tmp_path)
    config = tiny_config(words=1e3)
    reading = reading_of(config, (built, 1.0), (older, 1.0))
    assert reading.in_step is None and words.line(config, reading) is None
    with pytest.raises(DataError, match='older corpus were not counted') as error:
        words.of_words(config, reading, folder)
    command = str(error.value).partition('type ')[2].partition(', and name')[0]
    module, *typed = shlex.split(command)[2:]
    assert module == 'electra_jax.prepare' and typed.pop(0) == '--config=configs/corpus/text.py'
    settings = recipe.load(ROOT / 'configs' / 'corpus' / 'text.py')
    for word in typed:
        name, value = recipe.parse_setting(word)
        leaf = recipe.fields.leaves(recipe.Config)[name]
        recipe.fields.put(settings, name, leaf.checked(leaf.parse(value)))
    again = corpus_job.build_corpus(resolve(settings, 'cpu').data)
    assert pathlib.Path(again.path).name == 'older corpus-2'
    assert again.counts == built.counts and again.fingerprint == built.fingerprint


def test_checkpoints_are_marked_at_the_first_step_that_has_read_so_many_words(built):
    reading = reading_of(tiny_config(), (built, 1.0))
    each = reading.in_step
    config = tiny_config(
        checkpoint={'keep_at_words': f'{20 * each},{10 * each + 1},{5 * each + 0.5}'}
    )
    assert list(words.marks(config, reading)) == [6, 11, 20]
    assert words.marks(tiny_config(), reading) == {}
    assert words.kept_notes(tiny_config(), reading, 0, {}) == []


@pytest.mark.parametrize(
    ('asked', 'cap', 'numbers', 'last'),
    [
        (20.5, None, [20.5], 20.5),  # it ends before it reads more than its words
        (20.5, None, [20.9], None),  # which are not all of these
        (30.0, 28.0, [27.5, 28.5, 29.2], 29.2),  # a cap leaves out little of them
        (30.0, 20.0, [30.0], None),  # or much
        (None, None, [100.5], None),  # no words are asked for
    ],
)
def test_the_last_step_takes_a_number_of_words_that_the_run_just_fails_to_read(
    built, folder, asked, cap, numbers, last
):
    each = reading_of(tiny_config(), (built, 1.0)).in_step
    rows = built.counts['train_rows']
    config = tiny_config(
        words=asked and asked * each,
        max_exposures=cap and cap * 8 / rows,
        checkpoint={'keep_at_words': ','.join(f'{one * each}' for one in numbers)},
    )
    reading = reading_of(config, (built, 1.0))
    now = words.of_words(config, reading, folder)
    assert now.total_steps == math.floor(cap or asked or 100)
    found = words.marks(now, reading)
    last = last and last * each
    assert found.get(now.total_steps) == pytest.approx(last)
    notes = '\n'.join(words.kept_notes(now, reading, 0, {}))
    assert (f'is the one of {last or 0:,.0f} words' in notes) == (last is not None)
    assert ('the run ends before' in notes) == (last is None)


def test_numbers_of_words_without_a_checkpoint_are_reported_at_the_start(built):
    config = tiny_config(total_steps=50)
    reading = reading_of(config, (built, 1.0))
    each = reading.in_step
    asked = [2 * each, 3 * each, 9.5 * each, 9.7 * each, 40 * each, 60 * each, 70 * each]
    setting = {'keep_at_words': ','.join(map(str, asked))}
    config = tiny_config(total_steps=50, checkpoint=setting)
    first, *notes = words.kept_notes(config, reading, 5, {2: asked[0]})
    assert first == '3 of 7 numbers of config.checkpoint.keep_at_words have a checkpoint'
    none = 'no checkpoint is kept for good at'
    assert notes == [
        f'{none} {asked[1]:,.0f} words: the run goes on after them, from step 5',
        f'{none} {asked[5]:,.0f}, {asked[6]:,.0f} words: the run ends before, with step 50',
        f'{none} {asked[2]:,.0f} words: the next number is reached by the same step',
    ]


@pytest.mark.parametrize('text', ['1e6,', 'many', '0', '1e6,inf', '-3', 'nan'])
def test_what_is_no_number_of_words_is_refused(text):
    with pytest.raises(ConfigError, match=r'keep_at_words is .* allowed: numbers from 1'):
        settings_of({'checkpoint': {'keep_at_words': text}})
