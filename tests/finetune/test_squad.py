"""Questions of SQuAD, MRQA and user tables: answers are at their given start, or are reported."""

import copy
import gzip
import json
import os
import pathlib

import pytest

from electra_jax.core import errors
from electra_jax.finetune.examples import Answer
from electra_jax.finetune.files.tables import Columns
from tests.support import loading

CONTEXT = 'Der Bär sat. The bear sat on the mat. The end.'
QUESTION = {
    'id': 'q1',
    'question': ' Who sat? ',
    'answers': [
        {'text': 'bear', 'answer_start': 17, 'all_starts': [17, 99]},
        {'text': 'The bear', 'answer_start': 13},
        {'text': 'bear', 'answer_start': 17},
    ],
}


def squad(*questions: dict, context: str = CONTEXT) -> dict:
    paragraph = {'context': context, 'qas': list(questions)}
    return {'version': '1.1', 'data': [{'title': 'Bears', 'paragraphs': [paragraph]}]}


def load(folder, content, task='squad1', split='train', name=None, **options):
    name = name or f'{split}.json'
    text = content if isinstance(content, str) else json.dumps(content)
    (folder / name).write_text(text)
    options['columns'] = Columns(**options.get('columns', {}))
    return loading.load(task, str(folder / name), split, **options)


def changed(**changes) -> dict:
    return {**copy.deepcopy(QUESTION), **changes}


def test_a_question_keeps_its_text_and_answers(tmp_path):
    (example,) = load(tmp_path, squad(QUESTION)).examples
    assert example.id == 'q1'
    assert example.context == CONTEXT
    assert example.question == 'Who sat?'
    assert example.answers == (Answer('bear', 17), Answer('The bear', 13), Answer('bear', 17))
    assert example.references == ('bear', 'The bear', 'bear')
    assert not example.impossible
    assert example.where == f'{tmp_path}/train.json: question q1'


@pytest.mark.parametrize(
    ('text', 'start', 'wanted'),
    [
        ('sat', 24, 22),  # both 'sat' are wrong: the nearer one
        ('sat', 2, 8),
        ('  bear ', 16, 17),
        ('sat', -5, 8),
        ('end', -4, CONTEXT.index('end')),
        ('sat', 10_000, 22),
    ],
)
def test_an_answer_elsewhere_in_the_text_is_found_and_counted(tmp_path, text, start, wanted):
    question = changed(answers=[{'text': text, 'answer_start': start}])
    loaded = load(tmp_path, squad(question))
    (answer,) = loaded.examples[0].answers
    assert answer == Answer(text.strip(), wanted)
    assert loading.counts(loaded.complaints) == {'moved_answer': 1}
    assert 'question q1' in loaded.complaints.lines()[0]


def test_an_answer_that_stands_at_its_start_is_left_alone(tmp_path):
    question = changed(answers=[{'text': 'sat ', 'answer_start': 22}])
    loaded = load(tmp_path, squad(question))
    assert loaded.examples[0].answers == (Answer('sat ', 22),)
    assert loaded.complaints.counts == {}


BAD = {
    'nowhere': (
        {'answers': [{'text': 'wolf', 'answer_start': 17}]},
        'bad_answer',
        "q1: the answer 'wolf' does not occur in the text; at its start, 17, stands 'bear'",
    ),
    'no start': ({'answers': [{'text': 'bear'}]}, 'bad_answer', "'bear' has no start .None."),
    'start a text': (
        {'answers': [{'text': 'bear', 'answer_start': '17'}]},
        'bad_answer',
        "has no start .'17'.",
    ),
    'empty answer': ({'answers': [{'text': '', 'answer_start': 0}]}, 'bad_answer', 'is empty'),
    'answers a text': ({'answers': 'bear'}, 'bad_answer', "must be a list .*found 'bear'"),
    'no answer': ({'answers': []}, 'bad_question', 'has no answer and is not marked'),
    'empty question': ({'question': ' '}, 'empty_text', 'in the question: the text is empty'),
    'no question': ({'question': None}, 'not_text', r'question: None \(NoneType\) is not text'),
    'impossible': (
        {'is_impossible': True, 'answers': []},
        'bad_question',
        'impossible, and this task has an answer to each; type --config.task.name=squad2',
    ),
    'half id': ({'id': '\ud800'}, 'not_text', r'qas\[0\]: in the id: half a character in'),
    'half answer': (
        {'answers': [{'text': '\ud800', 'answer_start': 0}]},
        'bad_answer',
        'in an answer: half a character',
    ),
    'no id': ({'id': ''}, 'bad_question', r'data\[0\].paragraphs\[0\].qas\[0\]: no id'),
}


