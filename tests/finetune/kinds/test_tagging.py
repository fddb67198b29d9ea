"""Tasks that tag words: token rows, metrics, and what is written."""

import dataclasses
import json
import random

import numpy as np
import pytest

from electra_jax.finetune import plots, results
from electra_jax.finetune.examples import TaggedExample
from electra_jax.finetune.files import tag_schemes
from electra_jax.finetune.kinds import tagging
from electra_jax.finetune.kinds.kind import Predictions
from electra_jax.finetune.kinds.tagging import TAGGING
from electra_jax.tokenizers.wordpiece import WordPiece
from tests.support.loading import Known, task_of
from tests.support.pictures import picture

SPECIAL = ['[PAD]', '[UNK]', '[CLS]', '[SEP]', '[MASK]']
WORDS = [*'abcdefghij', 'the', 'big', 'dog', '##s', 'in', 'paris', '1889', '(', ')', ',', '.']
TOKENIZER = WordPiece([*SPECIAL, *WORDS])


def pieces(ids):
    return ' '.join(TOKENIZER.tokens(ids))


def rows_of(examples, **task):
    task = dataclasses.replace(task_of('tagging'), **{'row_length': 12, **task})
    return TAGGING.features(TOKENIZER, examples, task)


def tagged(words, tags=None, name='0'):
    return TaggedExample(name, tuple(words.split()), tags and tuple(tags.split()), 'f:1')


def test_words_are_judged_at_their_first_piece():
    rows = rows_of([tagged('the dogs \u200b in', 'O B O I')], labels=('O', 'B', 'I'))
    assert pieces(rows.tokens[0]) == '[CLS] the dog ##s [UNK] in [SEP]'
    assert rows.marks['words'][0].tolist() == [-1, 0, 1, -1, 2, 3, -1]
    assert rows.marks['labels'][0].tolist() == [-1, 0, 1, -1, 0, 2, -1]
    assert rows.second.tolist() == [0]  # all of type 1, as in the reference
    rows = rows_of([tagged('the', 'O')], labels=('O',), style='huggingface')
    assert rows.second.tolist() == [3]


def test_a_long_sentence_becomes_rows_that_have_each_word_once():
    words = ' '.join(['dogs'] * 11)
    rows = rows_of([tagged(words), tagged('a', name='1')])
    assert [len(rows.tokens[i]) for i in range(len(rows))] == [12, 12, 4, 3]
    assert rows.example.tolist() == [0, 0, 0, 1]
    marks = np.concatenate([rows.marks['words'][i] for i in range(3)])
    assert marks[marks >= 0].tolist() == list(range(11))


def random_tags(seed: int, scheme: str) -> tuple[list[list[str]], list[list[str]]]:
    rng = random.Random(seed)
    letters = tag_schemes.SCHEMES[scheme]
    pool = ['O', 'O', *(f'{letter}-{kind}' for letter in letters for kind in 'XY')]
    gold = []
    for _ in range(30):
        tags = [rng.choice(pool) for _ in range(rng.randint(1, 9))]
        gold.append(list(tag_schemes.convert(tags, scheme)))
    predicted = [[tag if rng.random() < 0.7 else rng.choice(pool) for tag in tags] for tags in gold]
    return gold, predicted


def span_scores(gold: list, predicted: list) -> tuple[float, float, float]:
    right = true = found = 0
    for one, other in zip(gold, predicted, strict=True):
        one, other = set(one), set(other)
        right, true, found = right + len(one & other), true + len(one), found + len(other)
    return 2 * right / (true + found), right / found, right / true


