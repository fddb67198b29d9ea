"""Lines answered as they come."""

import io
import json
import os
import sys
import threading

import pytest

from electra_jax import predict as command
from electra_jax.core.complaints import Complaints
from electra_jax.core.errors import ConfigError, NonFiniteError
from electra_jax.finetune.files import predict_input
from electra_jax.finetune.files.tables import Columns
from electra_jax.finetune.kinds.table import KINDS
from electra_jax.inference import listen
from electra_jax.inference.listen import Listener
from electra_jax.inference.loaded import LoadedModel
from electra_jax.inference.work import Work
from electra_jax.runtime import terminal
from tests.support import trained
from tests.support.loading import Known, task_of

CLASSES = Known(('bad', 'good'))
# A task of each kind whose rows are single lines -> a line of text, and the same as an object.
LINES = {
    'text': ('the film', {'text': 'the film'}),
    'text_multi_label': ('the film', {'text': 'the film'}),
    'text_regression': ('the film', {'text': 'the film'}),
    'tagging': ('Anna saw it', {'words': ['Anna', 'saw', 'it']}),
    'extractive': ('One. Two.', {'document': 'One. Two.'}),
    'squad1': ('who ?\tAnna saw it', {'question': 'who ?', 'context': 'Anna saw it'}),
    'seq2seq': ('the film', {'source': 'the film'}),
    'mrpc': ('the film\ta film', {'#1 String': 'the film', '#2 String': 'a film'}),
}
TASK = task_of('text', CLASSES)


def work(task=TASK, answer=None, **changes):
    """A thing to do whose answer to an example is its own id."""
    answer = answer or (lambda examples, notes: iter([one.id for one in examples]))
    made = Work('it', task, lambda one: None, answer, lambda one, result: {'id': result})
    return made._replace(**changes)


@pytest.mark.parametrize('form', ['auto', 'lines', 'jsonl'])
@pytest.mark.parametrize('name', LINES)
def test_a_line_is_the_example_that_it_would_be_in_a_file(name, form, tmp_path):
    task, (line, value) = task_of(name, CLASSES), LINES[name]
    content = json.dumps(value) if form == 'jsonl' else line
    path = tmp_path / 'in'
    path.write_text(f'{content}\n')
    bad = Complaints('data.on_bad_row', 'skip')
    read_as = 'lines' if form == 'auto' else form
    (expected,) = predict_input.read(task, path, read_as, Columns(), bad)
    given = []
    listener = Listener(
        work(task, lambda examples, notes: given.extend(examples) or iter(examples)), form
    )
    listener.answer([content])
    assert [one._replace(where='') for one in given] == [expected._replace(where='')]


def test_every_kind_of_task_is_listened_to_or_answers_rows_together():
    alone = {name for name, kind in KINDS.items() if not kind.together}
    assert alone == {task_of(name).kind for name in LINES} | {'image_classification'}


def test_each_line_has_one_answer_or_an_error_with_its_id():
    listener = Listener(work(), 'jsonl', Columns(id='key'))
    rows = [
        '{"text": "a"}', 'no', '[1]', ' ', b'\xff', '{"body": "a", "key": "own"}',
        '{"text": " ", "key": 7}', '{"text": ""}', '{"text": "a", "key": "mine"}',
        b'{"text": "b"}\r',
    ]  # fmt: skip
    answers = listener.answer(rows[:4]) + listener.answer(rows[4:])
    assert [one['id'] for one in answers] == [*'01234', 'own', *'77', 'mine', '9']
    errors = [one['error'] for one in answers[1:8]]
    named = ('not JSON', 'a list', 'empty', 'not UTF-8', '--columns', 'empty', 'empty')
    for error, words in zip(errors, named, strict=True):
        assert words in error
    assert (listener.answered, listener.refused) == (3, 7)


@pytest.mark.parametrize(
    ('text', 'typed'),
    [
        ('{"text": "A film."}', '--format=jsonl;'),
        (' {"text": "A fi', '--format=jsonl;'),
        ('{ "id": 1}', '--format=jsonl;'),
        ('text,label', '--format=csv without --listen;'),
        ('text', '--format=csv without --listen;'),
        ('{name} is a film', None),
        ('[1] is the film, text and all', None),
        ('{', None),
    ],
)
def test_what_looks_like_another_format_is_no_text_until_lines_are_asked_for(text, typed):
    assert Listener(work(), 'lines').answer([text]) == [{'id': '0'}]
    listener = Listener(work())
    (answer,) = listener.answer([text])
    assert (typed or 'None') in answer.get('error', 'None')
    assert listener.answer(['text', 'text,label']) == [{'id': '1'}, {'id': '2'}], 'no first line'
    assert '--format=jsonl' in listener.answer(['{"text": "a"}'])[0]['error']


def test_a_line_that_fails_when_it_is_answered_does_not_end_the_others():
    def answer(examples, notes):
        if any(one.text_a == 'b' for one in examples):
            raise NonFiniteError('NaN')
        return iter([one.id for one in examples])

    listener = Listener(work(answer=answer))
    assert listener.answer(['a', 'b', 'c']) == [
        {'id': '0'}, {'id': '1', 'error': 'NaN'}, {'id': '2'},
    ]  # fmt: skip


def test_columns_are_named_as_in_files():
    listener = Listener(work(), 'jsonl', Columns(text_a='body'))
    assert listener.answer(['{"body": "a"}']) == [{'id': '0'}]
    with pytest.raises(ConfigError, match=r'--columns names .s. for source'):
        Listener(work(), 'jsonl', Columns(source='s'))


