"""Task files become examples; what must be refused is reported with file, line and value."""

import bz2
import gzip
import json
import os
import pathlib
import shutil
import zipfile

import numpy as np
import pytest

from electra_jax.core import errors
from electra_jax.finetune import known as table
from electra_jax.finetune.examples import TextExample
from electra_jax.finetune.files import locate
from electra_jax.finetune.files.tables import Columns
from electra_jax.finetune.kinds.table import KINDS as TASK_KINDS
from electra_jax.finetune.split import with_pairs_swapped
from tests.support import loading, tfds_files
from tests.support.configs import settings_of
from tests.support.loading import Known


def write(folder: pathlib.Path, name: str, content: str | bytes) -> pathlib.Path:
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return path


def load(folder, task='text', split='train', known=None, **options):
    if 'columns' in options:
        options['columns'] = Columns(**options['columns'])
    return loading.load(task, str(folder), split, known, **options)


def texts(loaded) -> list[tuple]:
    return [(e.text_a, e.text_b, e.label) for e in loaded.examples]


# ---------------------------------------------------------------------------------------------
# Tables


GOOD = [('good film', None, 'yes'), ('bad, bad film', None, 'no')]
FILES = {
    'train.csv': 'text,label\ngood film,yes\n"bad, bad film",no\n',
    'train.tsv': 'text\tlabel\ngood film\tyes\nbad, bad film\tno\n',
    'train.jsonl': '{"text": "good film", "label": "yes"}\n'
    '{"text": "bad, bad film", "label": "no"}\n',
}


SCORED_PAIRS = [('a good film', 'bad', 0.5), ('one', 'two', 1.5)]
FILES_OF_PAIRS = {
    'train.csv': 'text_a,text_b,NAME\na good film,bad,0.5\none,two,1.5\n',
    'train.jsonl': '{"text_a": "a good film", "text_b": "bad", "NAME": 0.5}\n'
    '{"text_a": "one", "text_b": "two", "NAME": 1.5}\n',
}


@pytest.mark.parametrize('name', FILES_OF_PAIRS)
@pytest.mark.parametrize('label', ['label', 'score'])
def test_pairs_and_scores_may_be_called_as_their_fields_are(tmp_path, name, label):
    write(tmp_path, name, FILES_OF_PAIRS[name].replace('NAME', label))
    loaded = load(tmp_path, 'text_regression')
    assert texts(loaded) == SCORED_PAIRS
    columns = loaded.task.usual_columns  # which the checkpoint keeps, for predict
    assert (columns.text_a, columns.text_b, columns.label) == ('text_a', 'text_b', label)
    if label == 'label':
        assert texts(load(tmp_path, 'text'))[0] == ('a good film', 'bad', '0.5')
    else:  # a class is no score
        with pytest.raises(errors.DataError, match=r"no (column|field) 'label'"):
            load(tmp_path, 'text')


def test_a_table_with_the_usual_column_is_read_as_one_of_single_texts(tmp_path):
    write(tmp_path, 'train.csv', 'text,text_a,text_b,label\ngood,x,,yes\nbad,y,,no\n')
    assert texts(load(tmp_path)) == [('good', None, 'yes'), ('bad', None, 'no')]
    path = write(tmp_path, 'train.csv', 'text_a,text_b,label\ngood,x,yes\n')
    with pytest.raises(errors.DataError, match="no column 'body'"):
        load(tmp_path, columns={'text_a': 'body'})
    path.write_text('text_a,label\ngood,yes\n')
    with pytest.raises(errors.DataError, match="no column 'text' for text_a"):
        load(tmp_path)


@pytest.mark.parametrize('name', FILES)
@pytest.mark.parametrize('form', ['plain', 'marked', 'windows', 'packed'])
def test_every_kind_of_table_gives_the_same_examples(tmp_path, name, form):
    data = FILES[name].encode()
    if form == 'marked':
        data = b'\xef\xbb\xbf' + data
    elif form == 'windows':
        data = data.replace(b'\n', b'\r\n')
    elif form == 'packed':
        name, data = f'{name}.gz', gzip.compress(data)
    write(tmp_path, name, data)
    loaded = load(tmp_path)
    assert texts(loaded) == GOOD
    assert loaded.task.labels == ('no', 'yes')
    assert loaded.complaints.counts == {}
    assert [e.id for e in loaded.examples] == ['0', '1']


@pytest.mark.parametrize('name', ['train.json', 'train.jsonl'])
@pytest.mark.parametrize('form', ['lines', 'list', 'indented list', 'packed list'])
def test_a_json_file_is_a_list_of_objects_or_lines_of_them(tmp_path, form, name):
    data, plain = FILES['train.jsonl'].encode(), name
    if form != 'lines':
        indent = 2 if form == 'indented list' else None
        data = json.dumps(list(map(json.loads, data.splitlines())), indent=indent).encode()
    if form == 'packed list':
        name, data = f'{name}.gz', gzip.compress(data)
    assert texts(load(write(tmp_path, name, data))) == GOOD
    write(tmp_path, plain, '[{"text": "good film"}, 3]')
    with pytest.raises(errors.DataError, match=rf'{plain}: row 1: .* found a int'):
        load(tmp_path / plain, columns={'label': 'text'})
    write(tmp_path, plain, '[{"text": "good film"}')
    with pytest.raises(errors.DataError, match=rf'{plain}:1: not JSON'):
        load(tmp_path / plain)


def test_lines_may_end_in_carriage_returns_alone(tmp_path):
    write(tmp_path, 'train.csv', FILES['train.csv'].replace('\n', '\r'))
    assert texts(load(tmp_path)) == GOOD


