"""New text for a trained model: its format and its columns."""

import copy
import dataclasses
import io
import json

import pytest

from electra_jax.core.complaints import Complaints
from electra_jax.core.errors import ConfigError, DataError
from electra_jax.finetune import examples
from electra_jax.finetune.files import lines, predict_input
from electra_jax.finetune.files.tables import Columns
from tests.support import loading
from tests.support.loading import Known

TAGS = Known(('O', 'B-X', 'I-X'), 'bio')
CLASSES = Known(('bad', 'good'))
YES_NO = Known(('0', '1'))


def task_of(name, known, header=None, separator=None, **columns):
    return loading.task_of(name, known, header=header, separator=separator, columns=columns)


def read(path, content, task, form=None, **columns):
    path.write_text(content)
    bad = Complaints('data.on_bad_row', 'skip')
    form = form or predict_input.format_of(path)
    return form, predict_input.read(task, path, form, Columns(**columns), bad), bad


# Of a type that the model does not know: tags are not looked at.
CONLL = 'He B-Y\nwon O\n\nYes O\n'


def test_a_line_holds_a_pair_of_texts_with_a_tab_between(tmp_path):
    content = 'one\ttwo\nonly one\n \tb\na\t\n'
    form, found, bad = read(tmp_path / 'in.txt', content, task_of('mrpc', YES_NO))
    assert form == 'lines'
    assert [(e.id, e.text_a, e.text_b) for e in found] == [('0', 'one', 'two')]
    assert loading.counts(bad) == {'bad_width': 3}


def test_a_line_holds_a_question_and_its_text(tmp_path):
    content = 'Who won? \tAnn won.  Bob did not.\nWho?\n\n\ttext\nWho?\t \n'
    form, found, bad = read(tmp_path / 'in.txt', content, task_of('squad1', Known()))
    assert form == 'lines'
    (one,) = found
    assert (one.id, one.question, one.context) == ('0', 'Who won?', 'Ann won.  Bob did not.')
    assert one.answers == () and not one.impossible
    assert loading.counts(bad) == {'bad_width': 3}


@pytest.mark.parametrize(('name', 'form'), [('in.txt', 'conll'), ('in.conll', None)])
def test_a_tagger_reads_a_word_a_line(tmp_path, name, form):
    form, found, bad = read(tmp_path / name, CONLL, task_of('chunk', TAGS), form)
    assert form == 'conll' and not bad.counts
    assert [example.words for example in found] == [('He', 'won'), ('Yes',)]


def test_a_tagger_reads_tab_separated_files_as_training_does(tmp_path):
    task = task_of('tagging', TAGS)
    _, found, _ = read(tmp_path / 'in.tsv', CONLL.replace(' ', '\t'), task)
    assert [example.words for example in found] == [('He', 'won'), ('Yes',)]
    _, found, _ = read(tmp_path / 'in.tsv', 'id\twords\na\tHe won\n', task)
    assert [example.words for example in found] == [('He', 'won')]
    _, found, _ = read(tmp_path / 'in.tsv', 'id\tx\na\tHe won\n', task, words='x')
    assert [example.words for example in found] == [('He', 'won')]


@pytest.mark.parametrize('form', ['conllu', None])
def test_a_tagger_reads_universal_dependencies(tmp_path, form):
    text = "# 1\n1-2\tdon't\t_\n1\tdo\t_\n2\tn't\t_\n"
    name = 'in.txt' if form else 'in.conllu'
    task = task_of('tagging', Known(('AUX', 'PART'), 'plain'), tags='3')
    form, found, _ = read(tmp_path / name, text, task, form)
    assert form == 'conllu'
    assert [example.words for example in found] == [('do', "n't")]


@pytest.mark.parametrize('form', ['conll', 'conllu'])
def test_only_a_tagger_takes_words_one_a_line(tmp_path, form):
    for task in (task_of('text', CLASSES), task_of('spans', Known())):
        with pytest.raises(ConfigError, match='the model was not trained to tag'):
            read(tmp_path / f'in.{form}', CONLL, task)


@pytest.mark.parametrize('text', ['Ann went to Genoa\n\n', 'Ann left Genoa\n\nBob saw Rome\n'])
def test_a_blank_line_changes_nothing_for_a_tagger(tmp_path, text):
    form, found, _ = read(tmp_path / 'in.txt', text, task_of('ner', TAGS))
    assert form == 'lines'
    assert [' '.join(example.words) for example in found] == [
        line for line in text.split('\n') if line
    ]


