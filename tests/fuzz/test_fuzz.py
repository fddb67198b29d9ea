"""A few inputs of every target (campaign.py tries the hundred thousand), and the tools of both."""

import copy
import importlib
import random

import pytest

from electra_jax.core.errors import DataError
from electra_jax.finetune import split as splits
from electra_jax.finetune.files import predict_input
from electra_jax.tokenizers.wordpiece import WordPiece
from tools.fuzz import campaign, known_corpus_targets, known_record_targets, mutate
from tools.fuzz.target import (
    FAILURE,
    REFUSAL,
    REPORTED,
    SUCCESS,
    LostError,
    Target,
    check,
    generator,
    judge,
    known,
)

NAMES = [name for targets in campaign.SHARES.values() for name in targets]
# These build, read whole checkpoints or compile: a few inputs take seconds.
SLOW = ('build', 'settings', 'ours', 'predict', 'tfds', 'corpus', 'tokenizer', 'known_folders')


def failures(target: Target, folder, numbers) -> list[str]:
    run = target.make(folder)
    outcomes = [(n, judge(target, run, generator(0, target.name, n))) for n in numbers]
    return [f'{target.name}:{n} {o.message}' for n, o in outcomes if o.kind == FAILURE]


@pytest.mark.parametrize('name', sorted(set(NAMES) - set(SLOW)))
def test_a_few_damaged_inputs_are_read_or_refused(name, tmp_path):
    assert failures(campaign.find_target(name), tmp_path, range(40)) == []


@pytest.mark.slow
@pytest.mark.parametrize('name', SLOW)
def test_a_few_costly_ones_too(name, tmp_path):
    assert failures(campaign.find_target(name), tmp_path, range(10)) == []


# ---------------------------------------------------------------------------------------------
# The judge and the damage themselves


def test_every_target_has_a_share():
    for module, targets in campaign.SHARES.items():
        found = importlib.import_module(f'tools.fuzz.{module}').TARGETS
        assert [one.name for one in found] == list(targets)
    assert sum(campaign.shares(100_000, []).values()) >= 100_000


def outcome(run) -> str:
    target = Target('x', lambda folder: run, r'file\.txt')
    return judge(target, run, random.Random(0)).kind


def test_the_judge_tells_clean_ends_from_others():
    def refuse(rng):
        raise DataError('file.txt:3: no')

    def refuse_without_a_name(rng):
        raise DataError('something is wrong')

    def crash(rng):
        raise KeyError('x')

    def lose(rng):
        check(False, 'a row is missing')

    assert outcome(lambda rng: None) == SUCCESS
    assert outcome(refuse) == REFUSAL
    assert outcome(refuse_without_a_name) == FAILURE
    assert outcome(crash) == FAILURE
    assert outcome(lose) == FAILURE
    with pytest.raises(LostError):
        lose(None)


@pytest.mark.parametrize(
    ('found', 'settings', 'kind'),
    [
        (['a', 'b'], {}, SUCCESS),
        (['a', 'b'], {'missed': 1, 'reported': 1}, REPORTED),
        (['a', 'b'], {'missed': 1}, FAILURE),
        (['a', 'b'], {'missed': 2, 'reported': 1, 'sure': True}, FAILURE),
        (['a'], {'reported': 1}, REPORTED),
        (['a'], {}, FAILURE),
        (['a'], {'reported': 1, 'sure': True}, FAILURE),
    ],
)
def test_what_is_known_is_compared(found, settings, kind):
    given = {'sure': False, 'reported': 0, **settings}
    reported = given.pop('reported')

    def run(rng):
        return known(['a', 'b'], lambda: found, reported=lambda: reported, **given)

    assert outcome(run) == kind


@pytest.mark.parametrize(('sure', 'kind'), [(False, REFUSAL), (True, FAILURE)])
def test_a_good_input_may_not_be_refused(sure, kind):
    def read():
        raise DataError('file.txt: no')

    assert outcome(lambda rng: known([], read, sure, lambda: 0)) == kind


def without_the_last(read):
    def broken(*args):
        found = read(*args)
        return found._replace(examples=found[0][:-1]) if hasattr(found, '_fields') else found[:-1]

    return broken


@pytest.mark.parametrize(
    ('name', 'holder', 'reader'),
    [
        ('known_text', known_corpus_targets, 'read_all'),
        ('known_jsonl', known_corpus_targets, 'read_all'),
        ('known_tables', splits, 'read'),
        ('known_tagging', splits, 'read'),
        ('known_questions', splits, 'read'),
        ('known_incoming', predict_input, 'read'),
        ('known_tfrecord', known_record_targets, 'read_all'),
        ('known_vocab', WordPiece, 'encode_batch'),
    ],
)
def test_a_reader_that_loses_something_is_caught(name, holder, reader, tmp_path, monkeypatch):
    monkeypatch.setattr(holder, reader, without_the_last(getattr(holder, reader)))
    found = failures(campaign.find_target(name), tmp_path, range(30))
    assert len(found) > 5
    assert not any('Traceback' in message for message in found)


def test_one_input_is_the_same_again_and_others_are_others():
    data = b'one line\nand another\n' * 20
    damaged = {mutate.spoil(generator(0, 'text', n), data) for n in range(50)}
    assert mutate.spoil(generator(0, 'text', 7), data) == mutate.spoil(
        generator(0, 'text', 7), data
    )
    assert len(damaged) > 40


def test_damage_to_json_leaves_the_tree_that_it_was_given():
    tree = {'a': [1, {'b': 'c'}], 'd': None}
    texts = {mutate.spoil_json(generator(0, 'x', n), tree) for n in range(50)}
    assert len(texts) > 30 and tree == {'a': [1, {'b': 'c'}], 'd': None}


def test_damage_inside_a_strange_value_stays_in_its_tree():
    before = copy.deepcopy(mutate.STRANGE)
    for number in range(300):
        mutate.spoil_json(generator(0, 'x', number), {'a': 1}, times=5)
    assert repr(mutate.STRANGE) == repr(before)


def test_a_campaign_notices_crashes_and_hangs_and_goes_on(tmp_path, monkeypatch):
    plan = {'text': 30}
    first = campaign.Campaign(tmp_path / 'campaign.json', 0, plan)
    first.run('text')
    assert first.done() == 30 and first.targets['text']['failures'] == []
    again = campaign.Campaign(tmp_path / 'campaign.json', 0, plan)
    assert again.done() == 30  # nothing is tried twice
    assert '| all | 30 |' in again.table()
    died = campaign.Campaign(tmp_path / 'other.json', 0, plan)
    answers = iter(['the process died (-11)', None])

    def one_process(name, until):
        answer = next(answers)
        died.targets[name]['next'] = 4 if answer else 30
        return answer

    monkeypatch.setattr(died, '_one_process', one_process)
    died.run('text')
    assert died.targets['text']['failures'] == [[4, 'the process died (-11)']]