def test_columns_are_chosen_by_name_and_by_number(tmp_path):
    write(tmp_path, 'train.tsv', 'key\tq\ta\tgold\nk1\tone\ttwo\t1\nk2\tthree\tfour\t0\n')
    columns = {'text_a': 'q', 'text_b': 'a', 'label': 'gold', 'id': 'key'}
    loaded = load(tmp_path, columns=columns)
    assert texts(loaded) == [('one', 'two', '1'), ('three', 'four', '0')]
    assert [e.id for e in loaded.examples] == ['k1', 'k2']
    write(tmp_path, 'train.tsv', 'k1\tone\ttwo\t1\nk2\tthree\tfour\t0\n')
    columns = {'text_a': '1', 'text_b': '2', 'label': '-1', 'id': '0', 'header': False}
    again = load(tmp_path, columns=columns)
    assert texts(again) == texts(loaded)
    assert [e.where for e in again.examples] == [f'{tmp_path}/train.tsv:{i}' for i in (1, 2)]


PAIRS = {
    'train.csv': 'text,text_b,label\na,b,1\nc,d,0\n',
    'train.jsonl': '{"text": "a", "text_b": "b", "label": 1}\n'
    '{"text": "c", "text_b": "d", "label": 0}\n',
}


@pytest.mark.parametrize('name', PAIRS)
@pytest.mark.parametrize('task', ['text', 'text_regression'])
def test_a_second_text_that_would_not_be_read_is_refused(tmp_path, task, name):
    write(tmp_path, name, PAIRS[name])
    with pytest.raises(errors.DataError, match=r"'text_b'.*--config\.task\.columns\.text_b=text_b"):
        load(tmp_path, task)
    loaded = load(tmp_path, task, columns={'text_b': 'text_b'})
    assert [t[:2] for t in texts(loaded)] == [('a', 'b'), ('c', 'd')]
    loaded = load(tmp_path, task, columns={'text_a': 'text_b'})
    assert [t[:2] for t in texts(loaded)] == [('b', None), ('d', None)]


def test_quotation_marks_are_text_in_tsv_and_quotes_in_csv(tmp_path):
    write(tmp_path, 'train.tsv', 'text\tlabel\n"half open\t1\nx "y"\t0\n')
    assert [t[0] for t in texts(load(tmp_path))] == ['"half open', 'x "y"']
    (tmp_path / 'train.tsv').unlink()
    write(tmp_path, 'train.csv', 'text,label\n"two\nlines, ""quoted""",1\nx,0\n')
    loaded = load(tmp_path)
    assert loaded.examples[0].text_a == 'two\nlines, "quoted"'
    assert [e.where for e in loaded.examples] == [f'{tmp_path}/train.csv:{i}' for i in (2, 4)]


def test_spaces_around_a_text_are_no_part_of_it(tmp_path):
    write(tmp_path, 'train.tsv', 'text\tother\tlabel\n a \t b\u00a0\t 1 \nc\td\t0\n')
    loaded = load(tmp_path, columns={'text_b': 'other'})
    assert texts(loaded) == [('a', 'b', '1'), ('c', 'd', '0')]


def test_only_line_feeds_end_lines(tmp_path):
    write(tmp_path, 'train.tsv', 'text\tlabel\na\u2028b\x85c\t1\nd\u00a0e\x0cf\t0\n')
    assert [t[0] for t in texts(load(tmp_path))] == ['a\u2028b\x85c', 'd\u00a0e\x0cf']


def test_another_separator(tmp_path):
    write(tmp_path, 'train.csv', 'text;label\na, b;1\nc;0\n')
    assert texts(load(tmp_path, columns={'separator': ';'}))[0] == ('a, b', None, '1')
    with pytest.raises(
        errors.DataError, match=r"if ';' separates the cells, type --config.task.separator=';'"
    ):
        load(tmp_path)


def test_a_backslash_and_a_t_are_a_tab(tmp_path):
    # What a shell makes of --config.task.separator='\\t'.
    for name in ('train.csv', 'train.tsv'):
        write(tmp_path, name, 'text\tlabel\na, b\t1\nc\t0\n')
        found = load(tmp_path / name, columns={'separator': '\\t'})
        assert texts(found)[0] == ('a, b', None, '1')


@pytest.mark.parametrize('separator', ['||', '"', '\n'])
@pytest.mark.parametrize('name', ['train.csv', 'train.tsv'])
def test_one_character_separates_cells(tmp_path, name, separator):
    path = write(tmp_path, name, 'text||label\na||1\nc||0\n')
    with pytest.raises(errors.ConfigError, match=r'separator is .*one character') as caught:
        load(path, columns={'separator': separator})
    assert repr(separator) in str(caught.value)


def test_labels_found_are_in_order_and_labels_given_are_kept(tmp_path):
    rows = ''.join(f'text {i}\t{i}\n' for i in (10, 9, -1))
    write(tmp_path, 'train.tsv', f'text\tlabel\n{rows}')
    assert load(tmp_path).task.labels == ('-1', '9', '10')
    assert load(tmp_path, labels=('9', '10', '-1')).task.labels == ('9', '10', '-1')
    write(tmp_path, 'train.tsv', 'text\tlabel\nx\ttrue\ny\tfalse\n')
    assert load(tmp_path).task.labels == ('false', 'true')


def test_json_labels_may_be_numbers_and_truth_values(tmp_path):
    write(tmp_path, 'train.jsonl', '{"text": "a", "label": 1}\n{"text": "b", "label": 0}\n')
    assert [e.label for e in load(tmp_path).examples] == ['1', '0']
    write(tmp_path, 'train.jsonl', '{"text": "a", "label": true}\n{"text": "b", "label": false}\n')
    assert load(tmp_path).task.labels == ('false', 'true')


def test_one_class_is_no_classification(tmp_path):
    write(tmp_path, 'train.tsv', 'text\tlabel\nx\t1\ny\t1\n')
    with pytest.raises(errors.DataError, match="two classes or more, and its labels are '1'"):
        load(tmp_path)


def test_test_files_need_no_labels(tmp_path):
    known = Known(('0', '1'))
    write(tmp_path, 'test.csv', 'text\nonly text\n')
    assert texts(load(tmp_path, split='test', known=known)) == [('only text', None, None)]
    write(tmp_path, 'test.csv', 'text,label\na,\nb,-1\nc,1\n')
    assert [t[2] for t in texts(load(tmp_path, split='test', known=known))] == [None, None, '1']
    write(tmp_path, 'test.csv', 'text,label\na,7\n')
    with pytest.raises(errors.DataError, match=r"test\.csv:2: the label '7' is not one"):
        load(tmp_path, split='test', known=known)


