"""Sentences with tags, and the schemes that tags are written in."""

import json
import os
import pathlib
import random
import re

import pytest
from seqeval.metrics import sequence_labeling

from electra_jax.core import errors
from electra_jax.finetune.files import tag_schemes
from electra_jax.finetune.files.tables import Columns
from tests.support import loading
from tests.support.loading import Known

SPANNING = [scheme for scheme in tag_schemes.SCHEMES if scheme != 'plain']
CHUNK = 'He PRP B-NP\nsaw VBD B-VP\nthe DT B-NP\ndog NN I-NP\n'


def load(folder, content, task='tagging', split='train', name=None, known=None, **options):
    name = name or f'{split}.txt'
    (folder / name).write_bytes(content.encode() if isinstance(content, str) else content)
    options['columns'] = Columns(**options.get('columns', {}))
    return loading.load(task, str(folder), split, known, **options)


def tags(loaded) -> list[tuple]:
    return [example.tags for example in loaded.examples]


# ---------------------------------------------------------------------------------------------
# CoNLL files


def test_sentences_words_and_tags(tmp_path):
    loaded = load(tmp_path, f'\n{CHUNK}\n\n# # B-NP\n12 CD I-NP\n')
    assert [e.words for e in loaded.examples] == [('He', 'saw', 'the', 'dog'), ('#', '12')]
    assert tags(loaded) == [('B-NP', 'B-VP', 'B-NP', 'I-NP'), ('B-NP', 'I-NP')]
    assert [e.where for e in loaded.examples] == [f'{tmp_path}/train.txt:{i}' for i in (2, 8)]
    assert [e.id for e in loaded.examples] == ['0', '1']
    assert loading.known_of(loaded.task) == Known(('O', 'B-NP', 'I-NP', 'B-VP', 'I-VP'), 'bio')


def test_columns_are_chosen(tmp_path):
    loaded = load(tmp_path, CHUNK, columns={'tags': '1'})
    assert tags(loaded) == [('PRP', 'VBD', 'DT', 'NN')]
    assert loading.known_of(loaded.task) == Known(('DT', 'NN', 'PRP', 'VBD'), 'plain')
    with pytest.raises(errors.DataError, match="no column '3' for tags; a line has 3 columns"):
        load(tmp_path, CHUNK, columns={'tags': '3'})
    with pytest.raises(errors.DataError, match='column 0 would be both words and tags'):
        load(tmp_path, 'one\ntwo\n')


def test_tabs_comments_documents_and_odd_spaces(tmp_path):
    text = (
        '-DOCSTART- -X- O\n\n'
        '# sent_id = 1\n'
        'New\u00a0York\tB-LOC\n'
        '#\tO\n\n'
        '-DOCSTART-\tO\n'
        'Rio\tB-LOC\r\n'
    )
    loaded = load(tmp_path, text.partition('\n\n')[2], 'ner')
    assert [e.words for e in loaded.examples] == [('New\u00a0York', '#'), ('Rio',)]
    spaced = load(tmp_path, '-DOCSTART- -X- O\n\nNew\u00a0York  NNP B-LOC \n', 'ner')
    assert [e.words for e in spaced.examples] == [('New\u00a0York',)]


UNIVERSAL = (
    '# newdoc\n\n'
    '# sent_id = 1\n'
    "1-2\tdon't\t_\t_\t_\t_\t_\t_\t_\t_\n"
    '1\tdo\tdo\tAUX\tVBP\t_\t3\taux\t_\tSpaceAfter=No\n'
    "2\tn't\tnot\tPART\tRB\t_\t3\tadvmod\t_\t_\n"
    '3\tgo\tgo\tVERB\tVB\t_\t0\troot\t_\t_\n'
    '3.1\tout\tout\tADV\tRB\t_\t_\t_\t_\t_\n'
    '4\t#\t#\tSYM\t#\t_\t3\tdep\t_\t_\n\n'
)


def test_universal_dependencies(tmp_path):
    loaded = load(tmp_path, UNIVERSAL, name='train.conllu', columns={'tags': '3'})
    (example,) = loaded.examples
    assert example.words == ('do', "n't", 'go', '#')
    assert example.tags == ('AUX', 'PART', 'VERB', 'SYM')
    assert example.where == f'{tmp_path}/train.conllu:5'
    lemmas = load(tmp_path, UNIVERSAL, name='train.conllu', columns={'words': '2', 'tags': '3'})
    assert lemmas.examples[0].words == ('do', 'not', 'go', '#')
    with pytest.raises(
        errors.DataError, match=r'train\.conllu: .*--config\.task\.columns\.tags=3 '
    ):
        load(tmp_path, UNIVERSAL, name='train.conllu')
    torn = UNIVERSAL.replace('\troot', '')
    with pytest.raises(
        errors.DataError, match=r'train\.conllu:7: 9 cells where the first line has'
    ):
        load(tmp_path, torn, name='train.conllu', columns={'tags': '3'})


