"""Tasks that answer questions: token rows, thresholds, and what is written."""

import dataclasses
import json
import math

import pytest

from electra_jax.core.errors import ConfigError
from electra_jax.finetune import known, results
from electra_jax.finetune.examples import Answer, SpanExample
from electra_jax.finetune.kinds import span_answers
from electra_jax.finetune.kinds.kind import Predictions
from electra_jax.finetune.kinds.span_answers import Found, SpanAnswer
from electra_jax.finetune.kinds.spans import SPANS
from electra_jax.tokenizers.wordpiece import WordPiece
from tests.support.loading import task_of

SPECIAL = ['[PAD]', '[UNK]', '[CLS]', '[SEP]', '[MASK]']
WORDS = [*'abcdefghij', 'the', 'big', 'dog', '##s', 'in', 'paris', '1889', '(', ')', ',', '.']
TOKENIZER = WordPiece([*SPECIAL, *WORDS])


def pieces(ids):
    return ' '.join(TOKENIZER.tokens(ids))


CONTEXT = 'The big dogs (a, b) in Paris, 1889. The dog c d e f g h.'


def question(answers=(), impossible=False, context=CONTEXT):
    found = tuple(Answer(t, context.index(t)) for t in answers)
    return SpanExample('q', context, 'in the a', found, impossible, 'f: question q')


def span_rows(example, row_length=40, question_length=2, stride=4):
    sizes = {'row_length': row_length, 'question_length': question_length, 'stride': stride}
    task = dataclasses.replace(task_of('squad1'), **sizes)
    return SPANS.features(TOKENIZER, [example], task)


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


@pytest.mark.parametrize(
    ('style', 'relative'), [('reference', False), ('mean', False), ('huggingface', True)]
)
def test_no_answer_is_weighed_as_the_head_gives_it(style, relative, monkeypatch):
    """A logit of its own has the reference's threshold; scores of the plain head are compared."""
    asked = []
    monkeypatch.setattr(span_answers, 'answers', lambda *arguments: asked.append(arguments[-1]))
    task = task_of('squad2', head=style)
    SPANS.answers(task, [], [], [])
    assert asked == [relative]
    assert task.null_threshold == (0.0 if relative else known.get('squad2').null_threshold)
    assert known.get('squad2').null_threshold != 0.0
    assert task_of('squad2', head=style, null_threshold=1.5).null_threshold == 1.5


ANSWERS = [
    SpanAnswer('q1', -3.0, (Found('the bear', 4, 2.0, 0.75), Found('bear', 8, 1, 0.25))),
    SpanAnswer('q2', 900.0, (Found('mat', 9, 2.0, 1.0),)),
    SpanAnswer('q3', -900.0, ()),
]


def test_predicted_answers():
    examples = [
        SpanExample('q1', 'c', 'Who?', (), False, 'here', ('bear', 'a bear', 'bear')),
        SpanExample('q2', 'c', 'What?', (), True, 'here'),
        SpanExample('q3', 'c', 'Why?', (), False, 'here'),
    ]
    rows = list(SPANS.to_json(Predictions(task_of('squad2'), examples, ANSWERS)))
    assert rows[0] == {
        'id': 'q1',
        'question': 'Who?',
        'references': ['bear', 'a bear'],
        'prediction': 'the bear',
        'start': 4,
        'probability': 0.75,
        'none_score': -3.0,
    }
    assert rows[1] == {
        'id': 'q2',
        'question': 'What?',
        'references': [],
        'prediction': '',
        'none_score': 900.0,
    }
    assert 'references' not in rows[2]


def test_files_for_the_official_squad_scripts(tmp_path):
    SPANS.write(tmp_path, 'one', Predictions(task_of('squad1'), [], ANSWERS))
    read = lambda name: json.loads((tmp_path / name).read_text())  # noqa: E731
    assert read('one_squad/predictions.json') == {'q1': 'the bear', 'q2': 'mat', 'q3': ''}
    assert sorted(path.name for path in (tmp_path / 'one_squad').iterdir()) == [
        'n_best.json',
        'predictions.json',
    ]
    assert read('one_squad/n_best.json')['q1'][1] == {
        'text': 'bear',
        'probability': 0.25,
        'score': 1,
        'start': 8,
    }
    SPANS.write(tmp_path, 'two', Predictions(task_of('squad2'), [], ANSWERS))
    assert read('two_squad/predictions.json') == {'q1': 'the bear', 'q2': '', 'q3': ''}
    assert read('two_squad/best_texts.json')['q2'] == 'mat'
    assert read('two_squad/null_odds.json') == {'q1': -3.0, 'q2': 900.0, 'q3': -900.0}
    probabilities = read('two_squad/na_prob.json')
    assert probabilities['q1'] == pytest.approx(1 / (1 + math.exp(3)))
    assert (probabilities['q2'], probabilities['q3']) == (1.0, pytest.approx(0.0, abs=1e-300))


@pytest.mark.parametrize('unanswerable', [False, True])
def test_answers_leave_pictures_of_how_sure_they_are(tmp_path, unanswerable):
    task = task_of('spans', unanswerable=unanswerable)
    references = (('bear',), ('hat',), ('x',))
    examples = [
        SpanExample(a.id, 'the bear mat', 'q', (), False, 'here', texts)
        for a, texts in zip(ANSWERS, references, strict=True)
    ]
    results.write_predictions(tmp_path, {'dev': Predictions(task, examples, ANSWERS)})
    names = {path.name for path in tmp_path.iterdir()}
    assert names == {'dev.jsonl', 'dev_squad', 'dev_answers.png'} | (
        {'dev_no_answer.png'} if unanswerable else set()
    )
    assert (tmp_path / 'dev_squad' / 'null_odds.json').exists() == unanswerable