# ---------------------------------------------------------------------------------------------
# Bad input. Each case: the file, what the message must name, and the kind it is counted as.


TSV = 'text\tlabel\nfine\t1\n{}\nalso fine\t0\n'
BAD_ROWS = {
    'few cells': (TSV.format('torn'), "train.tsv:3: 1 cell where the first line has 2: 'torn'"),
    'many cells': (TSV.format('a\tb\tc'), 'train.tsv:3: 3 cells where the first line has 2'),
    'empty text': (TSV.format(' \t1'), "train.tsv:3: .*column 'text'.* empty .*' '"),
    'no label': (TSV.format('x\t'), 'train.tsv:3: the row has no label'),
    'latin-1': (
        TSV.format('caf\xe9 noir\t1').encode('latin-1'),
        r'train.tsv:3: character 4 of the line is not UTF-8 .*caf.xe9.*iconv -f LATIN1',
    ),
    'nul': (TSV.format('a\0b\t1'), "train.tsv:3: a NUL character after 'a'"),
}
KINDS = {
    'few cells': 'bad_width',
    'many cells': 'bad_width',
    'empty text': 'empty_text',
    'no label': 'unknown_label',
    'latin-1': 'not_text',
    'nul': 'not_text',
}


@pytest.mark.parametrize('case', BAD_ROWS)
def test_a_bad_row_is_named_or_counted(tmp_path, case):
    content, words = BAD_ROWS[case]
    write(tmp_path, 'train.tsv', content)
    with pytest.raises(errors.DataError, match=words) as caught:
        load(tmp_path)
    assert '--config.data.on_bad_row=skip' in str(caught.value)
    loaded = load(tmp_path, on_bad_row='skip')
    assert texts(loaded) == [('fine', None, '1'), ('also fine', None, '0')]
    assert loading.counts(loaded.complaints) == {KINDS[case]: 1}
    (line,) = loaded.complaints.lines()
    assert line.startswith('1 row ') and 'train.tsv:3' in line


JSONL = '{{"text": "fine", "label": "1"}}\n{}\n{{"text": "also", "label": "0"}}\n'
BAD_JSON = {
    'torn': ('{"text": "half', 'bad_json', 'train.jsonl:2: not JSON .*half'),
    'list': ('["x", "1"]', 'bad_json', 'train.jsonl:2: a JSON object is needed, found a list'),
    'no text': ('{"txt": "x", "label": 1}', 'missing_field', "no field 'text'; it has 'label'"),
    'no label': ('{"text": "x"}', 'missing_field', "no field 'label'; it has 'text'"),
    'number': ('{"text": 3, "label": "1"}', 'not_text', r'3 \(int\) is not text'),
    'null': ('{"text": null, "label": "1"}', 'not_text', r'None \(NoneType\) is not text'),
    'half character': ('{"text": "\\ud800", "label": "1"}', 'not_text', 'half a character'),
    'half id': ('{"text": "a", "label": "1", "id": "\\udfff"}', 'not_text', 'in the id: half a'),
    'half label': ('{"text": "a", "label": "\\ud800"}', 'unknown_label', "half a char.*'label'"),
    'nul label': ('{"text": "a", "label": "0\\u0000"}', 'unknown_label', "a NUL char.*'label'"),
    'escaped nul': ('{"text": "a\\u0000", "label": "1"}', 'not_text', 'a NUL character'),
    'deep': ('[' * 100_000, 'bad_json', 'train.jsonl:2: not JSON'),
}


@pytest.mark.parametrize('case', BAD_JSON)
def test_a_bad_json_line_is_named_or_counted(tmp_path, case):
    line, kind, words = BAD_JSON[case]
    write(tmp_path, 'train.jsonl', JSONL.format(line))
    columns = {'id': 'id'}
    with pytest.raises(errors.DataError, match=words) as caught:
        load(tmp_path, columns=columns)
    assert 'train.jsonl:2' in str(caught.value)
    str(caught.value).encode()
    loaded = load(tmp_path, columns=columns, on_bad_row='skip')
    assert [t[0] for t in texts(loaded)] == ['fine', 'also']
    assert loading.counts(loaded.complaints) == {kind: 1}


@pytest.mark.parametrize(
    ('name', 'content', 'words'),
    [
        ('train.tsv', '', 'the file is empty'),
        ('train.tsv', ' \n\n', 'the file is empty'),
        ('train.tsv', 'text\tlabel\n', 'no usable rows after the header'),
        ('train.csv', 'text,label\n', 'no usable rows after the header'),
        ('train.jsonl', '', 'the file is empty'),
        (
            'train.tsv',
            'txt\tlabel\na\t1\n',
            "no column 'text' for text_a; it has 'txt', 'label'; d",
        ),
        ('train.tsv', 'text\tlabl\na\t1\n', "no column 'label'; it has.*did you mean 'labl'"),
        ('train.tsv', 'a film\t1\nb film\t0\n', 'no header: --config.task.header=False'),
        ('train.tsv', 'text\ttext\na\t1\n', "the header names 'text' twice"),
        ('train.csv', 'text,label\na,1\n"b,0\nc,1\n', r'train\.csv:3: a quotation mark opens here'),
    ],
)
@pytest.mark.parametrize('on_bad_row', ['error', 'skip'])
def test_a_useless_file_is_refused_under_both_policies(tmp_path, name, content, words, on_bad_row):
    write(tmp_path, name, content)
    with pytest.raises(errors.DataError, match=words):
        load(tmp_path, on_bad_row=on_bad_row)


def test_the_error_for_a_file_without_usable_rows_names_the_first_problem(tmp_path):
    write(tmp_path, 'train.tsv', 'text\tlabel\n \t1\n\t0\n')
    with pytest.raises(
        errors.DataError, match=r'no usable rows; .*train\.tsv:2: .*text.* is empty'
    ):
        load(tmp_path, on_bad_row='skip')