def test_what_listens_to_lines_alone_refuses_the_rest():
    with pytest.raises(ConfigError, match='it answers rows by what other rows hold'):
        Listener(work(at_once=None))
    with pytest.raises(ConfigError, match=r"form is 'csv', allowed: auto, jsonl, lines"):
        Listener(work(), 'csv')
    assert Listener(work(), 'jsonl').each == 'an object of JSON'
    assert listen.checked_form('-', '-', 'auto') == 'auto'
    for flags, named in (
        (('in.csv', '-', 'auto'), "--input is 'in.csv'"),
        (('-', 'out.jsonl', 'auto'), "--output is 'out.jsonl'"),
        (('-', '-', 'csv'), "--format is 'csv'"),
    ):
        with pytest.raises(ConfigError, match=named):
            listen.checked_form(*flags)


def test_what_the_vocabulary_lacks_is_bounded(monkeypatch):
    monkeypatch.setattr(listen, '_KEPT_WORDS', 2)

    def answer(examples, notes):
        for one in examples:
            notes.unknown.words[one.text_a] = int(one.text_a)
        return iter(examples)

    listener = Listener(work(answer=answer, to_json=lambda one, result: {}))
    for number in range(9):
        listener.answer([str(number)])
    assert len(listener.notes.unknown.words) <= 4 and '8' in listener.notes.unknown.words


# ---------------------------------------------------------------------------------------------
# Standard input


def test_lines_that_have_come_stand_together_and_no_others_are_waited_for():
    reading, writing = os.pipe()
    groups = listen.arrived(reading, most=3)
    os.write(writing, b'a\nb\nbegun')
    assert next(groups) == [b'a', b'b']
    os.write(writing, b' before\nc\nd\ne\n')
    assert next(groups) == [b'begun before', b'c', b'd']
    assert next(groups) == [b'e']  # without waiting for more
    os.write(writing, b'last')
    os.close(writing)
    assert list(groups) == [[b'last']]
    os.close(reading)


@pytest.fixture
def stdin(monkeypatch):
    """The end of a pipe to write to, whose other end is standard input."""
    reading, writing = os.pipe()
    with os.fdopen(reading, 'rb') as file, os.fdopen(writing, 'wb', buffering=0) as pipe:
        monkeypatch.setattr(sys, 'stdin', io.TextIOWrapper(file))
        yield pipe


def test_the_end_of_the_input_ends_it_with_one_summary(stdin, capsys):
    stdin.write(b'\xef\xbb\xbfa\n \nb')
    stdin.close()
    listen.run(Listener(work()), 'runs/mine', 8)
    out, err = capsys.readouterr()
    assert [json.loads(line) for line in out.splitlines()] == [
        {'id': '0'}, {'id': '1', 'error': 'the line is empty'}, {'id': '2'},
    ]  # fmt: skip
    assert err.startswith('runs/mine listens: each line is a text, and')
    assert err.splitlines()[-1] == '2 lines answered by runs/mine, 1 refused'


def test_an_answer_is_written_before_the_next_line_comes(stdin, monkeypatch):
    reading, writing = os.pipe()
    with os.fdopen(reading) as answers, os.fdopen(writing, 'w') as out:
        monkeypatch.setattr(sys, 'stdout', out)
        monkeypatch.setattr(terminal, 'ERR', terminal.Console(file=io.StringIO()))
        thread = threading.Thread(target=listen.run, args=(Listener(work()), 'x', 8))
        thread.start()
        for number in range(3):
            stdin.write(b'a\n')
            assert json.loads(answers.readline()) == {'id': str(number)}
        stdin.close()
        thread.join(timeout=60)
        assert not thread.is_alive()


def test_ctrl_c_ends_it_with_one_summary(stdin, capsys):
    def answer(examples, notes):
        if examples[0].text_a == 'b':
            raise KeyboardInterrupt
        return iter([one.id for one in examples])

    stdin.write(b'a\nb\nc\n')
    listen.run(Listener(work(answer=answer)), 'x', 1)
    assert capsys.readouterr().err.splitlines()[1:] == ['1 line answered by x']


def test_a_loaded_model_listens_as_the_command_does(stdin, monkeypatch, capsys):
    model = LoadedModel(trained.found(('discriminator',)), 8)
    rows = ['the film was great', '', 'it']
    answers = list(model.listen(iter(rows)))
    assert answers[0]['tokens'] == rows[0].split() and 'error' in answers[1]
    assert [one['id'] for one in answers] == ['0', '1', '2']
    flags = {'CHECKPOINT': 'x', 'TASK': 'auto', 'INPUT': '-', 'OUTPUT': '-', 'FORMAT': 'auto'}
    flags |= {'LISTEN': True, 'BATCH_SIZE': 8, 'COLUMNS': None, 'TOP_K': 5}
    for name, value in {**flags, 'SCORER': None, 'TEMPLATE': None, 'LABELS': None}.items():
        monkeypatch.setattr(command, name, type('Flag', (), {'value': value}))
    monkeypatch.setattr(command.files, 'open_model', lambda *words: model)
    stdin.write('\n'.join(rows).encode())
    stdin.close()
    command.main()
    written = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [sorted(one) for one in written] == [sorted(one) for one in answers]
    assert [one.get('tokens') for one in written] == [one.get('tokens') for one in answers]
    with pytest.raises(ConfigError, match='--top_k is 3, which detect does not read'):
        model.listen([], top_k=3)
