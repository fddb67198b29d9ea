"""Examples into token rows: layout, cutting, labels, windows and the way back to characters."""

import numpy as np
import pytest

from electra_jax.core.errors import ConfigError, DataError
from electra_jax.finetune import features, span_features
from electra_jax.finetune.examples import Answer, SpanExample, TaggedExample, TextExample
from electra_jax.finetune.features import FeatureSettings
from electra_jax.tokenizers.wordpiece import WordPiece

SPECIAL = ['[PAD]', '[UNK]', '[CLS]', '[SEP]', '[MASK]']
WORDS = [*'abcdefghij', 'the', 'big', 'dog', '##s', 'in', 'paris', '1889', '(', ')', ',', '.']
TOKENIZER = WordPiece([*SPECIAL, *WORDS])


def text(a, b=None, label=None, name='0'):
    return TextExample(name, a, b, label, f'file.csv:{name}')


def pieces(ids):
    return ' '.join(TOKENIZER.tokens(ids))


def rows_of(examples, **settings):
    settings = {'kind': 'classification', 'row_length': 12, **settings}
    return features.token_rows(TOKENIZER, examples, FeatureSettings(**settings))


def test_texts_and_pairs_are_laid_out_as_the_reference_has_them():
    examples = [text('the big dogs', label='no'), text('a b', 'c', 'yes')]
    rows = rows_of(examples, labels=('no', 'yes'))
    assert [pieces(rows.tokens[i]) for i in (0, 1)] == [
        '[CLS] the big dog ##s [SEP]', '[CLS] a b [SEP] c [SEP]',
    ]  # fmt: skip
    assert rows.second.tolist() == [6, 4]
    assert rows.numbers['label'].tolist() == [0, 1]


def test_the_longer_text_of_a_pair_is_cut():
    (rows,) = [rows_of([text('a b c d e f g h', 'i j', 'x')], labels=('x',))]
    assert pieces(rows.tokens[0]) == '[CLS] a b c d e f g [SEP] i j [SEP]'
    rows = rows_of([text('a b c d e f g h i j a b c d', label='x')], labels=('x',))
    assert len(rows.tokens[0]) == 12 and pieces(rows.tokens[0]).endswith('j [SEP]')


def test_scores_become_shares_of_their_range():
    rows = rows_of([text('a', 'b', 2.5)], kind='regression', score_range=(0.0, 5.0))
    assert rows.numbers['target'].tolist() == [0.5]


def test_a_label_that_is_missing_or_unknown_is_named_with_its_place():
    with pytest.raises(DataError, match=r"file.csv:0: the label 'yse', allowed: no, yes.*'yes'"):
        rows_of([text('a', label='yse')], labels=('no', 'yes'))
    with pytest.raises(DataError, match=r'file.csv:0: no label'):
        rows_of([text('a')], labels=('no', 'yes'))
    rows = rows_of([text('a')], labels=('no', 'yes'), labelled=False)
    assert rows.numbers['label'].tolist() == [-1]


def tagged(words, tags=None, name='0'):
    return TaggedExample(name, tuple(words.split()), tags and tuple(tags.split()), 'f:1')


def test_words_are_judged_at_their_first_piece():
    rows = rows_of(
        [tagged('the dogs \u200b in', 'O B O I')], kind='tagging', labels=('O', 'B', 'I')
    )
    assert pieces(rows.tokens[0]) == '[CLS] the dog ##s [UNK] in [SEP]'
    assert rows.marks['words'][0].tolist() == [-1, 0, 1, -1, 2, 3, -1]
    assert rows.marks['labels'][0].tolist() == [-1, 0, 1, -1, 0, 2, -1]
    assert rows.second.tolist() == [0]  # all of type 1, as in the reference
    rows = rows_of([tagged('the', 'O')], kind='tagging', labels=('O',), one_type=False)
    assert rows.second.tolist() == [3]


def test_a_long_sentence_becomes_rows_that_have_each_word_once():
    words = ' '.join(['dogs'] * 11)
    rows = rows_of([tagged(words), tagged('a', name='1')], kind='tagging', labelled=False)
    assert [len(rows.tokens[i]) for i in range(len(rows))] == [12, 12, 4, 3]
    assert rows.example.tolist() == [0, 0, 0, 1]
    marks = np.concatenate([rows.marks['words'][i] for i in range(3)])
    assert marks[marks >= 0].tolist() == list(range(11))


CONTEXT = 'The big dogs (a, b) in Paris, 1889. The dog c d e f g h.'


def question(answers=(), impossible=False, context=CONTEXT):
    found = tuple(Answer(t, context.index(t)) for t in answers)
    return SpanExample('q', '', context, 'in the a', found, impossible, 'f: question q')


def span_rows(example, row_length=40, question_length=2, stride=4):
    return span_features.span_rows(TOKENIZER, [example], row_length, question_length, stride)


def test_an_answers_characters_and_tokens_are_the_same():
    for answer in ('dogs', '(a, b', 'Paris, 1889', '1889', CONTEXT[:-1]):
        rows = span_rows(question([answer]))
        assert len(rows) == 1 and pieces(rows.tokens[0]).startswith('[CLS] in the [SEP] the big')
        start, end = (int(rows.numbers[name][0]) for name in ('start', 'end'))
        begin, stop = rows.marks['begin'][0][start], rows.marks['stop'][0][end]
        assert CONTEXT[begin:stop] == answer


def test_a_long_text_becomes_windows_of_which_one_knows_a_token_best():
    example = question(['Paris'])
    rows = span_rows(example, row_length=14)
    length = len(TOKENIZER.encode_batch([CONTEXT])[0])
    room = 14 - 5
    assert len(rows) == 1 + -(-(length - room) // 4)
    assert set(rows.second.tolist()) == {4}
    best = sum(int(rows.marks['best'][i].sum()) for i in range(len(rows)))
    assert best == length
    for i in range(len(rows)):
        start, end = int(rows.numbers['start'][i]), int(rows.numbers['end'][i])
        inside = 'paris' in pieces(rows.tokens[i])
        assert (start > 0) == inside
        if inside:
            assert CONTEXT[rows.marks['begin'][i][start] : rows.marks['stop'][i][end]] == 'Paris'


def test_a_window_with_half_an_answer_has_none():
    rows = span_rows(question(['(a, b)']), row_length=14)
    held = [
        CONTEXT[rows.marks['begin'][i][s] : rows.marks['stop'][i][e]]
        for i, (s, e) in enumerate(zip(rows.numbers['start'], rows.numbers['end'], strict=True))
        if s
    ]
    assert held and set(held) == {'(a, b)'} and len(held) < len(rows)


def test_no_answer_points_to_the_first_token():
    rows = span_rows(question(impossible=True))
    assert rows.numbers['start'][0] == rows.numbers['end'][0] == 0
    assert rows.numbers['impossible'][0] == 1


def test_a_row_without_room_for_text_is_refused():
    with pytest.raises(ConfigError, match=r'config.task.question_length is 40'):
        span_rows(question(), row_length=40, question_length=40)
