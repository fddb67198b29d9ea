"""Results over trials."""

import json
import math

import numpy as np
import pytest

from electra_jax.finetune import results
from electra_jax.finetune.examples import Answer, SpanExample, TaggedExample, TextExample
from electra_jax.finetune.kinds.kind import Scores
from electra_jax.finetune.kinds.table import KINDS
from electra_jax.finetune.kinds.text import CLASSIFICATION
from electra_jax.finetune.predict import Predictor
from electra_jax.finetune.results import Results, Trial, Trivial
from electra_jax.finetune.written import write_json
from tests.support.loading import Known, task_of

NOTHING = Trivial({}, {})


def trials(*values: float) -> list[Trial]:
    return [
        Trial(seed, {'dev/mse': value / 2, 'dev/spearman': value})
        for seed, value in enumerate(values)
    ]


def of_scores(many: list[Trial]) -> Results:
    return Results(task_of('stsb'), many, NOTHING)


def test_results_hold_each_trial_and_their_middle(tmp_path):
    of_scores(trials(0.5, 0.75, 0.625, 1.0)).write(tmp_path / 'new', {'init_from': 'x'})
    found = json.loads((tmp_path / 'new' / 'results.json').read_text())
    assert found['task'] == 'stsb'
    assert found['init_from'] == 'x'
    assert [t['metrics']['dev/spearman'] for t in found['trials']] == [0.5, 0.75, 0.625, 1.0]
    assert [t['seed'] for t in found['trials']] == [0, 1, 2, 3]
    deviation = math.sqrt(sum((v - 0.71875) ** 2 for v in (0.5, 0.75, 0.625, 1.0)) / 3)
    assert found['summary']['dev/spearman'] == {
        'median': 0.6875,
        'mean': 0.71875,
        'standard_deviation': pytest.approx(deviation),
        'lowest': 0.5,
        'highest': 1.0,
        'trials': 4,
        'standard_error': None,
    }
    assert found['headline'] == {'metric': 'dev/spearman', **found['summary']['dev/spearman']}


def test_one_trial_has_no_deviation(tmp_path):
    of_scores(trials(0.5)).write(tmp_path, {})
    found = json.loads((tmp_path / 'results.json').read_text())
    assert found['summary']['dev/spearman']['standard_deviation'] is None
    text = (tmp_path / 'results.md').read_text()
    assert '| **dev/spearman** | 50.00 | 50.00 |  | 50.00 |  |' in text


@pytest.mark.parametrize(('task', 'metric', 'known'), [
    ('text', 'accuracy', True), ('spans', 'exact_match', True), ('retrieval', 'recall_at_1', True),
    ('tagging', 'accuracy', False), ('text', 'macro_f1', False),
])  # fmt: skip
def test_a_mean_over_rows_has_their_error(tmp_path, task, metric, known):
    many = [Trial(0, {f'dev/{metric}': 0.75})]
    Results(task_of(task), many, NOTHING, {'dev': 180}).write(tmp_path, {})
    found = json.loads((tmp_path / 'results.json').read_text())
    error = found['summary'][f'dev/{metric}']['standard_error']
    assert error == (pytest.approx(0.03227, abs=1e-5) if known else None)
    assert found['rows'] == {'dev': 180}
    line = f'- standard error of dev/{metric}, by 180 rows: 3.23'
    assert (line in (tmp_path / 'results.md').read_text()) == known
    assert results.summarize(many)[f'dev/{metric}'].standard_error is None  # rows are not known


def test_the_table_has_the_headline_first_and_notes_last():
    many = trials(0.5, 0.75)
    many[1] = many[1]._replace(notes=('pearson is not defined',))
    lines = of_scores(many).markdown().splitlines()
    assert lines[4:8] == [
        '| metric | median | mean | standard deviation | seed 0 | seed 1 | trivial |',
        '| --- | ---: | ---: | ---: | ---: | ---: | ---: |',
        '| **dev/spearman** | 62.50 | 62.50 | 17.68 | 50.00 | 75.00 |  |',
        '| dev/mse | 0.312 | 0.312 | 0.088 | 0.250 | 0.375 |  |',
    ]
    assert lines[-1] == '- seed 1: pearson is not defined'