@pytest.mark.parametrize('case', BAD)
def test_a_bad_question_is_named_or_counted(tmp_path, case):
    changes, kind, words = BAD[case]
    good = changed(id='q2')
    with pytest.raises(errors.DataError, match=words):
        load(tmp_path, squad(changed(**changes), good))
    loaded = load(tmp_path, squad(changed(**changes), good), on_bad_row='skip')
    assert [e.id for e in loaded.examples] == ['q2']
    assert loading.counts(loaded.complaints) == {kind: 1}


def test_an_empty_context_is_named(tmp_path):
    with pytest.raises(errors.DataError, match='question q1: in the context: the text is empty'):
        load(tmp_path, squad(QUESTION, context=' '))


def test_two_questions_of_one_id_are_refused(tmp_path):
    with pytest.raises(errors.DataError, match=r"the id 'q1' is also that of .*question q1"):
        load(tmp_path, squad(QUESTION, QUESTION), split='dev', on_bad_row='skip')


def test_training_needs_no_ids_of_their_own(tmp_path):
    loaded = load(tmp_path, squad(QUESTION, QUESTION, changed(id='q2')))
    assert len({e.id for e in loaded.examples}) == 3
    assert loading.counts(loaded.complaints) == {'double_id': 1}


@pytest.mark.parametrize(('mark', 'wanted'), [('false', False), ('True', True), (1, True)])
def test_a_mark_may_be_text(tmp_path, mark, wanted):
    question = changed(is_impossible=mark, answers=[] if wanted else QUESTION['answers'])
    assert load(tmp_path, squad(question), 'squad2').examples[0].impossible == wanted


def test_a_mark_that_is_none_is_named(tmp_path):
    with pytest.raises(errors.DataError, match=r"question q1: is_impossible is 'maybe', allowed"):
        load(tmp_path, squad(changed(is_impossible='maybe')), 'squad2')


def test_an_answer_without_a_position_that_occurs_twice_is_counted(tmp_path):
    row = {'context': CONTEXT, 'question': 'who?', 'answers': 'sat'}
    loaded = load(tmp_path, row, 'spans', name='train.jsonl')
    assert loaded.examples[0].answers == (Answer('sat', CONTEXT.index('sat')),)
    assert loading.counts(loaded.complaints) == {'first_answer': 1}


@pytest.mark.parametrize(
    ('content', 'words'),
    [
        ('', 'the file is empty'),
        ('{"data": [{"title"', r'train\.json:1: not JSON .*torn'),
        ('{"data":\n [}', r'train\.json:2: not JSON'),
        ('7', "holds a list 'data' here, found int"),
        ('[]', "holds a list 'data' here, found list; .*\\.jsonl"),
        ('{"dat": []}', "holds a list 'data' here, found dat; "),
        ('{"data": []}', 'no usable rows'),
        ('{"data": [{"paragraphs": [{"qas": 1}]}]}', r"data\[0\].paragraphs\[0\]: .*list 'qas'"),
    ],
)
def test_a_file_that_is_not_squad_is_refused(tmp_path, content, words):
    with pytest.raises(errors.DataError, match=words):
        load(tmp_path, content)


def test_a_latin_1_file_is_named_by_line(tmp_path):
    text = json.dumps(squad(QUESTION), ensure_ascii=False, indent=1)
    (tmp_path / 'train.json').write_bytes(text.encode('latin-1'))
    line = text[: text.index('\xe4')].count('\n') + 1
    with pytest.raises(errors.DataError, match=rf'train\.json:{line}: character 23 .* Latin-1'):
        loading.load('squad1', str(tmp_path), 'train')


# ---------------------------------------------------------------------------------------------
# Questions without an answer


def test_squad_2_knows_questions_without_an_answer(tmp_path):
    none = changed(id='q2', is_impossible=True, answers=[], plausible_answers=QUESTION['answers'])
    loaded = load(tmp_path, squad(QUESTION, none), 'squad2')
    assert [e.impossible for e in loaded.examples] == [False, True]
    assert loaded.examples[1].answers == loaded.examples[1].references == ()
    with pytest.raises(errors.DataError, match='marked as impossible and has an answer'):
        load(tmp_path, squad(changed(is_impossible=True)), 'squad2')
    with pytest.raises(errors.DataError, match='has no answer and is not marked'):
        load(tmp_path, squad(changed(answers=[])), 'squad2')


