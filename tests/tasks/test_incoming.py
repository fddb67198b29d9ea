"""New text for a trained model: how it is written, and which columns it is in."""

import pytest

from electra_jax.config.schema import ColumnsConfig, Config, TaskConfig
from electra_jax.core.errors import ConfigError, DataError
from electra_jax.tasks import incoming, trained
from electra_jax.tasks.bad_rows import BadRows
from electra_jax.tasks.incoming import Asked
from electra_jax.tasks.readers import Known
from tests.tasks import loading

TAGS = Known(('O', 'B-X', 'I-X'), 'bio')
CLASSES = Known(('bad', 'good'))


def task_of(name, known, **columns):
    return trained.settle(
        Config(task=TaskConfig(name=name, columns=ColumnsConfig(**columns))), known
    )


def read(path, content, task, form=None, **columns):
    path.write_text(content)
    bad = BadRows(skip=True)
    form = form or incoming.format_of(path, task)
    return form, incoming.read(task, Asked(path, form, columns), bad), bad


# Of a type that the model does not know: tags are not looked at.
CONLL = 'He B-Y\nwon O\n\nYes O\n'


@pytest.mark.parametrize('name', ['in.txt', 'in.conll', 'standard input'])
def test_a_taggers_words_may_stand_one_a_line(tmp_path, name):
    form, found, bad = read(tmp_path / name, CONLL, task_of('chunk', TAGS))
    assert form == 'conll' and not bad.found
    assert [example.words for example in found] == [('He', 'won'), ('Yes',)]


def test_a_taggers_sentences_may_stand_one_a_line(tmp_path):
    text = 'He won the game .\n\nYes .\n'
    form, found, _ = read(tmp_path / 'in.txt', text, task_of('chunk', TAGS))
    assert form == 'lines'
    assert [len(example.words) for example in found] == [5, 2]
    assert incoming.format_of(tmp_path / 'in.txt', task_of('text', CLASSES)) == 'lines'


@pytest.mark.parametrize(
    ('task', 'words'), [('chunk', None), ('tagging', None), ('tagging', 'tokens')]
)
def test_a_tagger_reads_objects_and_columns_whatever_it_was_trained_on(tmp_path, task, words):
    task = task_of(task, TAGS, words=words)
    key = words or 'words'
    _, found, _ = read(tmp_path / 'in.jsonl', f'{{"{key}": ["He", "won"]}}\n', task)
    assert found[0].words == ('He', 'won')
    _, found, _ = read(tmp_path / 'in.conll', CONLL, task)
    assert found[0].words == ('He', 'won')


def test_columns_are_those_of_training_or_what_people_call_them(tmp_path):
    task = task_of('text', CLASSES, text_a='body', label='topic')
    for header in ('body,topic', 'text,topic', 'sentence,x'):
        _, found, _ = read(tmp_path / 'in.csv', f'{header}\nfine,unheard-of\n', task)
        assert [(one.text_a, one.label) for one in found] == [('fine', None)]
    _, found, _ = read(tmp_path / 'in.csv', 'key,review\n7,fine\n', task, text_a='review', id='key')
    assert (found[0].id, found[0].text_a) == ('7', 'fine')
    with pytest.raises(DataError, match=r"no column 'body'.*--columns=text_a=NAME$"):
        read(tmp_path / 'in.csv', 'key,review\n7,fine\n', task)


def test_lines_are_numbered_and_bad_ones_left_out(tmp_path):
    task = task_of('text', CLASSES)
    _, found, bad = read(tmp_path / 'in.txt', 'fine\n\na\tb\nbad\n', task)
    assert [(one.id, one.text_a) for one in found] == [('1', 'fine'), ('4', 'bad')]
    assert loading.counts(bad) == {'bad_width': 1}
    with pytest.raises(DataError, match='no usable rows'):
        read(tmp_path / 'in.txt', 'a\tb\n', task)


def test_columns_are_given_as_pairs():
    with pytest.raises(ConfigError, match=r"in 'text_a' one of .* are expected"):
        incoming.parse_columns('text_a')
    with pytest.raises(ConfigError, match=r"did you mean 'text_a'"):
        incoming.parse_columns('txt_a=x')
