"""Tables as other programs write, join and cut them: read right, or refused, never in silence."""

import io
import json
import zipfile

import pytest

from electra_jax.core import errors
from electra_jax.finetune.files import answer_starts
from tests.support import loading


def load(folder, content, name='train.csv', task='text', **options):
    (folder / name).write_bytes(content if isinstance(content, bytes) else content.encode())
    return loading.load(task, str(folder), 'train', **options)


def rows(loaded):
    return [(e.text_a, e.label) for e in loaded.examples]


def printed(loaded):
    return '\n'.join(loaded.complaints.lines())


def classes(*labels):
    return 'text,label\n' + ''.join(f'text {i},{label}\n' for i, label in enumerate(labels))


@pytest.mark.parametrize('end', ['\n', '\r\n', '\r'])
def test_files_that_were_joined_leave_no_header_and_no_mark(tmp_path, end):
    one = '\ufefftext,label\na,pos\nb,neg\n'.replace('\n', end)
    loaded = load(tmp_path, one + one.replace('a,pos', 'c,pos'))
    assert rows(loaded) == [('a', 'pos'), ('b', 'neg'), ('c', 'pos'), ('b', 'neg')]
    assert loading.counts(loaded.complaints) == {'repeated_header': 1}
    assert 'train.csv:4' in printed(loaded)


def test_objects_that_were_joined_are_read(tmp_path):
    lines = '\ufeff{"text": "a", "label": "x"}\r\n\ufeff{"text": "b", "label": "y"}\r\n'
    assert rows(load(tmp_path, lines, 'train.jsonl')) == [('a', 'x'), ('b', 'y')]


def test_a_first_line_may_name_the_separator(tmp_path):
    loaded = load(tmp_path, 'sep=;\ntext;label\na, b;x\nc;y\n')
    assert rows(loaded) == [('a, b', 'x'), ('c', 'y')]
    assert loaded.examples[0].where.endswith('train.csv:3')


def test_spaces_around_names_and_columns_of_nothing_mean_nothing(tmp_path):
    loaded = load(tmp_path, 'text, label ,,\na, x,,\nb, y,,\n')
    assert rows(loaded) == [('a', 'x'), ('b', 'y')] and not printed(loaded)
    assert 'not read' in printed(load(tmp_path, 'text, label ,,\na, x,,\nb, y,,9\n'))


def test_a_workbook_is_named_with_the_command_that_makes_a_table(tmp_path):
    data = io.BytesIO()
    with zipfile.ZipFile(data, 'w') as book:
        book.writestr('[Content_Types].xml', '<x/>')
        book.writestr('xl/workbook.xml', '<x/>')
    with pytest.raises(errors.DataError, match=r'Excel workbook.*--convert-to csv --outdir'):
        load(tmp_path, data.getvalue())
    with pytest.raises(errors.DataError, match=r'old Office .*--convert-to csv --outdir'):
        load(tmp_path, b'\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1' + bytes(600))


def test_quotes_that_enclose_lines_are_named_where_they_are_characters(tmp_path):
    with pytest.raises(errors.DataError, match=r'tsv:2: 1 cell .*quotation marks enclose cells in'):
        load(tmp_path, 'text\tlabel\n"a\nb"\tx\nc\ty\n', 'train.tsv')


def test_all_columns_that_are_missing_are_named_together(tmp_path):
    asked = r'text_a=NAME --config\S+label=NAME'
    for labels in ((), ('x', 'y')):
        with pytest.raises(errors.DataError, match=rf"'text' for text_a and none 'label'.*{asked}"):
            load(tmp_path, 'body,topic\na,x\n', labels=labels)
    with pytest.raises(errors.DataError, match=r'source=NAME --config\.task\.columns\.target=NAME'):
        load(tmp_path, 'english,german\na,b\n', task='seq2seq')
    asked = r'context=NAME --config\S+question=NAME --config\S+answers=NAME'
    with pytest.raises(errors.DataError, match=asked):
        load(tmp_path, 'a,b,c\nd,e,f\n', task='spans')


def test_all_fields_that_an_object_lacks_are_named_together(tmp_path):
    with pytest.raises(errors.DataError, match=r"'text' and none 'label'.*text_a=NAME --config"):
        load(tmp_path, '{"body": "a", "topic": "x"}', 'train.jsonl')


@pytest.mark.parametrize(
    ('task', 'content'),
    [
        ('seq2seq', 'source,target,other\na,b,c\n'),
        ('spans', 'context,question,answers,other\nAna is here,Who?,Ana,c\n'),
        ('tagging', 'words,tags,other\nAna is,B-X O,c\n'),
    ],
)
def test_columns_that_are_not_read_are_named_for_every_kind_of_task(tmp_path, task, content):
    assert printed(load(tmp_path, content, task=task)).endswith("that are not read: 'other'")


@pytest.mark.parametrize('label', ['1,5', '-1.500,25', '1 000,5'])
def test_decimal_commas_are_named(tmp_path, label):
    with pytest.raises(errors.DataError, match=r'not a finite number; decimals follow a point'):
        load(tmp_path, f'text\tlabel\na\t{label}\nb\t2\n', 'train.tsv', 'text_regression')