def test_a_metric_that_a_trial_lacks_is_left_open():
    many = [*trials(0.5), Trial(1, {'dev/spearman': 1.0})]
    assert results.summarize(many)['dev/mse'].trials == 1
    assert '| dev/mse | 0.250 | 0.250 |  | 0.250 |  |  |' in of_scores(many).markdown()


def test_shares_alone_are_times_100():
    scores = {'dev/best_f1_threshold': 1.5, 'dev/f1': 0.5, 'dev/mse': 0.5}
    wanted = 'dev/best_f1_threshold 1.500  dev/f1 50.00  dev/mse 0.500'
    assert results.scores_line(scores) == wanted


def test_a_nan_is_no_result(tmp_path):
    with pytest.raises(ValueError, match='JSON'):
        write_json(tmp_path / 'x.json', {'loss': float('nan')})
    assert list(tmp_path.iterdir()) == []


def labelled(*labels):
    return [TextExample(str(i), 'a', None, one, 'here') for i, one in enumerate(labels)]


def tagged(*tags):
    return [TaggedExample('0', ('w',) * len(tags), tags, 'here')]


CONTEXT = 'Ann left Rome. Bob stayed.'
QUESTION = SpanExample('q', CONTEXT, 'who', (Answer('Ann', 0),), False, 'here', ('Ann left Rome',))
NONE = QUESTION._replace(id='n', answers=(), impossible=True, references=())
TRIVIAL = {
    'classification': (
        task_of('text', Known(('bad', 'good'))), labelled('good', 'good', 'bad'),
        labelled('bad', 'bad', 'good'), "'good' for every row", {'accuracy': 1 / 3},
    ),
    'regression': (
        task_of('text_regression', Known(score_range=(0.0, 4.0))), labelled(0.0, 4.0),
        labelled(1.0, 3.0), 'the mean, 2, for every row', {'mse': 1.0, 'pearson': 0.0},
    ),
    'tagging': (
        task_of('tagging', Known(('O', 'B-X'), 'bio')), tagged('O', 'O', 'B-X'),
        tagged('O', 'B-X'), "'O' for every word", {'f1': 0.0, 'accuracy': 0.5},
    ),
    'spans': (
        task_of('spans'), [QUESTION], [QUESTION], 'the first sentence for every question',
        {'exact_match': 1.0},
    ),
    'spans without answers': (
        task_of('squad2'), [QUESTION], [NONE, NONE, QUESTION._replace(references=('Bob',))],
        'no answer to every question', {'exact_match': 2 / 3},
    ),
}  # fmt: skip


@pytest.mark.parametrize('case', TRIVIAL)
def test_what_answers_nothing_stands_next_to_the_results(tmp_path, case):
    task, train, dev, answer, wanted = TRIVIAL[case]
    easy = results.trivial(task, train, {'dev': dev})
    assert easy.answers == {'dev': answer}
    assert {name: easy.metrics[f'dev/{name}'] for name in wanted} == pytest.approx(wanted)
    assert results.trivial(task, (), {'dev': dev}).metrics.keys() == easy.metrics.keys()
    metric = f'dev/{next(iter(wanted))}'
    found = Results(task, [Trial(0, {metric: 0.5})], easy)
    lines = found.lines().splitlines()
    assert '(trivial: ' in lines[0] and lines[1] == f'trivial in dev: {answer}'
    found.write(tmp_path, {})
    assert '| seed 0 | trivial |' in (tmp_path / 'results.md').read_text()
    stored = json.loads((tmp_path / 'results.json').read_text())['trivial']
    assert stored == {'answers': easy.answers, 'metrics': easy.metrics}


@pytest.mark.parametrize('sizes', [(2, 2), (2, 3)])
def test_an_added_kind_may_answer_with_an_array_of_any_shape_for_each_example(monkeypatch, sizes):
    def score(predictions):
        return Scores({'accuracy': sum(map(len, predictions.values)) / 10})

    added = CLASSIFICATION._replace(
        score=score, trivial=lambda task, known, some: {'2': [[1], [1]]}
    )
    monkeypatch.setitem(KINDS, 'classification', added)
    task = task_of('text', Known(('bad', 'good')))
    predictor = Predictor(None, task, None, None, None)
    pairs = list(zip(labelled('good', 'bad'), map(np.zeros, sizes), strict=True))
    line, *_ = predictor.scores({'in.csv': pairs})
    assert line == f'2 rows with labels: in.csv/accuracy {10 * sum(sizes):.2f}'