@pytest.mark.parametrize('scheme', ['bio', 'iob1', 'iobes', 'bilou'])
@pytest.mark.parametrize('seed', range(3))
def test_span_scores_against_the_formulas(scheme, seed):
    gold, predicted = random_tags(seed, scheme)
    found = tagging.tag_scores(gold, predicted, scheme)
    spans = [[tag_schemes.spans(tags) for tags in side] for side in (gold, predicted)]
    values = [found.values[name] for name in ('f1', 'precision', 'recall')]
    assert values == pytest.approx(span_scores(*spans), abs=1e-12)
    flat = [np.concatenate(side) for side in (gold, predicted)]
    assert found.values['accuracy'] == pytest.approx(np.mean(flat[0] == flat[1]), abs=1e-12)
    by_type = tagging.scores_by_type(gold, predicted)
    support = sum(by_type[name]['support'] for name in 'XY')
    assert support == sum(map(len, spans[0]))


def test_ill_formed_spans_count_as_conlleval_reads_them():
    gold, predicted = [['B-X', 'I-X', 'O', 'B-Y']], [['I-X', 'I-X', 'O', 'B-Y']]
    assert tagging.tag_scores(gold, predicted, 'bio').values['f1'] == 1.0


@pytest.mark.parametrize(
    ('gold', 'predicted', 'wanted'),
    [
        ([['O', 'O']], [['O', 'O']], 0.0),
        ([['B-X']], [['O']], 0.0),
        ([['O']], [['B-X']], 0.0),
        ([['B-X']], [['B-X']], 1.0),
    ],
)
def test_no_spans_on_a_side(gold, predicted, wanted):
    found = tagging.tag_scores(gold, predicted, 'bio')
    assert [found.values[n] for n in ('f1', 'precision', 'recall')] == [wanted] * 3
    assert bool(found.notes) == (gold == predicted and wanted == 0)


def test_plain_tags_have_an_accuracy_only():
    found = tagging.tag_scores([['DT', 'NN'], ['VB']], [['DT', 'VB'], ['VB']], 'plain')
    assert found.values == {'accuracy': pytest.approx(2 / 3)}


def test_predicted_tags():
    examples = [TaggedExample('0', ('He', 'won'), ('B-X', 'O'), 'here')]
    probs = [np.array([[0.1, 0.9], [0.8, 0.2]], np.float32)]
    task = task_of('tagging', Known(('O', 'B-X'), 'bio'))
    assert list(TAGGING.to_json(Predictions(task, examples, probs))) == [
        {
            'id': '0',
            'words': ['He', 'won'],
            'tags': ['B-X', 'O'],
            'predictions': ['B-X', 'O'],
            'probabilities': [0.9, 0.8],
        }
    ]


def test_tags_leave_a_picture_and_scores_by_type(tmp_path):
    task = task_of('tagging', Known(('O', 'B-X', 'I-X', 'B-Y', 'I-Y'), 'bio'))
    examples = [TaggedExample('0', ('a', 'b', 'c'), ('B-X', 'I-X', 'B-Y'), 'here')]
    taken = np.eye(5)[[1, 2, 0]]
    found = Predictions(task, examples, [taken])
    results.write_predictions(tmp_path, {'dev': found})
    by_type = json.loads((tmp_path / 'dev_types.json').read_text())
    assert {kind: row['recall'] for kind, row in by_type.items()} == {'X': 1.0, 'Y': 0.0}
    # The same as a picture of what they are: two words of an X, and a Y that is taken for none.
    plots.confusion(tmp_path / 'want.png', [1, 1, 2], [1, 1, 0], 'OXY', 'tagging, dev, words')
    assert (picture(tmp_path / 'dev_confusion.png') == picture(tmp_path / 'want.png')).all()
    plain = task_of('tagging', Known(('B-X', 'NN'), 'plain'))
    examples = [TaggedExample('0', ('a', 'b'), ('B-X', 'NN'), 'here')]
    found = Predictions(plain, examples, [np.eye(2)])
    results.write_predictions(tmp_path / 'p', {'dev': found})
    assert {path.name for path in (tmp_path / 'p').iterdir()} == {'dev.jsonl', 'dev_confusion.png'}