def test_a_torn_compressed_file_is_refused_or_read_up_to_the_damage(tmp_path):
    rows = ''.join(f'{{"text": "text {i}", "label": "{i % 2}"}}\n' for i in range(5000))
    write(tmp_path, 'train.jsonl.gz', gzip.compress(rows.encode())[:-2000])
    with pytest.raises(errors.DataError, match='torn'):
        load(tmp_path)
    loaded = load(tmp_path, on_bad_row='skip')
    assert 100 < len(loaded.examples) < 5000
    assert loading.counts(loaded.complaints)['torn_file'] == 1


def test_a_quoted_cell_with_a_line_that_is_no_text_is_left_out_whole(tmp_path):
    rows = [b'text,label', b'"one', b'caf\xe9 ""noir""', b'three",1', b'"four', b'five",1', b'x,0']
    write(tmp_path, 'train.csv', b'\n'.join(rows) + b'\n')
    with pytest.raises(
        errors.DataError, match=r'train\.csv:2: character 4 of the line is not UTF-8'
    ):
        load(tmp_path)
    loaded = load(tmp_path, on_bad_row='skip')
    assert [t[0] for t in texts(loaded)] == ['four\nfive', 'x']
    assert loading.counts(loaded.complaints) == {'not_text': 1}


def test_a_quote_in_the_middle_of_a_csv_row_is_named(tmp_path):
    write(tmp_path, 'train.csv', 'text,label\na,1\n"b" c,1\nd,0\n')
    with pytest.raises(errors.DataError, match=r'train\.csv:3: the line cannot be cut into cells'):
        load(tmp_path)
    assert len(load(tmp_path, on_bad_row='skip').examples) == 2


def test_blank_lines_are_no_rows(tmp_path):
    for name in ('train.tsv', 'train.csv', 'train.jsonl'):
        write(tmp_path, name, FILES[name].replace('\n', '\n\n'))
        loaded = load(tmp_path / name)
        assert texts(loaded) == GOOD and loaded.complaints.counts == {}


def test_an_unknown_label_lists_the_known_ones(tmp_path):
    write(tmp_path, 'dev.tsv', 'text\tlabel\nx\tpositiv\n')
    with pytest.raises(
        errors.DataError,
        match=r"dev\.tsv:2: the label 'positiv' .*'negative', 'positive'; did you mean 'positive'",
    ):
        load(tmp_path, split='dev', known=Known(('negative', 'positive')))


def test_an_unknown_policy_is_refused():
    with pytest.raises(errors.ConfigError, match=r'config\.data\.on_bad_row'):
        settings_of({'data': {'on_bad_row': 'ignore'}})


# ---------------------------------------------------------------------------------------------
# Scores


def test_scores_and_their_range(tmp_path):
    write(tmp_path, 'train.csv', 'text,label\na,1.5\nb,-2\nc,7e0\n')
    loaded = load(tmp_path, 'text_regression')
    assert [e.label for e in loaded.examples] == [1.5, -2.0, 7.0]
    assert loaded.task.score_range == (-2.0, 7.0)
    write(tmp_path, 'dev.csv', 'text,label\na,9\n')
    dev = load(tmp_path, 'text_regression', 'dev', loaded.task)
    assert [e.label for e in dev.examples] == [9.0]
    assert dev.task.score_range == (-2.0, 7.0)
    write(tmp_path, 'train.csv', 'text,label\na,1\nb,1\n')
    with pytest.raises(errors.DataError, match=r'every score is 1\.0'):
        load(tmp_path, 'text_regression')


@pytest.mark.parametrize('value', ['high', '', 'nan', 'inf', '5.1', '-0.1', '1,5'])
def test_a_score_that_is_none_is_named(tmp_path, value):
    header = 'index\tgenre\tsentence1\tsentence2\tscore\n'
    write(tmp_path, 'train.tsv', f'{header}0\tx\ta\tb\t{value}\n1\tx\ta\tb\t4\n2\tx\ta\tb\t3\n')
    with pytest.raises(errors.DataError, match=rf'train\.tsv:2: the score .*{value}.*score'):
        load(tmp_path, 'stsb')
    loaded = load(tmp_path, 'stsb', on_bad_row='skip')
    assert loading.counts(loaded.complaints) == {'bad_score': 1}
    assert loaded.task.score_range == (0.0, 5.0)


@pytest.mark.parametrize('value', ['nan', 'inf', '-inf', 'true', 'null', '[1]', '"high"'])
def test_a_score_without_a_range_must_still_be_a_number(tmp_path, value):
    rows = ''.join(f'{{"text": "a", "label": {x}}}\n' for x in (1, 2, value))
    write(tmp_path, 'train.jsonl', rows.replace('nan', 'NaN').replace('inf', 'Infinity'))
    with pytest.raises(errors.DataError, match=r'train\.jsonl:3: the score .* finite number'):
        load(tmp_path, 'text_regression')


def test_pairs_are_swapped():
    pair = TextExample('3', 'a', 'b', 1.0, 'here')
    single = pair._replace(id='4', text_b=None)
    assert with_pairs_swapped([pair, single]) == [
        pair,
        single,
        TextExample('3-swapped', 'b', 'a', 1.0, 'here'),
    ]


# ---------------------------------------------------------------------------------------------
# Where the files are


def test_own_files_go_by_several_names(tmp_path):
    write(tmp_path, 'validation.csv', FILES['train.csv'])
    assert len(load(tmp_path, split='dev').examples) == 2
    write(tmp_path, 'validation.jsonl', FILES['train.jsonl'])
    with pytest.raises(errors.DataError, match='could both be the dev file'):
        load(tmp_path, split='dev')
    with pytest.raises(errors.DataError, match=r'holds validation\.csv.*train split in train'):
        load(tmp_path)
    with pytest.raises(errors.DataError, match='no folder of that name'):
        load(tmp_path / 'nowhere')
    assert len(load(tmp_path / 'validation.csv').examples) == 2


def test_optional_splits_that_are_not_there_are_none(tmp_path):
    write(tmp_path, 'MNLI/train.tsv', 'x')
    layout = table.get('mnli').files
    assert locate.find(layout, str(tmp_path), 'train').path.name == 'train.tsv'
    assert locate.find(layout, str(tmp_path), 'diagnostic') is None