def test_a_second_text_is_read_or_refused(tmp_path):
    rows = '{"text": "a", "text_b": "b"}\n'
    task = task_of('text', CLASSES)
    with pytest.raises(DataError, match=r"in\.jsonl:1: .*'text_b'.*--columns=text_b=text_b"):
        read(tmp_path / 'in.jsonl', rows, task)
    _, found, _ = read(tmp_path / 'in.jsonl', rows, task, text_b='text_b')
    assert [(one.text_a, one.text_b) for one in found] == [('a', 'b')]


def test_a_tagger_reads_a_sentence_a_line(tmp_path):
    text = 'He won the game .\n\nYes .\n'
    form, found, _ = read(tmp_path / 'in.txt', text, task_of('chunk', TAGS))
    assert form == 'lines'
    assert [len(example.words) for example in found] == [5, 2]


@pytest.mark.parametrize(
    ('task', 'words'), [('chunk', None), ('tagging', None), ('tagging', 'tokens')]
)
def test_a_tagger_reads_objects_and_columns_after_training_on_either(tmp_path, task, words):
    task = task_of(task, TAGS, words=words)
    key = words or 'words'
    _, found, _ = read(tmp_path / 'in.jsonl', f'{{"{key}": ["He", "won"]}}\n', task)
    assert found[0].words == ('He', 'won')
    _, found, _ = read(tmp_path / 'in.conll', CONLL, task)
    assert found[0].words == ('He', 'won')


def test_words_have_the_names_of_other_projects_here_too(tmp_path):
    content = '{"tokens": ["He", "won"], "ner_tags": [0, 9]}\n'
    _, found, _ = read(tmp_path / 'in.jsonl', content, task_of('tagging', TAGS))
    assert found[0].words == ('He', 'won')
    complaints = Complaints('data.on_bad_row', 'error')
    rows = [{'tokens': ['He', 'won']}]
    found = predict_input.from_rows(task_of('tagging', TAGS), rows, complaints)
    assert found[0].words == ('He', 'won')


def test_columns_are_those_of_training_or_those_that_are_given(tmp_path):
    task = task_of('text', CLASSES, text_a='body', label='topic')
    _, found, _ = read(tmp_path / 'in.csv', 'body,topic\nfine,unheard-of\n', task)
    assert [(one.text_a, one.label) for one in found] == [('fine', None)]
    _, found, _ = read(tmp_path / 'in.csv', 'key,review\n7,fine\n', task, text_a='review', id='key')
    assert (found[0].id, found[0].text_a) == ('7', 'fine')
    with pytest.raises(DataError, match=r"no column 'body'.*--columns=text_a=NAME$"):
        read(tmp_path / 'in.csv', 'key,review\n7,fine\n', task)


COLA = 'gj04\t1\t\tThe sailors rode.\ngj04\t0\t*\tThem rode sailors.\n'


@pytest.mark.parametrize(
    ('name', 'content', 'columns', 'wanted'),
    [
        ('in.tsv', COLA, {}, ['The sailors rode.', 'Them rode sailors.']),
        ('in.tsv', COLA, {'text_a': '0', 'id': '3'}, ['gj04', 'gj04']),
        ('in.tsv', COLA, {'text_a': '-1'}, ['The sailors rode.', 'Them rode sailors.']),
        ('in.tsv', 'index\tsentence\n0\tA.\n', {'text_a': 'sentence'}, ['A.']),
        ('in.csv', 'body,x\nA.,3\nB.,4\n', {'text_a': 'body'}, ['A.', 'B.']),
        ('in.jsonl', '{"text_a": "A."}\n', {}, ['A.']),
        ('in.jsonl', '{"body": "A."}\n', {'text_a': 'body'}, ['A.']),
    ],
)
def test_a_model_of_headerless_tables_reads_them_and_others(
    tmp_path, name, content, columns, wanted
):
    _, found, bad = read(tmp_path / name, content, task_of('cola', YES_NO), **columns)
    assert [one.text_a for one in found] == wanted and not bad.counts
    assert [one.label for one in found] == [None] * len(wanted)


