"""What a task leaves behind, read again: results, predictions, submissions, pictures."""

import json
import math

import numpy as np
import pytest

from electra_jax.config.recipe import recipe
from electra_jax.config.resolve import resolve
from electra_jax.core import errors
from electra_jax.finetune import known as table
from electra_jax.finetune import plots, prediction_files, results
from electra_jax.finetune import task as trained
from electra_jax.finetune.examples import SpanExample, TaggedExample, TextExample
from electra_jax.finetune.predictions import Predictions
from electra_jax.finetune.readers import Known
from electra_jax.finetune.results import Trial
from electra_jax.finetune.span_answers import Found, SpanAnswer


def trials(*values: float) -> list[Trial]:
    return [
        Trial(seed, {'dev/mse': value / 2, 'dev/accuracy': value})
        for seed, value in enumerate(values)
    ]


def test_results_hold_each_trial_and_their_middle(tmp_path):
    many = trials(0.5, 0.75, 0.625, 1.0)
    results.write_results(tmp_path / 'new', 'sst2', 'dev/accuracy', many, {'init_from': 'x'})
    found = json.loads((tmp_path / 'new' / 'results.json').read_text())
    assert found['task'] == 'sst2'
    assert found['init_from'] == 'x'
    assert [t['metrics']['dev/accuracy'] for t in found['trials']] == [0.5, 0.75, 0.625, 1.0]
    assert [t['seed'] for t in found['trials']] == [0, 1, 2, 3]
    deviation = math.sqrt(sum((v - 0.71875) ** 2 for v in (0.5, 0.75, 0.625, 1.0)) / 3)
    assert found['summary']['dev/accuracy'] == {
        'median': 0.6875,
        'mean': 0.71875,
        'standard_deviation': pytest.approx(deviation),
        'lowest': 0.5,
        'highest': 1.0,
        'trials': 4,
    }
    assert found['headline'] == {'metric': 'dev/accuracy', **found['summary']['dev/accuracy']}


def test_one_trial_has_no_deviation(tmp_path):
    results.write_results(tmp_path, 'sst2', 'dev/accuracy', trials(0.5))
    found = json.loads((tmp_path / 'results.json').read_text())
    assert found['summary']['dev/accuracy']['standard_deviation'] is None
    assert (
        '| **dev/accuracy** | 50.00 | 50.00 |  | 50.00 |' in (tmp_path / 'results.md').read_text()
    )


def test_the_table_has_the_headline_first_and_notes_last():
    many = trials(0.5, 0.75)
    many[1] = many[1]._replace(notes=('pearson is not defined',))
    lines = results.markdown('stsb', 'dev/accuracy', many).splitlines()
    assert lines[4:8] == [
        '| metric | median | mean | standard deviation | seed 0 | seed 1 |',
        '| --- | ---: | ---: | ---: | ---: | ---: |',
        '| **dev/accuracy** | 62.50 | 62.50 | 17.68 | 50.00 | 75.00 |',
        '| dev/mse | 0.312 | 0.312 | 0.088 | 0.250 | 0.375 |',
    ]
    assert lines[-1] == '- seed 1: pearson is not defined'


def test_a_metric_that_a_trial_lacks_is_left_open():
    many = [*trials(0.5), Trial(1, {'dev/accuracy': 1.0})]
    assert results.summarize(many)['dev/mse'].trials == 1
    assert '| dev/mse | 0.250 | 0.250 |  | 0.250 |  |' in results.markdown(
        'x', 'dev/accuracy', many
    )


def test_a_nan_is_no_result(tmp_path):
    with pytest.raises(ValueError, match='JSON'):
        results.write_json(tmp_path / 'x.json', {'loss': float('nan')})
    assert list(tmp_path.iterdir()) == []


# ---------------------------------------------------------------------------------------------
# Predictions


def read_lines(path) -> list[dict]:
    return [json.loads(line) for line in path.read_text().split('\n') if line]


def test_predicted_classes_and_scores(tmp_path):
    examples = [
        TextExample('7', 'Ünal\u2028x', None, 'yes', 'here'),
        TextExample('8', 'a', 'b', None, 'here'),
    ]
    probs = np.array([[0.25, 0.75], [1.0, 1e-9]], np.float32)
    path = tmp_path / 'deep' / 'predictions.jsonl'
    results.write_json_lines(path, prediction_files.text_rows(examples, probs, ('no', 'yes')))
    first, second = read_lines(path)
    assert first == {
        'id': '7',
        'text_a': 'Ünal\u2028x',
        'label': 'yes',
        'prediction': 'yes',
        'probabilities': {'no': 0.25, 'yes': 0.75},
    }
    assert second['prediction'] == 'no'
    assert second['text_b'] == 'b'
    assert 'label' not in second
    results.write_json_lines(path, prediction_files.score_rows(examples, [1.23456789, 2]))
    assert [row['prediction'] for row in read_lines(path)] == [1.23457, 2.0]