def test_unknown_tasks_list_the_known():
    with pytest.raises(errors.ConfigError, match="did you mean 'sst2'"):
        table.get('sst-2')


# ---------------------------------------------------------------------------------------------
# GLUE


HEADERS = {
    'qqp': (
        'id\tqid1\tqid2\tquestion1\tquestion2\tis_duplicate\n',
        '7\t1\t2\tWhy "a?\tWhy b?\t1\n',
        ('7', 'Why "a?', 'Why b?', '1'),
    ),
    'qnli': (
        'index\tquestion\tsentence\tlabel\n',
        '7\tWhy?\tBecause.\tnot_entailment\n',
        ('7', 'Why?', 'Because.', 'not_entailment'),
    ),
    'mnli': (
        'index\tpromptID\tpairID\tgenre\tsentence1_binary_parse\tsentence2_binary_parse\t'
        'sentence1_parse\tsentence2_parse\tsentence1\tsentence2\tlabel1\tgold_label\n',
        '7\t1\t1n\tfiction\t( a )\t( b )\t(A)\t(B)\tA man.\tA dog.\tneutral\tneutral\n',
        ('7', 'A man.', 'A dog.', 'neutral'),
    ),
}


@pytest.mark.parametrize('task', HEADERS)
def test_official_headers_of_tasks_without_test_data(tmp_path, task):
    header, row, wanted = HEADERS[task]
    write(tmp_path, f'{task.upper()}/train.tsv', header + row)
    (example,) = load(tmp_path, task).examples
    assert (example.id, example.text_a, example.text_b, example.label) == wanted


def test_mnli_has_two_dev_and_three_test_files(tmp_path):
    header, row, _ = HEADERS['mnli']
    for name in ('dev_matched', 'dev_mismatched'):
        write(tmp_path, f'MNLI/{name}.tsv', header + row.replace('A man.', name))
    unlabelled = '\t'.join(header.split('\t')[:10]) + '\n'
    for name in ('test_matched', 'test_mismatched'):
        cells = row.replace('A man.', name).split('\t')[:10]
        write(tmp_path, f'MNLI/{name}.tsv', unlabelled + '\t'.join(cells) + '\n')
    write(tmp_path, 'MNLI/diagnostic.tsv', 'index\tsentence1\tsentence2\n0\tdiagnostic\tb\n')
    spec = table.get('mnli')
    found = [
        load(tmp_path, 'mnli', split).examples[0].text_a
        for split in (*spec.eval_splits, *spec.test_splits)
    ]
    assert found == [
        'dev_matched',
        'dev_mismatched',
        'test_matched',
        'test_mismatched',
        'diagnostic',
    ]


def test_rows_of_qqp_that_break_off_are_known(tmp_path):
    header, row, _ = HEADERS['qqp']
    write(tmp_path, 'QQP/train.tsv', header + row + '8\t1\t2\tbroken off\n' + row)
    loaded = load(tmp_path, 'qqp')
    assert len(loaded.examples) == 2
    assert loading.counts(loaded.complaints) == {'known_gap': 1}


COUNTS = {
    'sst2': (67_349, 872, 1_821),
    'cola': (8_551, 1_043, 1_063),
    'mrpc': (3_668, 408, 1_725),
    'stsb': (5_749, 1_500, 1_379),
    'rte': (2_490, 277, 3_000),
    'wnli': (635, 71, 146),
}


@pytest.mark.skipif('ELECTRA_DATA' not in os.environ, reason='ELECTRA_DATA is not set')
@pytest.mark.parametrize('task', COUNTS)
def test_official_glue_files_are_read_completely(task):
    folder = pathlib.Path(os.environ['ELECTRA_DATA']) / 'glue'
    spec, known = table.get(task), None
    own = loading.load(task, str(folder / spec.files.folders[0]), 'dev')
    assert own.examples == loading.load(task, str(folder), 'dev').examples
    for split, count in zip(('train', 'dev', 'test'), COUNTS[task], strict=True):
        loaded = loading.load(task, str(folder), split, known=known)
        known = known or loaded.task
        assert len(loaded.examples) == count
        assert loaded.complaints.counts.keys() <= {'entities'}
        assert all((example.label is None) == (split == 'test') for example in loaded.examples)
        if split == 'test':
            assert [e.id for e in loaded.examples] == [str(i) for i in range(count)]


def test_every_task_is_complete():
    for name, spec in table.TASKS.items():
        assert spec.kind in TASK_KINDS, name
        assert {'train', *spec.eval_splits, *spec.test_splits} <= set(spec.files.names), name
        assert set(spec.submissions) <= set(spec.test_splits)
        if spec.files.dataset and spec.files.dataset.labels:
            assert sorted(spec.files.dataset.labels.values()) == sorted(spec.labels)
    assert {name for name, spec in table.TASKS.items() if spec.double_unordered} == {'mrpc', 'stsb'}
    assert {name for name, spec in table.TASKS.items() if spec.epochs == 10} == {'rte', 'stsb'}


# ---------------------------------------------------------------------------------------------
# TensorFlow datasets