@pytest.mark.parametrize('header', ['index\tsentence\tx\ty', 'label\ta\tb\ttext'])
def test_a_header_is_not_read_as_a_row(tmp_path, header):
    with pytest.raises(DataError, match=r'in\.tsv:1: .*--columns=text_a=(sentence|text)'):
        read(tmp_path / 'in.tsv', f'{header}\n{COLA}', task_of('cola', YES_NO))


def test_tables_without_a_header(tmp_path):
    task = task_of('text', CLASSES, header=False, text_a='-1', id='0')
    _, found, _ = read(tmp_path / 'in.tsv', 'k1\tgood film\nk2\tbad film\n', task)
    assert [(one.id, one.text_a) for one in found] == [('k1', 'good film'), ('k2', 'bad film')]
    task = task_of('text', CLASSES, header=False, text_a='1', id='3', separator=';')
    _, found, _ = read(tmp_path / 'in.csv', 'yes;good film\n', task)
    assert [(one.id, one.text_a) for one in found] == [('0', 'good film')]
    with pytest.raises(DataError, match=r"no column '1' for text_a; it has '0'\. .*number from 0"):
        read(tmp_path / 'in.csv', 'good film\n', task)
    task = task_of('mrpc', YES_NO, header=False, text_a='0', text_b='1')
    _, found, _ = read(tmp_path / 'in.tsv', 'one\ttwo\nthree\tfour\n', task)
    assert [(one.text_a, one.text_b) for one in found] == [('one', 'two'), ('three', 'four')]
    _, found, _ = read(tmp_path / 'in.jsonl', '{"text_a": "a", "text_b": "b"}\n', task)
    assert [(one.text_a, one.text_b) for one in found] == [('a', 'b')]
    with pytest.raises(DataError, match='no usable rows'):
        read(tmp_path / 'in.jsonl', '{"text": "a"}\n', task)


def test_taggers_of_tables_without_a_header(tmp_path):
    task = task_of('tagging', TAGS, header=False, words='1', tags='0', separator=';')
    content = 'O O;He won\nB-X O;Ann did\n'
    _, found, _ = read(tmp_path / 'in.csv', content, task)
    assert [one.words for one in found] == [('He', 'won'), ('Ann', 'did')]
    with pytest.raises(DataError, match=r'in\.csv:1: .*--columns=words=words'):
        read(tmp_path / 'in.csv', f'tags;words\n{content}', task)
    _, found, _ = read(tmp_path / 'in.csv', f'tags;words\n{content}', task, words='words')
    assert [one.words for one in found] == [('He', 'won'), ('Ann', 'did')]
    _, found, _ = read(tmp_path / 'in.jsonl', '{"words": ["He", "won"]}\n', task)
    assert found[0].words == ('He', 'won')


ASKED = {'id': 'q', 'question': 'Who?', 'context': 'Ann won.'}
SQUAD = {'data': [{'paragraphs': [{'context': 'Ann won.', 'qas': [ASKED]}]}]}
MRQA = {'context': 'Ann won.', 'qas': [{'qid': 'q', 'question': 'Who?'}]}
ANSWERS = {
    'impossible': {'is_impossible': True, 'answers': []},
    'elsewhere': {'answers': [{'text': 'Bob', 'answer_start': 3}]},
    'no list': {'answers': 7, 'detected_answers': 7},
    'no span': {'answers': ['Bob'], 'detected_answers': [{'text': 'Bob'}]},
    'nowhere': {'detected_answers': [{'text': 'x', 'char_spans': [[90, 95]]}]},
}


@pytest.mark.parametrize('case', ANSWERS)
@pytest.mark.parametrize('form', ['squad', 'mrqa', 'row'])
@pytest.mark.parametrize('name', ['squad1', 'squad2'])
def test_answers_next_to_a_question_are_ignored(tmp_path, name, form, case):
    whole = copy.deepcopy({'squad': SQUAD, 'mrqa': MRQA, 'row': ASKED}[form])
    asked = {
        'squad': lambda: whole['data'][0]['paragraphs'][0]['qas'][0],
        'mrqa': lambda: whole['qas'][0],
        'row': lambda: whole,
    }[form]()
    asked.update(ANSWERS[case])
    path = tmp_path / ('in.json' if form == 'squad' else 'in.jsonl')
    _, found, bad = read(path, json.dumps(whole), task_of(name, Known()))
    assert [one[:6] for one in found] == [('q', 'Ann won.', 'Who?', (), False, found[0].where)]
    assert found[0].references == () and not bad.counts