def test_comments_before_the_first_word_are_none(tmp_path):
    loaded = load(tmp_path, '# two words\n\n# of a file\nHe\tO\nwon\tB-X\n')
    assert [e.words for e in loaded.examples] == [('He', 'won')]
    loaded = load(tmp_path, '# B-X\n12 I-X\n')
    assert [e.words for e in loaded.examples] == [('#', '12')]


@pytest.mark.parametrize(
    ('comment', 'columns'),
    [
        ('# id 7\tdomain=en', {}),  # fewer cells than a word's line
        ('# sent 7 news', {}),  # as many
        ('# sent_id=7', {}),
    ],
)
def test_lines_that_begin_with_a_number_sign_are_comments(tmp_path, comment, columns):
    words = 'old _ _ B-Group\nboats _ _ I-Group\n# _ _ O\n'
    loaded = load(tmp_path, f'{comment}\n{words}\n{comment}\n# _ _ O\n{words}', columns=columns)
    assert [e.words for e in loaded.examples] == [('old', 'boats', '#'), ('#', 'old', 'boats', '#')]


def test_a_comment_with_a_tab_precedes_a_sentence_with_numbered_words(tmp_path):
    text = '#\thttp://example.org\n1\tAlte\tB-ORG\tO\n2\tBoote\tI-ORG\tB-LOC\n'
    loaded = load(tmp_path, text, name='train.tsv', columns={'words': '1', 'tags': '2'})
    assert [e[1:3] for e in loaded.examples] == [(('Alte', 'Boote'), ('B-ORG', 'I-ORG'))]


@pytest.mark.parametrize('name', ['eng.train', 'train.bio', 'train.annotated', 'train'])
def test_a_file_of_any_other_ending_holds_a_word_a_line(tmp_path, name):
    (tmp_path / name).write_text(CHUNK)
    loaded = loading.load('ner', str(tmp_path / name), 'train')
    assert [e.words for e in loaded.examples] == [('He', 'saw', 'the', 'dog')]


def test_tab_separated_files_hold_a_word_a_line_or_a_sentence_a_row(tmp_path):
    loaded = load(tmp_path, 'He\tO\nwon\tB-X\n\nYes\tO\n', name='train.tsv')
    assert [e.words for e in loaded.examples] == [('He', 'won'), ('Yes',)]
    rows = 'id\ttags\twords\na\tO B-X\tHe won\nb\tO\tYes\n'
    loaded = load(tmp_path, rows, name='train.tsv', columns={'id': 'id'})
    assert [(e.id, e.words, e.tags) for e in loaded.examples] == [
        ('a', ('He', 'won'), ('O', 'B-X')),
        ('b', ('Yes',), ('O',)),
    ]
    columns = {'words': 'tokens', 'tags': 'ner'}
    rows = rows.replace('words', 'tokens').replace('tags', 'ner')
    loaded = load(tmp_path, rows, name='train.tsv', columns=columns)
    assert [e.words for e in loaded.examples] == [('He', 'won'), ('Yes',)]
    rows = rows.replace('tokens', 'text')
    with pytest.raises(errors.DataError, match=r"the tag 'O B-X' holds a space.*words=NAME"):
        load(tmp_path, rows, name='train.tsv', columns={'words': '-1', 'tags': '1'})
    loaded = load(
        tmp_path, rows, name='train.tsv', columns={'words': '-1', 'tags': '1', 'header': True}
    )
    assert [e.words for e in loaded.examples] == [('He', 'won'), ('Yes',)]


WORDS = ['The', 'grey', 'fever', 'spread']
TABLES_OF_TAGS = {
    'train.jsonl': json.dumps({'id': 1, 'tokens': WORDS, 'ner_tags': ['O', 'B-X', 'I-X', 'O']}),
    'train.csv': """id,tokens,labels
1,"['The', 'grey', 'fever', 'spread']","[""O"", ""B-X"", ""I-X"", ""O""]"
""",
    'train.tsv': 'tokens\tner\nThe grey fever spread\tO B-X I-X O\n',
}