@pytest.fixture(scope='module')
def datasets(tmp_path_factory):
    """Small datasets under the names and with the features of the real ones."""
    tfds = pytest.importorskip('tensorflow_datasets')
    text, features = tfds.features.Text(), tfds.features
    folder = tmp_path_factory.mktemp('tfds')
    sst2 = {
        'sentence': text,
        'label': features.ClassLabel(names=['negative', 'positive']),
        'idx': np.int32,
    }
    squad = {
        'id': text,
        'title': text,
        'context': text,
        'question': text,
        'answers': features.Sequence({'text': text, 'answer_start': np.int32}),
    }
    conll = {
        'tokens': features.Sequence(text),
        'ner': features.Sequence(features.ClassLabel(names=['O', 'B-PER', 'I-PER'])),
    }
    answer = {'text': ['Ünal'], 'answer_start': [4]}
    content = {
        'glue/sst2/2.0.0': (
            sst2,
            {
                'train': [{'sentence': f'ünd {i}', 'label': i % 2, 'idx': i} for i in range(6)],
                'validation': [{'sentence': 'good', 'label': 1, 'idx': 0}],
                'test': [{'sentence': 'what', 'label': -1, 'idx': 0}],
            },
        ),
        'squad/v1.1/3.0.0': (
            squad,
            {
                'train': [
                    {'id': 'q', 'title': 't', 'context': 'Ask Ünal.', 'question': 'Who?'}
                    | {'answers': answer}
                ]
            },
        ),
        'conll2003/conll2003/1.0.0': (
            conll,
            {'train': [{'tokens': ['Ann', 'Lee', 'won'], 'ner': [1, 2, 0]}]},
        ),
    }
    for name, (kinds, splits) in content.items():
        dataset, *config, version = name.split('/')
        identity = tfds.core.DatasetIdentity(
            name=dataset,
            version=tfds.core.Version(version),
            data_dir=str(folder / name),
            module_name='',
            config_name=config[0] if config else None,
        )
        (folder / name).mkdir(parents=True)
        info = tfds.core.DatasetInfo(builder=identity, features=features.FeaturesDict(kinds))
        writer = tfds.core.SequentialWriter(info, 1000, file_format='array_record')
        writer.initialize_splits(list(splits))
        writer.add_examples(splits)
        writer.close_all()
    return folder


def test_a_dataset_reads_like_the_official_files(datasets):
    where = f'tfds:{datasets}/glue/sst2/2.0.0'
    loaded = load(where, 'sst2')
    assert [e.label for e in loaded.examples] == ['0', '1'] * 3
    assert loaded.examples[1][:2] == ('1', 'ünd 1')
    assert [e.label for e in load(where, 'sst2', 'dev').examples] == ['1']
    assert [e.label for e in load(where, 'sst2', 'test').examples] == [None]


@pytest.mark.parametrize('where', ['', 'glue/sst2', 'glue/sst2/2.0.0'])
def test_a_folder_with_a_prepared_dataset_is_refused_with_its_name(datasets, where):
    with pytest.raises(errors.DataError, match=rf'--config\.data\.path=tfds:{datasets}/\w+/'):
        load(datasets / where, 'sst2')


def test_labels_in_another_order_stay_with_their_rows(datasets):
    where = f'tfds:{datasets}/glue/sst2/2.0.0'
    loaded = load(where, 'sst2', labels=('1', '0'))
    assert [e.label for e in loaded.examples] == ['0', '1'] * 3
    assert loaded.task.labels == ('1', '0')
    again = load(where, 'sst2', 'dev', known=loaded.task)
    assert [e.label for e in again.examples] == ['1'] and again.task == loaded.task


@pytest.mark.parametrize('labels', [('0',), ('0', '1', '2'), ('no', 'yes')])
@pytest.mark.parametrize('prepared', [True, False])
def test_labels_of_an_official_task_are_its_own(datasets, tmp_path, prepared, labels):
    write(tmp_path, 'SST-2/train.tsv', 'sentence\tlabel\na\t1\nb\t0\n')
    with pytest.raises(errors.ConfigError, match=r"config\.task\.labels is .*'0', '1'.*any order"):
        load(f'tfds:{datasets}/glue/sst2/2.0.0' if prepared else tmp_path, 'sst2', labels=labels)


def test_the_columns_of_another_dataset_are_given(datasets):
    name = f'tfds:{datasets}/glue/sst2/2.0.0'
    loaded = load(name, columns={'text_a': 'sentence', 'id': 'idx'})
    assert loaded.task.labels == ('negative', 'positive')
    by_name = load(name, split='dev', known=loaded.task, columns={'text_a': 'sentence'})
    assert by_name.examples[0].label == 'positive'
    with pytest.raises(errors.DataError, match=r"no column 'text' for text_a; it has .*'sentence'"):
        load(name)


def test_questions_and_tags_of_datasets(datasets):
    (question,) = load(f'tfds:{datasets}/squad/v1.1/3.0.0', 'squad1').examples
    assert question.id == 'q'
    assert question.answers == (('Ünal', 4),)
    (sentence,) = load(f'tfds:{datasets}/conll2003/conll2003/1.0.0', 'ner').examples
    assert sentence.words == ('Ann', 'Lee', 'won')
    assert sentence.tags == ('B-PER', 'I-PER', 'O')


def as_tfrecord(folder: pathlib.Path, into: pathlib.Path) -> pathlib.Path:
    """A copy of a prepared dataset, in TFRecord files."""
    from array_record.python.array_record_module import ArrayRecordReader

    shutil.copytree(folder, into)
    for path in into.glob('*.array_record*'):
        reader = ArrayRecordReader(str(path))
        records = reader.read(0, reader.num_records())
        new = path.with_name(path.name.replace('array_record', 'tfrecord'))
        new.write_bytes(b''.join(map(tfds_files.framed, records)))
        path.unlink()
    about = (into / 'dataset_info.json').read_text()
    (into / 'dataset_info.json').write_text(about.replace('"array_record"', '"tfrecord"'))
    return into


@pytest.mark.parametrize(
    ('name', 'task'),
    [
        ('glue/sst2/2.0.0', 'sst2'),
        ('squad/v1.1/3.0.0', 'squad1'),
        ('conll2003/conll2003/1.0.0', 'ner'),
    ],
)
def test_datasets_in_tfrecord_files_are_read_alike(datasets, tmp_path, name, task):
    again = as_tfrecord(datasets / name, tmp_path / name)
    assert not list(again.glob('*array_record*'))
    wanted = load(f'tfds:{datasets / name}', task).examples
    found = load(f'tfds:{again}', task).examples
    assert [e._replace(where='') for e in found] == [e._replace(where='') for e in wanted]


@pytest.mark.parametrize('damage', ['torn', 'changed', 'short'])
def test_a_damaged_dataset_in_tfrecord_files_is_refused(datasets, tmp_path, damage):
    again = as_tfrecord(datasets / 'glue/sst2/2.0.0', tmp_path / '2.0.0')
    (path,) = again.glob('*train*')
    data = bytearray(path.read_bytes())
    if damage == 'changed':
        data[20] ^= 1
    cut = {'torn': -3, 'changed': None, 'short': 0}[damage]
    path.write_bytes(data[:cut])
    with pytest.raises(errors.DataError, match=r'train\.tfrecord-.*: .* again'):
        load(f'tfds:{again}', 'sst2')