def test_each_question_of_a_line_is_scored_by_its_own_answer(tmp_path):
    questions = [
        {'qid': name, 'question': 'Who?', 'answers': [name], 'detected_answers': [
            {'text': name, 'char_spans': [[at, at + len(name) - 1]]}
        ]}
        for name, at in (('Ann', 0), ('Bob', 8))
    ]  # fmt: skip
    content = json.dumps({'context': 'Ann won Bob.', 'qas': questions})
    task = task_of('spans', Known())
    _, found, _ = read(tmp_path / 'in.jsonl', content, task)
    known = predict_input.labelled(task, tmp_path / 'in.jsonl', 'jsonl', Columns())
    answers = [known[predict_input.key_of(one)].references for one in found]
    assert answers == [('Ann',), ('Bob',)] and len(known) == 2


@pytest.mark.parametrize('mark', ['', '\ufeff'])
def test_the_format_is_that_of_the_name_or_the_given_one(tmp_path, mark):
    task = task_of('text', CLASSES)
    content = f'{mark}\n {{"text": "A."}}\n{{"text": "B."}}\n'
    form, found, _ = read(tmp_path / 'in.txt', content, task)
    assert (form, [one.text_a for one in found]) == ('lines', ['{"text": "A."}', '{"text": "B."}'])
    for name, given in (('in.jsonl', None), ('in.ndjson', None), ('in.txt', 'jsonl')):
        form, found, _ = read(tmp_path / name, content, task, given)
        assert (form, [one.text_a for one in found]) == ('jsonl', ['A.', 'B.'])
    assert {predict_input.format_of(tmp_path / f'in.CSV.{x}') for x in ('gz', 'zip', 'tar.XZ')} == {
        'csv'
    }


@pytest.mark.parametrize('form', ['lines', 'csv', 'jsonl'])
def test_standard_input_is_read_once_and_named(monkeypatch, form):
    text = {'lines': 'A.\na\tb\n', 'csv': 'text\nA.\nB.,C.\n', 'jsonl': '{"text": "A."}\n{}\n'}
    monkeypatch.setattr('sys.stdin', io.TextIOWrapper(io.BytesIO(text[form].encode())))
    assert predict_input.format_of(lines.STANDARD_INPUT) == 'lines'
    bad = Complaints('data.on_bad_row', 'skip')
    task = task_of('text', CLASSES)
    (found,) = predict_input.read(task, lines.STANDARD_INPUT, form, Columns(), bad)
    assert found.text_a == 'A.'
    ((_, where),) = bad.counts.values()
    assert where.startswith(f'<stdin>:{3 if form == "csv" else 2}')


def test_half_a_character_in_an_id_is_a_bad_row(tmp_path):
    rows = '{"id": "\\ud800", "text": "fine"}\n{"id": "a", "text": "fine"}\n'
    _, found, bad = read(tmp_path / 'in.jsonl', rows, task_of('text', CLASSES))
    assert [one.id for one in found] == ['a'] and loading.counts(bad) == {'not_text': 1}


def test_questions_in_tables(tmp_path):
    task = task_of('spans', Known())
    row = 'Ann won.,Who?,no one\n'
    _, found, _ = read(tmp_path / 'in.csv', f'context,question,answers\n{row}', task)
    assert [(e.context, e.question, e.references) for e in found] == [('Ann won.', 'Who?', ())]
    task = task_of('spans', Known(), header=False, separator=';', context='0', question='-2')
    _, found, _ = read(tmp_path / 'in.csv', row.replace(',', ';'), task)
    assert [(e.id, e.context, e.question) for e in found] == [('0', 'Ann won.', 'Who?')]
    text = 'question;context\nWho?;Ann won.\n'
    with pytest.raises(DataError, match=r'in\.csv:1: .*--columns='):
        read(tmp_path / 'in.csv', text, task)
    _, found, _ = read(tmp_path / 'in.csv', text, task, context='context')
    assert [(e.context, e.question) for e in found] == [('Ann won.', 'Who?')]
    _, found, _ = read(tmp_path / 'in.jsonl', json.dumps(ASKED), task)
    assert [(e.context, e.question) for e in found] == [('Ann won.', 'Who?')]