def test_forms_of_unicode_make_no_other_class(tmp_path):
    loaded = load(tmp_path, classes('caf\xe9', 'cafe\u0301', 'tea'))
    assert loaded.task.labels == ('caf\xe9', 'tea')
    known = loading.Known(('cafe\u0301', 'tea'))  # a checkpoint's
    (tmp_path / 'dev.csv').write_text(classes('caf\xe9'))
    dev = loading.load('text', str(tmp_path), 'dev', known)
    assert [e.label for e in dev.examples] == ['cafe\u0301']


@pytest.mark.parametrize(
    ('pair', 'shown'),
    [
        (('pos', 'pos\u200b'), r"'pos\\u200b' \(1 time\) differ"),
        (('\u2764', '\u2764\ufe0f'), r"'\\u2764\\ufe0f' \(1 time\) differ"),
        (('a b', 'a\xa0b'), r"'a\\xa0b' \(1 time\) differ"),
        (('true', '1'), r"'1' \(1 time\) mean the same"),
    ],
)
def test_classes_that_look_like_one_are_named(tmp_path, pair, shown):
    with pytest.raises(errors.DataError, match=shown):
        load(tmp_path, classes('other', *pair))
    assert load(tmp_path, classes('other', *pair), labels=('other', *pair)).task.labels[1:] == pair


def test_minus_one_and_one_are_classes_that_are_reported(tmp_path):
    assert '-1 and 1 are read as two classes' in printed(load(tmp_path, classes('-1', '1')))
    labels = ('negative', 'positive')
    loaded = load(tmp_path, classes('-1', '1'), labels=labels)
    assert loaded.task.labels == labels and 'two classes' not in printed(loaded)


def test_characters_of_html_are_reported(tmp_path):
    loaded = load(tmp_path, 'text,label\nyou &amp; me,x\nAT&T; &co,y\n')
    assert loading.counts(loaded.complaints) == {'entities': 1}
    assert rows(loaded)[0][0] == 'you &amp; me'


def test_lists_in_cells_are_several_classes_and_other_signs_are_named(tmp_path):
    content = 'text,label\na,"[\'x\', \'y\']"\nb,"[""x""]"\nc,[]\nd,x|y\n'
    loaded = load(tmp_path, content, task='text_multi_label')
    assert [e.label for e in loaded.examples] == [('x', 'y'), ('x',), (), ('x', 'y')]
    content = 'text,label\na,x;y\nb,x\nc,y\n'
    assert 'write x|y' in printed(load(tmp_path, content, task='text_multi_label'))
    assert not printed(load(tmp_path, 'text,label\na,x;z\nb,x\n', task='text_multi_label'))


def test_a_field_that_is_there_twice_is_refused(tmp_path):
    twice = '{"text": "a", "label": "x", "label": "y"}\n'
    with pytest.raises(errors.DataError, match=r"jsonl:1: .*'label' is there twice"):
        load(tmp_path, twice, 'train.jsonl')


def test_objects_over_several_lines_are_named_with_the_command_that_helps(tmp_path):
    whole = json.dumps({'text': 'a', 'label': 'x'}, indent=1)
    with pytest.raises(errors.DataError, match=r'jsonl:1: .*: jq -c \. \S+train\.jsonl > NEW'):
        load(tmp_path, f'{whole}\n{whole}\n', 'train.jsonl')


# ---------------------------------------------------------------------------------------------
# Starts of answers

CONTEXT = 'Zoë 😀 saw Ana, and Ana saw Ana but Ana left.'
STARTS = [i for i in range(len(CONTEXT)) if CONTEXT.startswith('Ana', i)]
UNITS = {
    'characters': len,
    'halves of UTF-16': lambda text: len(text.encode('utf-16-le')) // 2,
    'bytes of UTF-8': lambda text: len(text.encode()),
}


@pytest.mark.parametrize('unit', UNITS)
def test_starts_of_answers_are_read_in_what_they_count(tmp_path, unit):
    lines = [
        {'context': CONTEXT, 'question': 'Who?',
         'answers': [{'text': 'Ana', 'answer_start': UNITS[unit](CONTEXT[:start])}]}
        for start in STARTS
    ]  # fmt: skip
    content = '\n'.join(map(json.dumps, lines))
    loaded = load(tmp_path, content, 'train.jsonl', 'spans')
    assert [e.answers[0].start for e in loaded.examples] == STARTS
    assert not loaded.complaints.counts
    assert (unit in printed(loaded)) == (unit != 'characters')


def test_starts_that_fit_nowhere_stay_and_are_counted(tmp_path):
    answers = [answer_starts.Given(CONTEXT, 'Ana', start) for start in (-3, 3, 10**6)]
    assert answer_starts.find_unit(answers) == ('characters', None)
    for start in (-3, 3):
        assert answer_starts.in_characters(CONTEXT, start, 'bytes of UTF-8') == start
    line = {'context': CONTEXT, 'question': 'Who?', 'answers': [{'text': 'Ana', 'answer_start': 1}]}
    loaded = load(tmp_path, json.dumps(line), 'train.jsonl', 'spans')
    assert loading.counts(loaded.complaints) == {'moved_answer': 1}


def test_another_form_of_unicode_is_named_where_an_answer_is_not_found(tmp_path):
    line = {'context': 'In S\xe3o Paulo.', 'question': 'Where?',
            'answers': [{'text': 'Sa\u0303o Paulo', 'answer_start': 3}]}  # fmt: skip
    with pytest.raises(errors.DataError, match='NFC and NFD'):
        load(tmp_path, json.dumps(line), 'train.jsonl', 'spans')