def test_a_split_that_a_dataset_lacks_is_none_or_named(datasets):
    layout, where = table.get('sst2').files, f'tfds:{datasets}/glue/sst2/2.0.0'
    assert locate.find(layout, where, 'dev').split == 'validation'
    assert locate.find(table.get('mnli').files, where, 'diagnostic') is None
    assert locate.find(table.get('ner').files, where, 'dev') is None
    with pytest.raises(errors.DataError, match=r"no split 'dev'; it has .*'validation'.*dev_share"):
        loading.load('ner', where, 'dev')


def test_the_error_for_a_missing_dataset_has_the_build_command(tmp_path):
    with pytest.raises(errors.DataError, match='tfds build no_such --file_format=array_record'):
        load('tfds:no_such', 'sst2')


def test_one_text_of_a_pair_may_be_learned_from(tmp_path):
    write(tmp_path, 'train.csv', 'text,hypothesis,label\na,b,1\nc,d,0\n')
    loaded = load(tmp_path)
    assert [e.text_a for e in loaded.examples] == ['a', 'c']
    (note,) = loaded.complaints.lines()
    assert "train.csv:2: the row has a 'hypothesis'" in note and 'columns.text_b=hypothesis' in note


# ---------------------------------------------------------------------------------------------
# Labels


def rows_of(*labels) -> str:
    return 'text\tlabel\n' + ''.join(f'text {i}\t{label}\n' for i, label in enumerate(labels))


@pytest.mark.parametrize('label', ['nan', 'NaN', 'NA', 'N/A', 'None', 'null', '-', '?', '-1'])
def test_what_stands_for_no_label_becomes_no_class(tmp_path, label):
    write(tmp_path, 'train.tsv', rows_of('0', '1', label))
    with pytest.raises(errors.DataError, match=r'train\.tsv:4: the label .* stands for none'):
        load(tmp_path)
    loaded = load(tmp_path, on_bad_row='skip')
    assert loaded.task.labels == ('0', '1')
    assert loading.counts(loaded.complaints) == {'unknown_label': 1}
    meant = load(tmp_path, labels=('0', '1', label))
    assert meant.task.labels == ('0', '1', label) and not meant.complaints.counts


def test_minus_one_among_words_becomes_no_class(tmp_path):
    write(tmp_path, 'train.tsv', rows_of('0', '1', '-1', '?'))
    loaded = load(tmp_path, on_bad_row='skip')
    assert loaded.task.labels == ('0', '1')
    assert loading.counts(loaded.complaints) == {'unknown_label': 2}
    write(tmp_path, 'train.tsv', rows_of('no', 'yes', '-1'))
    with pytest.raises(errors.DataError, match=r"train\.tsv:4: the label '-1' .* stands for none"):
        load(tmp_path)


@pytest.mark.parametrize('labels', [('-1', '1'), ('+', '-'), ('AGAINST', 'NONE'), ('high', 'none')])
def test_a_negative_class_may_be_meant(tmp_path, labels):
    write(tmp_path, 'train.tsv', rows_of(*labels))
    assert load(tmp_path).task.labels == labels


@pytest.mark.parametrize('pair', [('good', 'Good'), ('1', '1.0'), ('so so', 'so  so'), ('1', '01')])
def test_classes_that_differ_as_slips_do_are_named(tmp_path, pair):
    write(tmp_path, 'train.tsv', rows_of('other', pair[0], pair[0], pair[1]))
    with pytest.raises(errors.DataError, match=r'\(2 times\) and .* \(1 time\) differ') as caught:
        load(tmp_path)
    assert all(repr(one) in str(caught.value) for one in pair)
    assert load(tmp_path, labels=('other', *pair)).task.labels == ('other', *pair)


def test_a_class_is_known_by_its_number(tmp_path):
    write(tmp_path, 'dev.tsv', rows_of('1.0', '0'))
    loaded = load(tmp_path, split='dev', known=Known(('0', '1')))
    assert [e.label for e in loaded.examples] == ['1', '0']


def test_a_list_is_no_class(tmp_path):
    write(tmp_path, 'train.jsonl', '{"text": "a", "label": ["x", "y"]}\n')
    with pytest.raises(errors.DataError, match=r"the label \['x', 'y'\] is not one class"):
        load(tmp_path)


def test_a_label_for_each_row_is_another_column(tmp_path):
    write(tmp_path, 'train.tsv', rows_of(*(f'comment {i}' for i in range(30))))
    with pytest.raises(errors.DataError, match='each of 30 rows has a label of its own'):
        load(tmp_path)


def test_ids_that_come_twice_are_counted_where_rows_are_scored(tmp_path):
    for split in ('train', 'dev'):
        write(tmp_path, f'{split}.tsv', 'text\tlabel\tid\na\tx\t1\nb\ty\t1\n')
        loaded = load(tmp_path, split=split, columns={'id': 'id'})
        assert loading.counts(loaded.complaints) == ({} if split == 'train' else {'double_id': 1})


# ---------------------------------------------------------------------------------------------
# Files as they come


def test_a_column_that_is_not_asked_for_may_be_called_anything(tmp_path):
    write(tmp_path, 'train.csv', '\ufeffx,x,,text,label\na,b,0,good,1\nc,d,1,bad,0\n')
    assert texts(load(tmp_path)) == [('good', None, '1'), ('bad', None, '0')]
    columns = {'text_a': '1'}
    assert [t[0] for t in texts(load(tmp_path, columns=columns))] == ['b', 'd']
    with pytest.raises(errors.DataError, match=r"csv:1: the header names 'x' twice"):
        load(tmp_path, columns={'text_a': 'x'})