def test_tags_next_to_words_are_ignored(tmp_path):
    task = task_of('tagging', TAGS)
    for tags in ('7', '["O"]', '[null, "O"]', '""'):
        rows = f'{{"words": ["He", "won"], "tags": {tags}}}\n'
        _, found, bad = read(tmp_path / 'in.jsonl', rows, task)
        assert (found[0].words, found[0].tags) == (('He', 'won'), None) and not bad.counts
    _, found, bad = read(tmp_path / 'in.conll', 'He\tB-X\nwon\t\n', task)
    assert (found[0].words, found[0].tags) == (('He', 'won'), None) and not bad.counts
    task = task_of('tagging', TAGS, words='-1', tags='0')
    _, found, _ = read(tmp_path / 'in.conll', 'O He\nO won\n', task)
    assert found[0].words == ('He', 'won')
    _, found, _ = read(tmp_path / 'in.conll', 'He\nwon\n', task)
    assert found[0].words == ('He', 'won')


def test_lines_are_numbered_and_unusable_ones_are_left_out(tmp_path):
    task = task_of('text', CLASSES)
    _, found, bad = read(tmp_path / 'in.txt', 'fine\n\na\tb\nbad\n', task)
    assert [(one.id, one.text_a) for one in found] == [('0', 'fine'), ('2', 'bad')]
    assert loading.counts(bad) == {'bad_width': 1}
    with pytest.raises(DataError, match='no usable rows'):
        read(tmp_path / 'in.txt', 'a\tb\n', task)


# Of the rows, two cannot be read; a blank line is none.
NUMBERED = {
    'lines': (b'a\n\n\xff\nx\ty\nb\n', ['0', '3']),
    'csv': (b'text_a\na\n\n\xff\n"x"y\nb\n', ['0', '3']),
    'tsv': (b'text_a\na\n\n\xff\nx\ty\nb\n', ['0', '3']),
    'jsonl': (b'{"text_a": "a"}\n\n\xff\n{"x\n{"text_a": "b"}\n', ['0', '3']),
    'conll': (b'a\n\n\n\xff\nx\n\nx\n\xff\n\nb\n', ['0', '3']),
}


@pytest.mark.parametrize('form', NUMBERED)
def test_rows_that_cannot_be_read_count_in_the_ids_of_others(tmp_path, form):
    content, ids = NUMBERED[form]
    task = task_of('chunk', TAGS) if form == 'conll' else task_of('text', CLASSES, text_a='text_a')
    path = tmp_path / f'in.{form}'
    path.write_bytes(content)
    bad = Complaints('data.on_bad_row', 'skip')
    found = predict_input.read(task, path, form, Columns(), bad)
    assert [one.id for one in found] == ids


@pytest.mark.parametrize('separator', [',', '\t'])
def test_a_first_row_that_cannot_be_read_counts_where_there_is_no_header(tmp_path, separator):
    path = tmp_path / ('in.csv' if separator == ',' else 'in.tsv')
    path.write_bytes(b'\xff\n0@1@one\n1@0@two\n'.replace(b'@', separator.encode()))
    task = task_of('text', CLASSES, header=False, text_a='2', label='1')
    bad = Complaints('data.on_bad_row', 'skip')
    found = predict_input.read(task, path, path.suffix[1:], Columns(), bad)
    assert [(one.id, one.text_a) for one in found] == [('1', 'one'), ('2', 'two')]


def test_columns_are_given_as_pairs():
    with pytest.raises(ConfigError, match=r"in 'text_a' one of .* are expected"):
        predict_input.parse_columns('text_a')
    with pytest.raises(ConfigError, match=r"did you mean 'text_a'"):
        predict_input.parse_columns('txt_a=x')