def test_the_config_may_allow_questions_without_an_answer(tmp_path):
    content = squad(QUESTION, changed(id='q2', is_impossible=True, answers=[]))
    loaded = load(tmp_path, content, 'spans', unanswerable=True)
    assert [e.impossible for e in loaded.examples] == [False, True]


def test_test_files_need_no_answers(tmp_path):
    question = {'id': 'q1', 'question': 'Who?'}
    (example,) = load(tmp_path, squad(question), split='test').examples
    assert example.answers == ()
    assert not example.impossible


# ---------------------------------------------------------------------------------------------
# A question a line


def test_rows_of_questions_in_both_forms(tmp_path):
    base = {'id': 'q1', 'context': CONTEXT, 'question': 'Who?'}
    answers = [{'text': 'bear', 'answer_start': 17}]
    listed = {'text': ['bear'], 'answer_start': [17]}
    none = {**base, 'id': 'q3', 'answers': {'text': [], 'answer_start': []}}
    rows = [{**base, 'answers': answers}, {**base, 'id': 'q2', 'answers': listed}, none]
    content = '\n'.join(map(json.dumps, rows))
    loaded = load(tmp_path, content, 'squad2', name='train.jsonl')
    assert [e.answers for e in loaded.examples] == [(Answer('bear', 17),)] * 2 + [()]
    assert [e.impossible for e in loaded.examples] == [False, False, True]
    assert loaded.examples[1].where == f'{tmp_path}/train.jsonl:2'
    listed = load(tmp_path, json.dumps(rows), 'squad2', name='train.json')
    assert [e._replace(where='') for e in listed.examples] == [
        e._replace(where='') for e in loaded.examples
    ]
    with pytest.raises(errors.DataError, match=r"train\.jsonl:3: question 'q3' has no answer"):
        load(tmp_path, content, 'spans', name='train.jsonl')


def test_half_a_character_in_the_id_of_a_row_is_named(tmp_path):
    row = json.dumps({'id': '\ud800', 'question': 'Who?', 'context': CONTEXT, 'answers': 'bear'})
    with pytest.raises(errors.DataError, match=r'train\.jsonl:1: in the id: half a character'):
        load(tmp_path, row, 'spans', name='train.jsonl')


def test_fields_have_the_names_that_are_given(tmp_path):
    row = {'key': 7, 'text': CONTEXT, 'q': 'Who?', 'a': [{'text': 'bear', 'answer_start': 17}]}
    columns = {'id': 'key', 'context': 'text', 'question': 'q', 'answers': 'a'}
    loaded = load(tmp_path, json.dumps(row), 'spans', name='train.jsonl', columns=columns)
    assert loaded.examples[0].id == '7'
    assert loaded.examples[0].references == ('bear',)
    with pytest.raises(
        errors.DataError, match=r"jsonl:1: .*no field 'context' and none 'question'; it has 'a'"
    ):
        load(tmp_path, json.dumps(row), 'spans', name='train.jsonl')


TABLE = f'id,question,context,answers\nq1,Who sat?,{CONTEXT},bear\nq2,What?,{CONTEXT}, The end \n'


def own_table(folder, content, split='train', name=None, **options):
    """A table found in its folder."""
    (folder / (name or f'{split}.csv')).write_text(content)
    options['columns'] = Columns(**options.get('columns', {}))
    return loading.load('spans', str(folder), split, **options)


@pytest.mark.parametrize('ending', ['csv', 'tsv'])
def test_a_table_has_a_question_and_its_answer_a_row(tmp_path, ending):
    content = TABLE if ending == 'csv' else TABLE.replace(',', '\t')
    loaded = own_table(tmp_path, content, name=f'train.{ending}')
    assert [e.id for e in loaded.examples] == ['q1', 'q2']
    assert [e.question for e in loaded.examples] == ['Who sat?', 'What?']
    # The first place where the text holds it.
    found = [(Answer('bear', 17),), (Answer('The end', CONTEXT.index('The end')),)]
    assert [e.answers for e in loaded.examples] == found
    assert not loaded.complaints.counts
    assert loaded.examples[1].where == f'{tmp_path}/train.{ending}:3'