def test_predicted_tags(tmp_path):
    examples = [TaggedExample('0', ('He', 'won'), ('B-X', 'O'), 'here')]
    probs = [np.array([[0.1, 0.9], [0.8, 0.2]], np.float32)]
    rows = prediction_files.tag_rows(examples, probs, ('O', 'B-X'))
    results.write_json_lines(tmp_path / 'p', rows)
    assert read_lines(tmp_path / 'p') == [
        {
            'id': '0',
            'words': ['He', 'won'],
            'tags': ['B-X', 'O'],
            'predictions': ['B-X', 'O'],
            'probabilities': [0.9, 0.8],
        }
    ]


ANSWERS = [
    SpanAnswer(
        'q1', 'the bear', -3.0, (Found('the bear', 4, 2.0, 0.75), Found('bear', 8, 1, 0.25))
    ),
    SpanAnswer('q2', 'mat', 900.0, (Found('mat', 9, 2.0, 1.0),)),
    SpanAnswer('q3', '', -900.0, ()),
]


def test_predicted_answers(tmp_path):
    examples = [
        SpanExample('q1', '', 'c', 'Who?', (), False, 'here', ('bear', 'a bear', 'bear')),
        SpanExample('q2', '', 'c', 'What?', (), True, 'here'),
        SpanExample('q3', '', 'c', 'Why?', (), False, 'here'),
    ]
    texts = {'q1': 'the bear', 'q2': '', 'q3': ''}
    rows = list(prediction_files.answer_rows(examples, ANSWERS, texts))
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
    prediction_files.write_squad(tmp_path / 'one', ANSWERS, None)
    read = lambda name: json.loads((tmp_path / name).read_text())  # noqa: E731
    assert read('one/predictions.json') == {'q1': 'the bear', 'q2': 'mat', 'q3': ''}
    assert sorted(path.name for path in (tmp_path / 'one').iterdir()) == [
        'n_best.json',
        'predictions.json',
    ]
    assert read('one/n_best.json')['q1'][1] == {
        'text': 'bear',
        'probability': 0.25,
        'score': 1,
        'start': 8,
    }
    prediction_files.write_squad(tmp_path / 'two', ANSWERS, -2.75)
    assert read('two/predictions.json') == {'q1': 'the bear', 'q2': '', 'q3': ''}
    assert read('two/best_texts.json')['q2'] == 'mat'
    assert read('two/null_odds.json') == {'q1': -3.0, 'q2': 900.0, 'q3': -900.0}
    probabilities = read('two/na_prob.json')
    assert probabilities['q1'] == pytest.approx(1 / (1 + math.exp(3)))
    assert (probabilities['q2'], probabilities['q3']) == (1.0, pytest.approx(0.0, abs=1e-300))


# ---------------------------------------------------------------------------------------------
# GLUE


def test_glue_gets_words_or_numbers_in_order(tmp_path):
    examples = [TextExample(str(i), 'a', 'b', None, f'test.tsv:{i + 2}') for i in (1, 0, 2)]
    rte = table.get('rte')
    labels = ['entailment', 'not_entailment', 'entailment']
    path = prediction_files.write_glue(tmp_path, rte, 'test', examples, labels)
    assert path == tmp_path / 'RTE.tsv'
    assert path.read_text() == (
        'index\tprediction\n0\tnot_entailment\n1\tentailment\n2\tentailment\n'
    )
    path = prediction_files.write_glue(
        tmp_path, table.get('stsb'), 'test', examples, [2.34567, -0.2, np.float32(5.3)]
    )
    assert path.name == 'STS-B.tsv'
    assert path.read_text().split('\n')[1:-1] == ['0\t0.000', '1\t2.346', '2\t5.000']


def test_glue_file_names():
    names = {name for spec in table.TASKS.values() for name in spec.submissions.values()}
    assert names == {
        f'{name}.tsv'
        for name in 'AX CoLA MNLI-m MNLI-mm MRPC QNLI QQP RTE SST-2 STS-B WNLI'.split()
    }


@pytest.mark.parametrize('ids', ['0 2', '1 2', '0 0', 'a b', '-1 0'])
def test_a_test_file_with_gaps_is_refused(ids):
    examples = [TextExample(name, 'a', 'b', None, 'test.tsv') for name in ids.split()]
    with pytest.raises(errors.DataError, match='one prediction for every row of the test file'):
        prediction_files.check_whole(examples)


def test_a_whole_test_file_is_not_refused():
    ids = (10, *range(10))
    prediction_files.check_whole([TextExample(str(i), 'a', 'b', None, 'f') for i in ids])


# ---------------------------------------------------------------------------------------------
# Pictures


def picture(path) -> np.ndarray:
    from matplotlib import image

    return image.imread(path)