@pytest.mark.parametrize(
    ('task', 'content', 'form'),
    [
        ('text', '\ufeff{"text": "A."}\n', 'jsonl'),
        ('text', '\n{\n "data": []\n}\n', 'jsonl'),
        ('text', 'id,text\n1,A.\n', 'csv'),
        ('text', 'id\tbody\n1\tA.\n', 'tsv'),
        ('text', 'text\nA.\n', 'csv'),
        ('text', 'body\nA.\n', 'csv'),
        ('text', '{"text": "A.\n', 'jsonl'),
        ('text', 'sentence\nA.\n', None),
        ('cola', '3\nA.\n', None),
        ('tagging', 'He\tO\nwon\tO\n', 'conll'),
        ('tagging', '# 1\nHe PRP O\nAnn NN x_b\n', 'conll'),
        ('tagging', 'He O\nAnn x_b\n', 'conll'),
        ('tagging', 'He\nwon\n\nAnn\nwon\n', 'conll'),
        ('text', 'A fine film, a text\n', None),
        ('text', '"quoted"\n', None),
        ('text', 'one\ntwo\n', None),
        ('tagging', 'He won O\nAnn did\n', None),
        ('tagging', 'Hello\n\n', None),
        ('mrpc', 'one\ttwo\n', None),
    ],
)
def test_what_looks_like_another_format_is_refused_as_lines(tmp_path, task, content, form):
    known = {'tagging': Known(('O', 'B-x', 'I-x'), 'bio')}.get(task, CLASSES)
    task = loading.task_of(task, known)
    if task.kind == 'tagging':
        task = dataclasses.replace(task, writing='TYPE-B')
    (tmp_path / 'in.txt').write_text(content)
    columns = Columns(text_a='body') if 'body' in content else Columns()
    if form is None:
        predict_input.check_lines(task, tmp_path / 'in.txt', columns)
        return
    with pytest.raises(ConfigError, match=f'--format={form}.*--format=lines'):
        predict_input.check_lines(task, tmp_path / 'in.txt', columns)


def test_files_of_tags_go_by_the_names_of_their_schemes(tmp_path):
    assert {predict_input.format_of(tmp_path / f'in.{x}') for x in ('bio', 'iob2')} == {'conll'}


def test_lines_hold_pairs_where_a_second_column_is_given(tmp_path):
    task = task_of('text', CLASSES)
    _, found, _ = read(tmp_path / 'in.txt', 'one\ttwo\n', task, text_b='text_b')
    assert [(one.text_a, one.text_b) for one in found] == [('one', 'two')]


@pytest.mark.parametrize('name', ['text_b', 'text_pair', 'hypothesis'])
def test_the_usual_names_of_a_second_text_are_seen(tmp_path, name):
    row = f'{{"text": "a", "{name}": "b"}}\n'
    with pytest.raises(DataError, match=rf"has a '{name}'.*--columns=text_b={name},"):
        read(tmp_path / 'in.jsonl', row, task_of('text', CLASSES))


def test_all_columns_that_are_missing_are_named_in_one_flag(tmp_path):
    task = task_of('text', CLASSES, text_b='text_b')
    with pytest.raises(DataError, match=r'Name them with --columns=text_a=NAME,text_b=NAME$'):
        read(tmp_path / 'in.csv', 'first,second\na,b\n', task)


def test_a_row_without_a_field_names_what_to_type(tmp_path):
    task = task_of('text', CLASSES, text_b='text_b')
    path = tmp_path / 'in.jsonl'
    path.write_text('{"text": "a"}\n')
    with pytest.raises(DataError, match=r"no field 'text_b'.*--columns=text_b=NAME"):
        predict_input.read(task, path, 'jsonl', Columns(), Complaints('data.on_bad_row', 'error'))


@pytest.mark.parametrize(
    ('name', 'content', 'columns', 'called'),
    [
        ('in.csv', 'text,label\nA.,b\n', {}, {'text': 'A.'}),
        ('in.jsonl', '{"body": "A."}\n', {'text_a': 'body'}, {'body': 'A.'}),
        ('in.tsv', 'a\tb\nx\tA.\n', {'text_a': '1'}, {'b': 'A.'}),
        ('in.txt', 'A.\n', {}, {'text': 'A.'}),
        ('in.csv', 'q,p\nA.,B.\n', {'text_a': 'q', 'text_b': 'p'}, {'q': 'A.', 'p': 'B.'}),
        # The answer has a field of that name.
        ('in.csv', 'prediction\nA.\n', {'text_a': 'prediction'}, {'text': 'A.'}),
    ],
)  # fmt: skip
def test_answers_call_texts_as_the_row_does(tmp_path, name, content, columns, called):
    _, (found,), _ = read(tmp_path / name, content, task_of('text', CLASSES), **columns)
    answer = {'prediction': 'yes'}
    assert examples.answered(found, answer) == {'id': '0', **called, **answer}