@pytest.mark.parametrize('name', TABLES_OF_TAGS)
def test_columns_have_the_names_and_lists_that_other_projects_write(tmp_path, name):
    loaded = load(tmp_path, TABLES_OF_TAGS[name], name=name)
    assert [e[1:3] for e in loaded.examples] == [(tuple(WORDS), ('O', 'B-X', 'I-X', 'O'))]
    printed = '\n'.join(loaded.complaints.lines())
    assert "'tokens' is read as the words" in printed and 'is read as the tags' in printed
    assert ("columns that are not read: 'id'" in printed) == ('id' in TABLES_OF_TAGS[name])


def test_tags_that_are_numbers_are_learned_and_their_names_are_asked_for(tmp_path):
    row = json.dumps({'tokens': WORDS, 'ner_tags': [0, 1, 2, 0]})
    loaded = load(tmp_path, row, name='train.jsonl')
    assert loaded.task.labels == ('0', '1', '2')
    assert '--config.task.labels=O,B-X,I-X' in '\n'.join(loaded.complaints.lines())
    loaded = load(tmp_path, row, name='train.jsonl', labels=('O', 'B-X', 'I-X'))
    assert tags(loaded) == [('O', 'B-X', 'I-X', 'O')] and loaded.task.scheme == 'bio'


def test_of_several_columns_of_tags_one_must_be_named(tmp_path):
    row = {'tokens': WORDS, 'ner_tags': [0, 1, 2, 0], 'pos_tags': [4, 5, 6, 4]}
    with pytest.raises(errors.DataError, match=r"no field 'tags'; it has 'ner_tags', 'pos_tags'"):
        load(tmp_path, json.dumps(row), name='train.jsonl')


def test_all_columns_that_are_missing_are_named(tmp_path):
    with pytest.raises(errors.DataError, match=r'columns\.words=NAME --config\.\S+tags=NAME'):
        load(tmp_path, 'a,b\nThe fever,O B-X\n', name='train.csv')


def test_a_list_without_commas_is_refused(tmp_path):
    with pytest.raises(errors.DataError, match=r"csv:2: .*'The' 'fever'.*no comma"):
        load(tmp_path, "words,tags\n['The' 'fever'],O B-X\n", name='train.csv')


@pytest.mark.parametrize(
    'text',
    [
        'The O\r\ngrey\tB-X\r\nfever  I-X \t\r\n\r\n',
        'The\tO\t\ngrey\tB-X\t\nfever\tI-X\t\n',
        '\ufeffThe O\n\ufeffgrey B-X\nfever I-X\n',
    ],
)
def test_spaces_tabs_and_marks_at_the_ends_of_cells_change_nothing(tmp_path, text):
    loaded = load(tmp_path, text)
    assert [e[1:3] for e in loaded.examples] == [(('The', 'grey', 'fever'), ('O', 'B-X', 'I-X'))]


def test_spaces_where_a_tab_is_needed_are_named(tmp_path):
    with pytest.raises(errors.DataError, match=r"txt:2: 1 cell .*'grey B-X'.* a tab must"):
        load(tmp_path, 'The\tO\ngrey B-X\n')


def test_a_file_without_blank_lines_is_noted(tmp_path):
    loaded = load(tmp_path, 'The O\nfever B-X\n' * 100)
    assert any('200 words are read as one sentence' in x for x in loaded.complaints.lines())
    assert not load(tmp_path, 'The O\nfever B-X\n' * 99).complaints.lines()


def test_forms_of_unicode_make_no_other_type(tmp_path):
    loaded = load(tmp_path, words_of('B-caf\xe9 I-caf\xe9 B-cafe\u0301'))
    assert loaded.task.labels == ('O', 'B-caf\xe9', 'I-caf\xe9')


def test_words_without_tags_can_be_predicted(tmp_path):
    known = Known(('O', 'B-X', 'I-X'), 'bio')
    loaded = load(tmp_path, 'only\nwords\n', split='test', known=known)
    assert loaded.examples[0].words == ('only', 'words')
    assert loaded.examples[0].tags is None
    assert loading.known_of(loaded.task) == known