@pytest.mark.parametrize('name', ['train.CSV', 'train.Csv.GZ', 'train.csv.bz2'])
def test_endings_may_be_in_any_letter_case(tmp_path, name):
    data = FILES['train.csv'].encode()
    packed = {'z': gzip.compress, '2': bz2.compress}.get(name[-1].lower(), bytes)
    write(tmp_path, name, packed(data))
    assert texts(load(tmp_path)) == GOOD


def test_a_file_is_what_it_holds(tmp_path):
    data = FILES['train.csv'].encode()
    write(tmp_path, 'train.csv', gzip.compress(data))
    assert texts(load(tmp_path)) == GOOD
    write(tmp_path, 'train.csv', b'PAR1\x15' + bytes(40))
    with pytest.raises(errors.DataError, match=r'train\.csv: it is a Parquet file.*read_parquet'):
        load(tmp_path)
    with zipfile.ZipFile(tmp_path / 'train.csv', 'w') as archive:
        archive.writestr('a.csv', data)
    assert texts(load(tmp_path)) == GOOD
    with zipfile.ZipFile(tmp_path / 'train.csv', 'a') as archive:
        archive.writestr('b.csv', data)
    with pytest.raises(errors.DataError, match=r'train\.csv holds several files.*unpack it'):
        load(tmp_path)


def test_a_comma_without_quotation_marks_is_named_as_the_cause(tmp_path):
    write(tmp_path, 'train.csv', FILES['train.csv'] + 'warm, funny,yes\n')
    with pytest.raises(errors.DataError, match=r'csv:4: 3 cells .*\(quotation marks enclose'):
        load(tmp_path)


@pytest.mark.parametrize('name', ['train.csv', 'train.tsv'])
def test_json_lines_are_no_table(tmp_path, name):
    write(tmp_path, name, json.dumps({'text': 'a', 'label': 'x'}) + '\n')
    with pytest.raises(errors.DataError, match=r'if the lines are JSON, .* the ending \.jsonl'):
        load(tmp_path)


def test_a_plain_file_named_like_a_compressed_one_is_reported(tmp_path):
    write(tmp_path, 'train.csv.bz2', FILES['train.csv'])
    loaded = load(tmp_path)
    assert texts(loaded) == GOOD
    assert loading.counts(loaded.complaints) == {'not_packed': 1}


@pytest.mark.parametrize('encoding', ['utf-16', 'utf-16-le', 'utf-16-be', 'utf-32', 'utf-32-be'])
@pytest.mark.parametrize('packed', [False, True])
def test_other_encodings_of_unicode_are_read(tmp_path, encoding, packed):
    data = FILES['train.csv'].encode(encoding)
    write(tmp_path, 'train.csv', gzip.compress(data) if packed else data)
    loaded = load(tmp_path)
    assert texts(loaded) == GOOD
    marked = encoding in ('utf-16', 'utf-32')
    assert loading.counts(loaded.complaints) == ({} if marked else {'guessed_encoding': 1})


def test_half_a_character_of_utf_16_is_refused(tmp_path):
    data = 'text,label\na'.encode('utf-16-le') + b'\x00\xd8' + ',1\nb,0\n'.encode('utf-16-le')
    write(tmp_path, 'train.csv', b'\xff\xfe' + data)
    with pytest.raises(
        errors.DataError, match=r"train\.csv:2: half .* UTF-16LE after 'a'; .*iconv"
    ):
        load(tmp_path)


def test_a_line_that_is_a_list_is_no_table(tmp_path):
    write(tmp_path, 'train.jsonl', '["a"]\n{"text": "b", "label": "1"}\n')
    with pytest.raises(errors.DataError, match=r'train\.jsonl:1: a JSON object is needed'):
        load(tmp_path)


@pytest.mark.parametrize('end', ['\r', '\n', '\r\n'])
def test_rows_of_a_csv_file_end_outside_its_quotation_marks(tmp_path, end):
    rows = ['text,label', '"one\n\n\ntwo ""three\n""",1', '"four, five",0']
    write(tmp_path, 'train.csv', end.join(rows) + end)
    found = [(text, label) for text, _, label in texts(load(tmp_path))]
    assert found == [('one\n\n\ntwo "three\n"', '1'), ('four, five', '0')]


def test_cells_that_are_all_in_quotation_marks_are_reported(tmp_path):
    write(tmp_path, 'train.tsv', 'text\tlabel\n"a"\t1\n"c"\t0\n"d"\t0\n')
    assert loading.counts(load(tmp_path).complaints) == {'quoted': 3}
    write(tmp_path, 'train.tsv', 'text\tlabel\n"a"\t1\n"c"\t0\nd\t0\n')
    assert loading.counts(load(tmp_path).complaints) == {}


def test_an_old_line_end_counts_next_to_a_new_one(tmp_path):
    write(tmp_path, 'train.csv', FILES['train.csv'].rstrip().replace('\n', '\r') + '\n')
    assert texts(load(tmp_path)) == GOOD


def test_quotation_marks_that_may_enclose_cells_are_reported(tmp_path):
    write(tmp_path, 'train.tsv', 'text\tlabel\n"a ""b"""\t1\nc\t0\n')
    assert loading.counts(load(tmp_path).complaints) == {'quoted': 1}
    write(tmp_path, 'train.tsv', '"text"\t"label"\n"a"\t"1"\n"c"\t"0"\n')
    with pytest.raises(
        errors.DataError, match=r'name the file \.csv, and type --config\.task\.sep'
    ):
        load(tmp_path)


def test_a_missing_file_is_named_by_a_setting(tmp_path):
    write(tmp_path, 'mine.csv', FILES['train.csv'])
    with pytest.raises(errors.DataError, match=r'--config\.task\.train_file=NAME'):
        load(tmp_path)


def test_a_stray_carriage_return_is_named(tmp_path):
    write(tmp_path, 'train.tsv', 'text\tlabel\na\rb\t1\nc\t0\nd\t1\n')
    with pytest.raises(errors.DataError, match=r'train\.tsv:2: the line holds a carriage return'):
        load(tmp_path)
    loaded = load(tmp_path, on_bad_row='skip')
    assert [t[0] for t in texts(loaded)] == ['c', 'd']
    assert loaded.complaints.counts['stray_return'] == (1, f'{tmp_path}/train.tsv:2')