def coloured(path) -> int:
    """Pixels that are not grey: axes, their numbers and words are."""
    rgb = picture(path)[..., :3]
    return int((rgb.max(axis=-1) - rgb.min(axis=-1) > 0.05).sum())


def test_a_confusion_matrix_is_drawn(tmp_path):
    plots.confusion(tmp_path / 'a.png', [0, 1, 1], [0, 1, 0], ('no', 'yes'), 'sst2')
    plots.confusion(tmp_path / 'b.png', [0, 1, 1], [0, 1, 1], ('no', 'yes'), 'sst2')
    one, other = picture(tmp_path / 'a.png'), picture(tmp_path / 'b.png')
    assert one.shape == other.shape
    assert (one != other).any()
    many = [f'class {i}' for i in range(25)]
    plots.confusion(tmp_path / 'c.png', [0, 24], [24, 24], many, 'many')
    assert picture(tmp_path / 'c.png').shape[0] > one.shape[0]


def test_scores_are_drawn(tmp_path):
    plots.scatter(tmp_path / 'deep' / 'a.png', [0, 1, 5], [0.5, 1, 4], 'stsb')
    plots.scatter(tmp_path / 'deep' / 'f.png', [0, 5, 5], [0.5, 4, 4], 'stsb')
    # A point in each place; two of those of the second picture are one.
    one, other = (coloured(tmp_path / 'deep' / name) for name in ('a.png', 'f.png'))
    assert one == pytest.approx(1.5 * other, rel=0.2) and other > 0
    groups = {'with': [1.0, 2.0], 'without': [5.0, float('inf')], 'empty': []}
    plots.distribution(tmp_path / 'b.png', groups, 'squad2', 'score', threshold=3.0)
    plots.distribution(tmp_path / 'c.png', groups, 'squad2', 'score')
    assert (picture(tmp_path / 'b.png') != picture(tmp_path / 'c.png')).any()
    assert coloured(tmp_path / 'b.png') == pytest.approx(coloured(tmp_path / 'c.png'), rel=0.01)
    plots.distribution(tmp_path / 'd.png', {}, 'nothing', 'score')
    plots.distribution(tmp_path / 'e.png', {'one': [2.0, 2.0]}, 'constant', 'score')
    assert coloured(tmp_path / 'd.png') == 0 < coloured(tmp_path / 'e.png')


def of_task(name: str, known: Known, **task: object) -> trained.TrainedTask:
    settings = recipe({'job': 'finetune', 'task': {'name': name, **task}})
    return trained.settle(resolve(settings, 'cpu'), known)


def test_tags_leave_a_picture_and_scores_by_type(tmp_path):
    task = of_task('tagging', Known(('O', 'B-X', 'I-X', 'B-Y', 'I-Y'), 'bio'))
    examples = [TaggedExample('0', ('a', 'b', 'c'), ('B-X', 'I-X', 'B-Y'), 'here')]
    taken = np.eye(5)[[1, 2, 0]]
    found = Predictions(task, examples, [taken])
    prediction_files.write(tmp_path, 'dev', found)
    by_type = json.loads((tmp_path / 'dev_types.json').read_text())
    assert {kind: row['recall'] for kind, row in by_type.items()} == {'X': 1.0, 'Y': 0.0}
    # The same as a picture of what they are: two words of an X, and a Y that is taken for none.
    plots.confusion(tmp_path / 'want.png', [1, 1, 2], [1, 1, 0], 'OXY', 'tagging, dev, words')
    assert (picture(tmp_path / 'dev_confusion.png') == picture(tmp_path / 'want.png')).all()
    plain = of_task('tagging', Known(('B-X', 'NN'), 'plain'))
    examples = [TaggedExample('0', ('a', 'b'), ('B-X', 'NN'), 'here')]
    prediction_files.write(tmp_path / 'p', 'dev', Predictions(plain, examples, [np.eye(2)]))
    assert {path.name for path in (tmp_path / 'p').iterdir()} == {'dev.jsonl', 'dev_confusion.png'}


@pytest.mark.parametrize('unanswerable', [False, True])
def test_answers_leave_pictures_of_how_sure_they_are(tmp_path, unanswerable):
    task = of_task('spans', Known(), unanswerable=unanswerable)
    references = (('bear',), ('hat',), ('x',))
    examples = [
        SpanExample(a.id, '', 'the bear mat', 'q', (), False, 'here', texts)
        for a, texts in zip(ANSWERS, references, strict=True)
    ]
    prediction_files.write(tmp_path, 'dev', Predictions(task, examples, ANSWERS))
    names = {path.name for path in tmp_path.iterdir()}
    assert names == {'dev.jsonl', 'dev_squad', 'dev_answers.png'} | (
        {'dev_no_answer.png'} if unanswerable else set()
    )
    assert (tmp_path / 'dev_squad' / 'null_odds.json').exists() == unanswerable