BAD = {
    'too few cells': ('He B-NP\n\nsaw\n\nhim B-NP\n', 'bad_width', 'txt:3: 1 cell where the fir'),
    'impossible': (
        'He B-NP\n\nsaw O\nit I-NP\n\nhim B-NP\n',
        'bad_tags',
        "train.txt:3: tag 2, 'I-NP', would be 'B-NP' in the scheme 'bio' .'saw it'",
    ),
    'another type': (
        'He B-NP\n\nsaw B-VP\nit I-NP\n\nhim B-NP\n',
        'bad_tags',
        "'I-NP', would be 'B-NP'",
    ),
    'no scheme': (
        'He B-NP\n\nsaw NP\n\nhim B-NP\n',
        'bad_tags',
        "'NP', is not of the scheme 'bio'",
    ),
    'no tag': ('He\tB-NP\n\nsaw\t\n\nhim\tB-NP\n', 'bad_tags', "word 1, 'saw', has no tag"),
    'no word': ('He\tB-NP\n\n\tB-NP\n\nhim\tB-NP\n', 'empty_text', 'txt:3: in a word: the text is'),
}


@pytest.mark.parametrize('case', BAD)
def test_a_bad_sentence_is_named_or_counted(tmp_path, case):
    content, kind, words = BAD[case]
    with pytest.raises(errors.DataError, match=words):
        load(tmp_path, content, scheme='bio')
    loaded = load(tmp_path, content, scheme='bio', on_bad_row='skip')
    assert [e.words for e in loaded.examples] == [('He',), ('him',)]
    assert loading.counts(loaded.complaints) == {kind: 1}


@pytest.mark.parametrize('line', [0, 1, 2])
@pytest.mark.parametrize('after', [b'\n\nx O\n', b'\n'])
def test_a_sentence_that_lost_a_line_is_left_out_whole(tmp_path, line, after):
    lines = [b'a O', b'b O', b'c O']
    lines[line] = b'caf\xe9 O'
    content = b'y B-NP\n\n' + b'\n'.join(lines) + after
    with pytest.raises(errors.DataError, match=rf'train\.txt:{3 + line}: character 4 .* LATIN1'):
        load(tmp_path, content)
    loaded = load(tmp_path, content, on_bad_row='skip')
    assert [e.words for e in loaded.examples] == [('y',)] + [('x',)] * (after != b'\n')


def test_a_tag_of_an_unknown_type_is_named(tmp_path):
    known = load(tmp_path, CHUNK).task
    assert tags(load(tmp_path, 'go B-VP\non I-VP\n', split='dev', known=known))
    with pytest.raises(errors.DataError, match=r"dev\.txt:1: the tag 'B-PP' is not one of .*'O', "):
        load(tmp_path, 'on B-PP\n', split='dev', known=known)


@pytest.mark.parametrize('content', ['', '\n\n', '-DOCSTART- -X- O\n'])
def test_a_file_without_sentences_is_refused(tmp_path, content):
    with pytest.raises(errors.DataError, match=r'the file is empty|no usable rows'):
        load(tmp_path, content)


# ---------------------------------------------------------------------------------------------
# Rows with lists


def test_rows_of_lists_and_of_text(tmp_path):
    rows = [
        {'words': ['He', 'saw'], 'tags': ['B-NP', 'O']},
        {'words': 'the dog', 'tags': 'B-NP I-NP'},
    ]
    loaded = load(tmp_path, '\n'.join(map(json.dumps, rows)), name='train.jsonl')
    assert [e.words for e in loaded.examples] == [('He', 'saw'), ('the', 'dog')]
    assert tags(loaded) == [('B-NP', 'O'), ('B-NP', 'I-NP')]


@pytest.mark.parametrize(
    ('row', 'kind', 'words'),
    [
        ({'words': ['a', 'b'], 'tags': ['O']}, 'bad_tags', "1 tags for 2 words .'a b'"),
        ({'words': [], 'tags': []}, 'empty_text', "no words in 'words'"),
        ({'words': ['a', ''], 'tags': ['O', 'O']}, 'empty_text', 'in a word: the text is empty'),
        ({'words': ['a', None], 'tags': ['O', 'O']}, 'bad_tags', 'must be a list of texts'),
        (
            {'words': ['a'], 'tags': ['\udc80']},
            'bad_tags',
            "in tag 1: half a character in '.udc80'",
        ),
        (
            {'words': ['a'], 'tags': ['O'], 'id': '\udc80'},
            'not_text',
            'in the id: half a character',
        ),
        ({'words': ['a']}, 'missing_field', "no field 'tags'; it has 'words'"),
    ],
)
def test_a_bad_row_of_lists_is_named_or_counted(tmp_path, row, kind, words):
    good = json.dumps({'words': ['x'], 'tags': ['B-X']})
    content = f'{good}\n{json.dumps(row)}\n'
    options = {'name': 'train.jsonl', 'columns': {'id': 'id'}}
    with pytest.raises(errors.DataError, match=rf'train\.jsonl:2: .*{words}'):
        load(tmp_path, content, **options)
    loaded = load(tmp_path, content, **options, on_bad_row='skip')
    assert len(loaded.examples) == 1
    assert loading.counts(loaded.complaints) == {kind: 1}