def test_columns_of_questions_go_by_number(tmp_path):
    rows = ''.join(f'{line}\n' for line in TABLE.split('\n')[1:3]).replace(',', ';')
    columns = {'id': '0', 'question': '1', 'context': '2', 'answers': '-1'}
    columns |= {'header': False, 'separator': ';'}
    loaded = own_table(tmp_path, rows, columns=columns)
    assert [(e.id, e.question, e.references) for e in loaded.examples] == [
        ('q1', 'Who sat?', ('bear',)),
        ('q2', 'What?', ('The end',)),
    ]
    for part in ('id', 'question', 'context', 'answers'):
        with pytest.raises(errors.DataError, match=rf"no column '9' for {part}; it has '0', '1'"):
            own_table(tmp_path, rows, columns={**columns, part: '9'})


def test_tables_of_questions_without_ids_or_answers(tmp_path):
    content = f'question,context,answers\nWho?,{CONTEXT},\nWho?,{CONTEXT},bear\n'
    loaded = own_table(tmp_path, content, unanswerable=True)
    assert [(e.id, e.impossible) for e in loaded.examples] == [('0', True), ('1', False)]
    with pytest.raises(errors.DataError, match=r"train\.csv:2: question '0' has no answer"):
        own_table(tmp_path, content)
    content = content.replace(',bear\n', ',wolf\n')
    with pytest.raises(
        errors.DataError, match=r"csv:3: the answer 'wolf' does not occur in the text"
    ):
        own_table(tmp_path, content, unanswerable=True)
    content = f'question,context\nWho?,{CONTEXT}\n'
    with pytest.raises(errors.DataError, match="no column 'answers'; it has 'question', 'context'"):
        own_table(tmp_path, content)
    assert own_table(tmp_path, content, 'test').examples[0].answers == ()


@pytest.mark.parametrize(
    ('mark', 'impossible'), [('True', True), ('False', False), ('1', True), ('0', False)]
)
def test_a_table_marks_questions_without_an_answer_in_words(tmp_path, mark, impossible):
    answer = '' if impossible else 'bear'
    content = f'question,context,answers,is_impossible\nWho?,{CONTEXT},{answer},{mark}\n'
    (example,) = own_table(tmp_path, content, unanswerable=True).examples
    assert example.impossible == impossible


def mrqa(**changes) -> str:
    answer = {'text': 'Bear', 'char_spans': [[17, 20], [8, 10]], 'token_spans': [[4, 4]]}
    question = {'qid': 'm1', 'question': 'Who?', 'detected_answers': [answer]}
    question |= {'answers': ['bear', 'the bear', 'Bruin'], **changes}
    rows = [{'header': {'dataset': 'NewsQA'}}, {'context': CONTEXT, 'qas': [question]}]
    return '\n'.join(map(json.dumps, rows)) + '\n'


def test_mrqa_files_with_spans_of_characters(tmp_path):
    (tmp_path / 'train').mkdir()
    (tmp_path / 'train' / 'NewsQA.jsonl.gz').write_bytes(gzip.compress(mrqa().encode()))
    loaded = loading.load('newsqa', str(tmp_path), 'train')
    (example,) = loaded.examples
    assert example.answers == (Answer('bear', 17), Answer('sat', 8))
    assert example.references == ('bear', 'the bear', 'Bruin')
    assert loaded.complaints.counts == {}


@pytest.mark.parametrize(
    ('changes', 'words'),
    [
        ({'detected_answers': [{'text': 'bear'}]}, 'detected_answers cannot be read .*char_spans'),
        ({'detected_answers': [{'char_spans': [[17]]}]}, 'detected_answers cannot be read'),
        ({'qid': ''}, 'no qid in'),
        ({'qid': '\ud800'}, 'in the id: half a character'),
        ({'answers': ['bear', '\ud800']}, 'in an answer: half a character'),
        ({'answers': 7}, 'answers must be a list of texts, found 7'),
        ({'detected_answers': []}, "question 'm1' has no answer"),
    ],
)
def test_bad_mrqa_questions_are_named(tmp_path, changes, words):
    with pytest.raises(errors.DataError, match=rf'train\.jsonl:2: .*{words}'):
        load(tmp_path, mrqa(**changes), 'newsqa', name='train.jsonl')


@pytest.mark.skipif('ELECTRA_DATA' not in os.environ, reason='ELECTRA_DATA is not set')
@pytest.mark.parametrize(('split', 'count'), [('train', 87_599), ('dev', 10_570)])
def test_the_real_files_are_read_completely(split, count):
    folder = pathlib.Path(os.environ['ELECTRA_DATA'])
    loaded = loading.load('squad1', str(folder), split)
    assert len(loaded.examples) == count
    assert loaded.complaints.counts == {}
    for example in loaded.examples:
        for answer in example.answers:
            assert example.context.startswith(answer.text, answer.start)