ROWS = (
    'Sentence #,Word,POS,Tag\nS: 1,Old,JJ,B-geo\n,boats,NN,I-geo\nS: 2,Ann,NNP,B-per\n,won,VB,O\n'
)
NAMED = {'words': 'Word', 'tags': 'Tag'}


@pytest.mark.parametrize('ending', ['csv', 'tsv'])
@pytest.mark.parametrize('everywhere', [True, False])
def test_a_table_with_a_word_a_row_is_put_together_by_its_sentences(tmp_path, ending, everywhere):
    text = ROWS.replace('\n,boats', '\nS: 1,boats') if everywhere else ROWS
    name = f'train.{ending}'
    text = text.replace(',', '\t') if ending == 'tsv' else text
    with pytest.raises(errors.DataError, match=r"holds one word.*columns\.sentence=NAME .*'Sent"):
        load(tmp_path, text, name=name, columns=NAMED)
    loaded = load(tmp_path, text, name=name, columns={**NAMED, 'sentence': 'Sentence #'})
    assert [e.words for e in loaded.examples] == [('Old', 'boats'), ('Ann', 'won')]
    assert tags(loaded) == [('B-geo', 'I-geo'), ('B-per', 'O')]
    assert [e.where[-2:] for e in loaded.examples] == [':2', ':4']


def test_a_sentence_that_lost_a_row_is_left_out_whole(tmp_path):
    text = ROWS.replace('S: 2,Ann', 'S: 2,more,Ann') + 'S: 3,Bob,NNP,B-per\n'
    columns = {**NAMED, 'sentence': 'Sentence #'}
    loaded = load(tmp_path, text, name='train.csv', columns=columns, on_bad_row='skip')
    assert [e.words for e in loaded.examples] == [('Bob',)]


NUMBERED = '# a\n1-2\tim\t_\t_\n1\tin\tADP\tO\n2\tdem\tDET\tB-X\n2.1\tx\tx\tO\n\n1\tso\tADP\tO\n'


def test_numbers_of_words_are_no_words(tmp_path):
    with pytest.raises(errors.DataError, match=r'column 0 numbers the words.*columns\.words=1'):
        load(tmp_path, NUMBERED, name='train.conll')
    loaded = load(tmp_path, NUMBERED, name='train.conll', columns={'words': '1'})
    assert [e.words for e in loaded.examples] == [('in', 'dem'), ('so',)]


def test_names_of_columns_are_no_word(tmp_path):
    with pytest.raises(errors.DataError, match=r'txt:1: the line looks like names of columns'):
        load(tmp_path, 'Word Tag\nHe O\nwon B-X\n')
    loaded = load(tmp_path, 'Token NE\nHe A\nwon B\n')
    assert len(loaded.complaints.notes) == 1 and 'names of columns' in loaded.complaints.notes[0]


@pytest.mark.parametrize('first', ['word pos', 'Form LABEL'])
def test_a_word_that_is_also_a_usual_name_is_a_word(tmp_path, first):
    word, tag = first.split()
    loaded = load(tmp_path, f'{first}\nwon O\nby X\n\nof {tag}\n')
    assert loaded.examples[0].words == (word, 'won', 'by')
    assert loaded.complaints.notes == []


@pytest.mark.parametrize(
    ('text', 'words', 'notes'),
    [
        ('words\nwin\n\nHe\n', [('words', 'win'), ('He',)], 1),
        ('words\tO\nwin\tO\n\nHe\tO\n', [('words', 'win'), ('He',)], 0),
        ('words\nHe won\nYes\n', [('He', 'won'), ('Yes',)], 0),
        ('words\nHe\nYes\n', [('He',), ('Yes',)], 1),
    ],
)
def test_a_first_line_of_new_text_may_be_a_word_or_a_name(tmp_path, text, words, notes):
    known = Known(('O', 'B-X', 'I-X'), 'bio')
    loaded = load(tmp_path, text, split='test', known=known, name='test.tsv')
    assert [e.words for e in loaded.examples] == words
    assert len(loaded.complaints.notes) == notes


# ---------------------------------------------------------------------------------------------
# Schemes


def random_spans(rng: random.Random, length: int) -> list[tag_schemes.Span]:
    found, at = [], 0
    while at < length:
        size = rng.randint(1, 3)
        if rng.random() < 0.7 and at + size <= length:
            found.append(tag_schemes.Span(rng.choice('XY'), at, at + size))
        at += size
    return found


@pytest.mark.parametrize('scheme', SPANNING)
def test_spans_survive_every_scheme(scheme):
    rng = random.Random(0)
    for _ in range(300):
        length = rng.randint(1, 12)
        wanted = random_spans(rng, length)
        written = tag_schemes.write(wanted, length, scheme)
        assert tag_schemes.problem(written, scheme) is None
        assert tag_schemes.spans(written) == wanted


def test_spans_of_any_tags_are_those_of_seqeval():
    rng = random.Random(1)
    pool = ['O', *(f'{letter}-{kind}' for letter in 'BIES' for kind in 'XY')]
    for _ in range(2000):
        sequence = [rng.choice(pool) for _ in range(rng.randint(1, 8))]
        theirs = sequence_labeling.get_entities(sequence)
        ours = [(kind, start, stop - 1) for kind, start, stop in tag_schemes.spans(sequence)]
        assert ours == theirs, sequence


@pytest.mark.parametrize(
    ('sequence', 'scheme'),
    [
        ('B-X E-X', 'iobes'),
        ('B-X O', None),
        ('I-X', None),
        ('E-X', None),
        ('B-X', None),
        ('S-X B-X I-X', None),
        ('S-X S-X', 'iobes'),
        ('S-X I-X', None),
        ('B-X E-Y', None),
        ('B-X I-X E-X O', 'iobes'),
    ],
)
def test_iobes_must_open_and_close(sequence, scheme):
    assert (tag_schemes.problem(sequence.split(), 'iobes') is None) == (scheme == 'iobes')


@pytest.mark.parametrize('tag', ['-X', 'BI-X', 'B-', 'B', 'b-X'])
@pytest.mark.parametrize('scheme', SPANNING)
def test_letters_of_a_scheme_stand_alone(tag, scheme):
    assert 'is not of the scheme' in tag_schemes.problem([tag], scheme)
    assert tag_schemes.find([[tag]]) == 'plain'


def test_bilou_is_iobes_by_other_letters(tmp_path):
    text = 'Ann B-PER\nM I-PER\nLee L-PER\nwon O\n\nRio U-LOC\nU-20 U-LOC\n'
    loaded = load(tmp_path, text)
    types = [f'{letter}-{kind}' for kind in ('LOC', 'PER') for letter in 'BILU']
    assert loading.known_of(loaded.task) == Known(('O', *types), 'bilou')
    for bilou, iobes in (('B-X L-X U-X', 'B-X E-X S-X'), ('U-X I-X O', 'S-X I-X O')):
        spans = tag_schemes.spans(bilou.split())
        assert spans == tag_schemes.spans(iobes.split())
        assert (tag_schemes.problem(bilou.split(), 'bilou') is None) == (
            tag_schemes.problem(iobes.split(), 'iobes') is None
        )
    assert "'B-X', would be 'U-X'" in tag_schemes.problem(['B-X', 'O'], 'bilou')
    assert load(tmp_path, 'a U-X\nb NN\n').task.scheme == 'plain'
    with pytest.raises(errors.DataError, match="'E-PER', is not of the scheme 'bilou'"):
        load(tmp_path, text + 'x B-PER\ny E-PER\n', scheme='bilou')


@pytest.mark.parametrize('name', ['train.txt', 'train.conll'])
def test_json_lines_are_no_words_with_tags(tmp_path, name):
    rows = [{'words': ['a', 'b'], 'tags': ['O', 'B']}] * 3
    content = '\n'.join(map(json.dumps, rows))
    with pytest.raises(errors.DataError, match=r'train\.\w+:1: the line is JSON.* \.jsonl'):
        load(tmp_path, content, name=name)


@pytest.mark.parametrize('task', ['tagging', 'chunk'])
@pytest.mark.parametrize('tag', ['O', 'NN'])
def test_a_tagger_needs_two_tags(tmp_path, task, tag):
    if (task, tag) != ('chunk', 'NN'):
        words = rf'train\.txt: a tagger needs two tags or more, .* {tag!r}; is .*columns\.tags'
        with pytest.raises(errors.DataError, match=words):
            load(tmp_path, f'a {tag}\nb {tag}\n', task)


def test_the_scheme_is_found():
    assert tag_schemes.find([['B-X', 'I-X', 'O']]) == 'bio'
    assert tag_schemes.find([['I-X', 'I-X', 'B-X', 'O']]) == 'iob1'
    assert tag_schemes.find([['B-X', 'E-X'], ['S-Y']]) == 'iobes'
    assert tag_schemes.find([['NN', 'O']]) == 'plain'
    # Broken, but clearly meant as one: its broken sentences can then be named.
    assert tag_schemes.find([['B-X', 'E-X'], ['I-Y']]) == 'iobes'
    assert tag_schemes.find([['B-X'], ['B-X', 'B-Y', 'I-X']]) == 'bio'


@pytest.mark.parametrize(
    ('tags', 'scheme'),
    [
        (['O', 'I-A', 'B-A'], 'bio'),
        (['O', 'I-A'], 'iob1'),
        (['O', 'B-A', 'I-A', 'E-A', 'S-A'], 'iobes'),
        (['O', 'B-A', 'I-A', 'L-A', 'U-A'], 'bilou'),
        (['E-A', 'L-A'], 'plain'),
        (['-A', 'B-A'], 'plain'),
        (['NN', 'B-X'], 'plain'),
        (['O'], 'plain'),
    ],
)
def test_the_letters_of_tags_decide_their_scheme(tags, scheme):
    assert tag_schemes.of_classes(tags) == scheme


def test_an_unknown_scheme_is_refused(tmp_path):
    with pytest.raises(errors.ConfigError, match="did you mean 'iobes'"):
        load(tmp_path, CHUNK, scheme='bioes')


# ---------------------------------------------------------------------------------------------
# Writings

WRITINGS = {  # a type of two words and one of one, and 'outside'
    'usual': ('B-X I-X O B-Y', 'bio', 'B-X I-X O B-Y'),
    'suffix': ('X-B X-I O Y-B', 'bio', 'B-X I-X O B-Y'),
    'underscore': ('B_X I_X O B_Y', 'bio', 'B-X I-X O B-Y'),
    'small suffix': ('x_b x_i o y_b', 'bio', 'B-x I-x O B-y'),
    'small letters': ('b-X i-X o b-Y', 'bio', 'B-X I-X O B-Y'),
    'colon': ('B:X I:X O B:Y', 'bio', 'B-X I-X O B-Y'),
    'nameless': ('B I O B', 'bio', 'B-SPAN I-SPAN O B-SPAN'),
    'nameless IOBES': ('b e o s', 'iobes', 'B-SPAN E-SPAN O S-SPAN'),
    'words of Chinese': ('B M E S', 'iobes', 'B-SPAN I-SPAN E-SPAN S-SPAN'),
    'middle and whole': ('B-X E-X O W-Y', 'iobes', 'B-X E-X O S-Y'),
    'an end alone': ('B-X E-X O B-Y', 'iobe', 'B-X E-X O B-Y'),
    'a single alone': ('B-X I-X O S-Y', 'iobs', 'B-X I-X O S-Y'),
    'IOB1': ('X-I X-I O Y-I', 'iob1', 'I-X I-X O I-Y'),
    'other': ('B-X I-X OTHER B-Y', 'bio', 'B-X I-X O B-Y'),
    'a type called I': ('B-I I-I O B-Y', 'bio', 'B-I I-I O B-Y'),
}


def words_of(written: str) -> str:
    return ''.join(f'w{i} {tag}\n' for i, tag in enumerate(written.split()))


@pytest.mark.parametrize('case', WRITINGS)
def test_spans_are_read_however_they_are_written(tmp_path, case):
    written, scheme, wanted = WRITINGS[case]
    loaded = load(tmp_path, words_of(written))
    assert tags(loaded) == [tuple(wanted.split())]
    assert loaded.task.scheme == scheme and loaded.task.headline == 'dev/f1'
    notes = loaded.complaints.lines()
    assert bool(notes) == (written != wanted) and all('are read as' in note for note in notes)
    options = {'known': loaded.task, 'writing': loaded.task.writing}
    assert tags(load(tmp_path, words_of(written), split='dev', **options)) == tags(loaded)
    assert tags(load(tmp_path, words_of(written), split='dev', scheme=scheme)) == tags(loaded)


def test_numbers_are_tags_by_the_names_that_are_given(tmp_path):
    rows = '{"words": ["a", "b", "c"], "tags": [1, 2, 0]}\n'
    names = ('O', 'X_B', 'X_I')
    loaded = load(tmp_path, rows, name='train.jsonl', labels=names)
    assert tags(loaded) == [('B-X', 'I-X', 'O')] and loaded.task.labels == ('O', 'B-X', 'I-X')
    options = {'known': loaded.task, 'writing': loaded.task.writing, 'name': 'dev.jsonl'}
    assert tags(load(tmp_path, rows, split='dev', **options)) == tags(loaded)
    with pytest.raises(errors.DataError, match="the tag '2' is not one of the task: 'O', 'B-X'"):
        load(tmp_path, rows, name='train.jsonl', labels=names[:2])
    unnamed = load(tmp_path, rows, name='train.jsonl')
    assert unnamed.task.headline == 'dev/accuracy'
    (note,) = unnamed.complaints.lines()
    assert note.endswith('--config.task.labels=O,B-X,I-X')


@pytest.mark.parametrize('tag', ['-100', 'nan', '-1'])
def test_what_stands_for_no_tag_becomes_none(tmp_path, tag):
    with pytest.raises(errors.DataError, match=rf"txt:3: in tag 1: '{tag}' stands for no tag"):
        load(tmp_path, f'a 0\n\nb {tag}\n\nc 1\n')


@pytest.mark.parametrize(
    ('written', 'words'),
    [
        ('B-X NN O', "'B-X' looks like .* 'NN' does not.*task.scheme=bio"),
        ('B-X E-X U-X O', "'B-X' looks like .* no scheme"),
        ('O O X Y', "'O' is the most frequent tag.*--config.task.scheme=io"),
        ('NN VB . I', None),
        ('(ORG* (LOC) *) *', r"'\(LOC\)' looks like the bracket|'\(ORG\*' looks like the bracket"),
    ],
)
def test_tags_that_may_be_those_of_spans_are_named(tmp_path, written, words):
    loaded = load(tmp_path, words_of(written))
    assert loaded.task.scheme == 'plain'
    assert re.search(words or '^$', '\n'.join(loaded.complaints.lines()))


def test_tags_that_differ_in_letter_case_alone_are_named(tmp_path):
    text = words_of('B-PER O B-per O')
    with pytest.raises(errors.DataError, match=r"'B-PER' \(1 time\) and 'B-per' \(1 time\)"):
        load(tmp_path, text)
    assert load(tmp_path, text, labels=('O', 'B-PER', 'B-per')).task.scheme == 'bio'


def test_letter_case_may_have_a_meaning_in_tags_that_write_no_spans(tmp_path):
    loaded = load(tmp_path, words_of('NN Vm VM NN'))
    assert loaded.task.labels == ('NN', 'VM', 'Vm')
    assert "'Vm' (1 time) and 'VM' (1 time)" in '\n'.join(loaded.complaints.lines())


def test_types_without_letters_are_read_where_that_is_asked_for(tmp_path):
    loaded = load(tmp_path, words_of('O X X Y O'), scheme='io')
    assert tags(loaded) == [('O', 'I-X', 'I-X', 'I-Y', 'O')] and loaded.task.scheme == 'iob1'
    options = {'known': loaded.task, 'writing': loaded.task.writing}
    assert tags(load(tmp_path, words_of('X O'), split='dev', **options)) == [('I-X', 'O')]


# ---------------------------------------------------------------------------------------------
# The real files


@pytest.mark.skipif('ELECTRA_DATA' not in os.environ, reason='ELECTRA_DATA is not set')
def test_the_real_files_are_read_completely_and_learned_as_iobes():
    folder = pathlib.Path(os.environ['ELECTRA_DATA'])
    train = loading.load('chunk', str(folder), 'train')
    dev = loading.load('chunk', str(folder), 'dev', known=train.task)
    assert (len(train.examples), len(dev.examples)) == (8_936, 2_012)
    assert sum(len(e.words) for e in dev.examples) == 47_377
    assert train.complaints.counts == dev.complaints.counts == {}
    assert sum(len(tag_schemes.spans(e.tags)) for e in dev.examples) == 23_852
    assert len(train.task.labels) == 1 + 4 * 11
    assert all(tag_schemes.problem(e.tags, 'iobes') is None for e in train.examples)
