"""The table and the plot of runs, read from their workdirs."""

import csv
import dataclasses
import itertools
import json
import sys

import pytest

from electra_jax.sweep import plot, processes, table
from electra_jax.sweep.shown import Shown
from electra_jax.train import metric_lines
from tests.support.sweep_runs import stand_ins


@pytest.fixture
def finished(tmp_path):
    runs = stand_ins(tmp_path, ['1', '2'])
    processes.run_all(runs, [{}, {}], poll_seconds=0.02)
    return [Shown(run.name, run.folder, run.varied, 'done') for run in runs]


@pytest.fixture
def undrawn(monkeypatch):
    monkeypatch.setattr(plot, 'draw', lambda *arguments: 'no plot')


def test_the_file_has_held_out_metrics_time_and_operations(finished, tmp_path, undrawn):
    table.write(finished, None, None, tmp_path / 'out')
    with (tmp_path / 'out' / 'table.csv').open() as file:
        rows = list(csv.DictReader(file))
    assert [row['seed'] for row in rows] == ['1', '2'] and float(rows[1]['train/loss']) == 2.0
    # 4 rows of 16 tokens: 64 times the operations of a token.
    assert rows[0] == {
        'run': 'run0', 'seed': '1', 'outcome': 'done', 'step': '4', 'eval/disc_auc': '0.75',
        'train/loss': '2.0', 'ms/step': '250.0', 'GFLOP/step': '0.064',
        'GFLOP/step (paper)': '0.128', 'best': '',
    }  # fmt: skip


def test_columns_that_are_equal_in_all_rows_are_not_printed(finished, tmp_path, undrawn):
    text = table.write(finished, None, None, tmp_path / 'out')
    assert (tmp_path / 'out' / 'table.md').read_text().splitlines() == [
        '| run | eval/disc_auc |', '| --- | ---: |', '| run0 | 0.75 |', '| run1 | 0.75 |',
    ]  # fmt: skip
    assert '| run0 | 0.75 |' in text and 'best: ' not in text


def with_evaluations(runs, losses, aucs):
    for run, loss, auc in zip(runs, losses, aucs, strict=True):
        line = {'step': 4, 'eval/mlm_loss': loss, 'eval/disc_auc': auc, 'eval/fake_rate': 0.1}
        (run.folder / 'metrics.jsonl').write_text(json.dumps(line) + '\n')
    return runs


def test_the_best_is_marked_and_other_generators_are_no_comparison(finished, tmp_path, undrawn):
    text = table.write(with_evaluations(finished, (6.0, 5.0), (0.9, 0.6)), None, None, tmp_path)
    assert text.splitlines()[:4] == [
        '| run | eval/mlm_loss | eval/disc_auc |', '| --- | ---: | ---: |',
        '| run0 | 6 | 0.9 |', '| **run1** | **5** | 0.6 |',
    ]  # fmt: skip
    assert 'best: run1, by eval/mlm_loss, 5 (lower is better)' in text
    assert 'mlm_loss 5.000 to 6.000: they are no comparison' in text
    with (tmp_path / 'table.csv').open() as file:
        assert [row['best'] for row in csv.DictReader(file)] == ['', 'yes']
    fresh = [Shown(run.name, run.folder, run.varied, 'done') for run in finished]
    text = table.write(fresh, 'eval/disc_auc', None, tmp_path)
    assert 'best: ' not in text and 'they are no comparison' in text
    text = table.write(fresh, 'eval/nothing', None, tmp_path)
    assert 'note: no run has eval/nothing' in text


def test_runs_that_know_frequencies_alone_are_a_warning(finished, tmp_path, undrawn):
    line = {'step': 4, 'eval/mlm_loss': 6.5, 'eval/unigram_loss': 6.4}
    for run in finished:
        (run.folder / 'metrics.jsonl').write_text(json.dumps(line) + '\n')
    text = table.write(finished, None, None, tmp_path)
    assert 'warning: the mlm_loss of all runs is not below unigram_loss' in text
    line['eval/mlm_loss'] = 6.3
    (finished[1].folder / 'metrics.jsonl').write_text(json.dumps(line) + '\n')
    runs = [Shown(run.name, run.folder, {}, 'done') for run in finished]
    assert 'the mlm_loss of run0 is not below unigram_loss' in table.write(
        runs, None, None, tmp_path
    )
    about = {'config': {'model': {'generator': 'unigram'}}}
    (finished[0].folder / 'config.json').write_text(json.dumps(about))
    runs = [Shown(run.name, run.folder, {}, 'done') for run in finished]
    assert 'warning' not in table.write(runs, None, None, tmp_path)


def of_texts(runs, corpora):
    for run, corpus in zip(runs, corpora, strict=True):
        about = json.loads((run.folder / 'config.json').read_text())
        (run.folder / 'config.json').write_text(json.dumps({**about, 'corpora': [corpus]}))
    return [Shown(run.name, run.folder, run.varied, 'done') for run in runs]


def test_runs_on_other_texts_or_tokenizers_have_no_best(finished, tmp_path, undrawn):
    runs = with_evaluations(finished, (6.0, 5.0), (0.9, 0.6))
    before, other = {'fingerprint': 'a'}, {'fingerprint': 'b'}
    for metric in ('eval/mlm_loss', 'train/loss', None):
        text = table.write(of_texts(runs, (before, other)), metric, None, tmp_path)
        assert 'best: ' not in text and 'different tokenizers' in text and '**' not in text
        assert '| held-out text |' in text and "generator's run" not in text
    assert 'different tokenizers' in table.write(runs, 'eval/mlm_loss', ['train/loss'], tmp_path)
    # Of other training text, but scored on the same: a comparison. Older runs lack that hash.
    after = [{**one, 'held_out_fingerprint': 'c'} for one in (before, other)]
    for corpora in ((before, before), after, (before, after[0])):
        text = table.write(of_texts(runs, corpora), None, None, tmp_path)
        assert 'best: run1, by eval/mlm_loss' in text and 'held-out text |' not in text
    about = json.loads((runs[1].folder / 'config.json').read_text())
    about['config']['eval'] = {'rows': 8}
    (runs[1].folder / 'config.json').write_text(json.dumps(about))
    fresh = [Shown(run.name, run.folder, run.varied, 'done') for run in runs]
    assert 'best: ' not in table.write(fresh, None, None, tmp_path)


def test_what_a_failed_run_has_is_older_and_not_ranked(finished, tmp_path, undrawn):
    runs = with_evaluations(finished, (6.0, 5.0), (0.9, 0.6))
    runs = [dataclasses.replace(runs[0], outcome='failed'), runs[1]]
    text = table.write(runs, None, None, tmp_path)
    assert 'note: run0 failed: ' in text and 'best: ' not in text
    text = table.write([*runs, dataclasses.replace(runs[1], name='run2')], None, None, tmp_path)
    assert 'best: ' not in text  # the two that are left are alike


def of_seeds(finished, losses):
    """Runs of three settings, whose losses are given by seed."""
    runs = []
    for name, values in losses.items():
        for seed, loss in enumerate(values):
            folder = finished[0].folder.parent / f'{name}-{seed}'
            folder.mkdir(exist_ok=True)
            line = {'step': 4, 'eval/mlm_loss': loss}
            (folder / 'metrics.jsonl').write_text(json.dumps(line) + '\n')
            varied = {'rate': name, 'seed': str(seed)}
            runs.append(Shown(f'rate={name}-seed={seed}', folder, varied, 'done', f'rate={name}'))
    return runs


def test_of_a_sweep_over_seeds_settings_are_compared_by_their_means(finished, tmp_path, undrawn):
    # The best single run has not the best setting.
    losses = {'1': (5.0, 5.25, 5.5), '2': (4.75, 5.5, 6.25), '3': (9.0, 9.5, 10.0)}
    runs = of_seeds(finished, losses)
    text = table.write(runs, None, None, tmp_path / 'out')
    assert (tmp_path / 'out' / 'table.md').read_text() in text
    assert text.splitlines()[12:17] == [
        '| mean (standard deviation) over seeds | seeds | eval/mlm_loss |',
        '| --- | ---: | ---: |',
        '| **rate=1** | 3 | **5.25 (0.25)** |', '| rate=2 | 3 | 5.5 (0.75) |',
        '| rate=3 | 3 | 9.5 (0.5) |',
    ]  # fmt: skip
    assert 'best: rate=1, by the mean of eval/mlm_loss over 3 seeds, 5.25 (lower' in text
    assert text.count('best: ') == 1 and '**rate=2-seed=0**' not in text
    # The pooled deviation is 0.54: the limit is 2 * 0.54 * sqrt(2 / 3) = 0.882.
    assert 'note: rate=2: no difference from the best' in text and 'seeds is 0.5401' in text
    with (tmp_path / 'out' / 'table.csv').open() as file:
        rows = list(csv.DictReader(file))
    assert [row['best'] for row in rows] == [''] * 9 + ['yes', '', '']
    assert rows[0]['seeds'] == ''
    first = rows[9]
    assert (first['run'], first['rate'], first['seed'], first['seeds']) == ('rate=1', '1', '', '3')
    assert (first['eval/mlm_loss'], first['standard deviation over seeds']) == ('5.25', '0.25')
    runs[2] = dataclasses.replace(runs[2], outcome='failed')  # two seeds are left
    assert 'rate=1** | 2 | **5.125 (' in table.write(runs, None, None, tmp_path / 'out')


def test_two_seeds_decide_nothing_and_of_one_setting_there_is_a_mean(finished, tmp_path, undrawn):
    text = table.write(of_seeds(finished, {'1': (5, 6), '2': (4, 4)}), None, None, tmp_path)
    assert 'best: rate=2, by the mean' in text and 'note: no setting has three seeds' in text
    text = table.write(of_seeds(finished, {'1': (5, 6)}), None, None, tmp_path)
    assert '| rate=1 | 2 | 5.5 (0.7071) |' in text and 'best: ' not in text
    text = table.write(of_seeds(finished, {'1': (5,), '2': (6,)}), None, None, tmp_path)
    assert 'over seeds' not in text and 'best: rate=1-seed=0' in text


def test_aucs_against_one_generator_rank(finished, tmp_path, undrawn):
    text = table.write(with_evaluations(finished, (6.0, 6.0), (0.9, 0.6)), None, None, tmp_path)
    assert 'best: run0, by eval/disc_auc, 0.9 (higher is better)' in text
    assert 'no comparison' not in text


def test_columns_may_be_chosen_and_a_run_that_never_began_has_empty_cells(finished, tmp_path):
    runs = [*finished, Shown('none', tmp_path / 'none', {}, 'waiting')]
    names, rows = table.table(runs, 'eval/disc_auc', ['train/loss'])
    assert rows[0]['eval/disc_auc'] == 0.75 and rows[0]['train/loss'] == 2.0
    assert rows[-1] == {'run': 'none', 'outcome': 'waiting', **dict.fromkeys(names[2:6])}
    assert table.narrow(names, rows, 'eval/disc_auc', ['train/loss'])[:5] == [
        'run', 'outcome', 'step', 'eval/disc_auc', 'train/loss',
    ]  # fmt: skip


def test_fine_tuning_shows_the_spread_of_its_headline(tmp_path, undrawn):
    headline = {
        'metric': 'dev/matthews', 'median': 0.125, 'mean': 0.12, 'standard_deviation': 0.01,
        'lowest': 0.1, 'highest': 0.15, 'trials': 5,
    }  # fmt: skip
    (tmp_path / 'results.json').write_text(json.dumps({'task': 'cola', 'headline': headline}))
    (tmp_path / 'one').mkdir()
    (tmp_path / 'results.json').rename(tmp_path / 'one' / 'results.json')
    other = {**headline, 'median': 0.5}
    (tmp_path / 'results.json').write_text(json.dumps({'headline': other}))
    runs = [Shown('cola', tmp_path / 'one', outcome='done'), Shown('better', tmp_path)]
    text = table.write(runs, None, None, tmp_path / 'out')
    assert '| **better** |' in text and 'best: better, by dev/matthews (median), 50.00' in text
    row = table.summary(runs[0], 'train/loss', None)
    assert row == {
        'run': 'cola', 'outcome': 'done', 'metric': 'dev/matthews', 'median': 0.125, 'mean': 0.12,
        'standard deviation': 0.01, 'trials': 5, 'task': 'cola',
    }  # fmt: skip


def tuned(folder, score, rows=180, task='text', trivial=0.6):
    folder.mkdir()
    error = (score * (1 - score) / rows) ** 0.5
    headline = {'metric': 'dev/accuracy', 'median': score, 'standard_error': error, 'trials': 1}
    headline['mean'] = score  # which is not printed again
    results = {'task': task, 'headline': headline, 'rows': {'dev': rows}}
    results['trivial'] = {'metrics': {'dev/accuracy': trivial}}
    (folder / 'results.json').write_text(json.dumps(results))
    return Shown(folder.name, folder, outcome='done')


def test_what_few_rows_do_not_tell_apart_is_reported(tmp_path, undrawn):
    runs = [
        tuned(tmp_path / name, score) for name, score in zip('abc', (0.8, 0.75, 0.62), strict=True)
    ]
    text = table.write(runs, None, None, tmp_path / 'out')
    assert text.splitlines()[:5] == [
        '| run | metric | median | standard error |', '| --- | ---: | ---: | ---: |',
        '| **a** | dev/accuracy | **80.00** | 2.98 |', '| b | dev/accuracy | 75.00 | 3.23 |',
        '| c | dev/accuracy | 62.00 | 3.62 |',
    ]  # fmt: skip
    assert 'note: b: less than two standard errors below the best' in text
    assert 'trivial: answering without a model reaches 60.00' in text
    assert 'note: c: not two standard errors above what is trivial' in text
    with (tmp_path / 'out' / 'table.csv').open() as file:
        (first, *_) = csv.DictReader(file)
    assert (first['rows'], first['trivial'], first['task']) == ('180', '0.6', 'text')
    runs[1] = dataclasses.replace(runs[1], outcome='failed')  # which is not ranked
    assert 'below the best' not in table.write(runs, None, None, tmp_path / 'out')
    text = table.write(runs, 'standard error', None, tmp_path / 'out')
    assert 'what is trivial' not in text
    runs = [
        tuned(tmp_path / name, score, 18000) for name, score in zip('de', (0.8, 0.75), strict=True)
    ]
    assert 'note: ' not in table.write(runs, None, None, tmp_path / 'out')


def test_scores_of_other_rows_have_no_best_one(tmp_path, undrawn):
    first = tuned(tmp_path / 'a', 0.8)
    for name, how in (('b', {'rows': 200}), ('c', {'task': 'sst2', 'trivial': 0.5})):
        other = tuned(tmp_path / name, 0.7, **how)
        text = table.write([first, other], None, None, tmp_path / 'out')
        assert 'best: ' not in text and 'two standard errors below' not in text
    assert '| c | dev/accuracy | 70.00 | 3.42 | 50.00 |' in text  # others have others


def test_what_ranks_fine_tunings_is_what_is_drawn(tmp_path):
    headline = {'metric': 'dev/matthews', 'median': 0.125}
    (tmp_path / 'results.json').write_text(json.dumps({'task': 'cola', 'headline': headline}))
    lines = [{'step': 5, 'train/loss': 1.0}, {'step': 8, 'finetune/cola/matthews': 0.25}]
    (tmp_path / 'metrics.jsonl').write_text(''.join(json.dumps(one) + '\n' for one in lines))
    run = Shown('a', tmp_path, {'seed': '1'})
    points = plot.points_of(run, 'median')
    assert points == [(8, 25.0)] and plot.end_of(run, 'median', points) == 12.5
    assert plot.points_of(run, 'train/loss') == [(5, 1.0)]
    assert 'plot.png' in plot.draw([run], 'median', tmp_path / 'plot.png')


def test_fine_tuning_is_ranked_by_a_metric_that_is_asked_for(tmp_path, undrawn):
    for name, accuracy in (('a', 0.5), ('b', 0.75)):
        (tmp_path / name).mkdir()
        headline = {'metric': 'dev/matthews', 'median': 0.5, 'trials': 1}
        (tmp_path / name / 'results.json').write_text(json.dumps({'headline': headline}))
        line = {'step': 4, 'finetune/cola/accuracy': accuracy}
        (tmp_path / name / 'metrics.jsonl').write_text(json.dumps(line) + '\n')
    runs = [Shown(name, tmp_path / name, outcome='done') for name in 'ab']
    text = table.write(runs, 'finetune/cola/accuracy', None, tmp_path / 'out')
    assert '| **b** |' in text and '**75.00**' in text and 'no run has' not in text
    assert 'best: b, by finetune/cola/accuracy, 75.00 (higher is better)' in text
    # People read scores times 100, other programs the numbers of results.json and metrics.jsonl.
    with (tmp_path / 'out' / 'table.csv').open() as file:
        assert [row['finetune/cola/accuracy'] for row in csv.DictReader(file)] == ['0.5', '0.75']


def test_a_line_that_is_still_being_written_is_left_out(finished):
    path = finished[0].folder / 'metrics.jsonl'
    path.write_text(path.read_text() + '{"step": 9, "train/lo')
    assert [line['step'] for line in finished[0].read.metrics] == [1, 2, 3, 4, 4]
    assert metric_lines.last_step(finished[0].folder) == 9


def test_a_line_that_was_torn_in_the_middle_is_left_out(finished):
    path = finished[0].folder / 'metrics.jsonl'
    path.write_text('{"step": 1, "tr\n' + path.read_text())
    assert [line['step'] for line in finished[0].read.metrics] == [1, 2, 3, 4, 4]


def test_what_is_torn_in_a_workdir_is_left_out_of_the_table(finished, tmp_path, undrawn):
    (finished[0].folder / 'config.json').write_text('{"config": ')
    (finished[0].folder / 'results.json').write_text('{"headl')
    assert '| run1 |' in table.write(finished, 'train/loss', None, tmp_path / 'out')


def of_grid(tmp_path, grid, seeds):
    """Fine-tuning runs of every combination, of which the n-th reached n per cent."""
    runs = []
    for number, values in enumerate(itertools.product(*grid.values())):
        setting = '-'.join(values)
        for seed in seeds:
            score = (number + 1) / 100
            folder = tmp_path / f'{number}-{seed}'
            folder.mkdir()
            headline = {'metric': 'dev/accuracy', 'median': score + float(seed) / 1000}
            (folder / 'results.json').write_text(json.dumps({'task': 't', 'headline': headline}))
            lines = [{'step': step, 'finetune/t/accuracy': score} for step in (1, 2)]
            (folder / 'metrics.jsonl').write_text(''.join(json.dumps(x) + '\n' for x in lines))
            varied = dict(zip(grid, values, strict=True))
            if len(seeds) > 1:
                varied['seed'] = seed
            name = f'{setting}-seed={seed}'
            runs.append(Shown(name, folder, varied, 'done', setting if len(seeds) > 1 else ''))
    return runs


@pytest.mark.parametrize('seeds', ['0', '012'])
def test_each_combination_is_seen_and_named_in_the_plot(tmp_path, monkeypatch, seeds):
    figures = pytest.importorskip('matplotlib.figure', reason='draws with it')
    drawn = []
    monkeypatch.setattr(figures.Figure, 'savefig', lambda figure, *a, **k: drawn.append(figure))
    grid = {
        'init_from': [
            'runs/small/checkpoints/900',
            'google:/data/some/folder/that/is/long/electra',
        ],
        'init_network': ['discriminator', 'generator', 'none', 'both'],
    }
    table.write(of_grid(tmp_path, grid, seeds), None, None, tmp_path / 'out')
    (figure,) = drawn
    figure.draw_without_rendering()
    over_steps, reached = figure.axes
    names = [label.get_text() for label in reached.get_yticklabels()]
    # In the order of the settings, which are known by the last letters of a long value.
    assert names[0] == 'init_from=…some/folder/that/is/long/electra\ninit_network=both'
    assert len(set(names)) == 8 and all('init_network=' in name for name in names)
    looks = {(line.get_color(), line.get_marker()) for line in over_steps.lines}
    assert len(looks) == 8
    shown = {
        (line.get_color(), line.get_marker()) for line in reached.lines if line.get_alpha() is None
    }
    assert looks <= shown
    values = [text.get_text() for text in reached.texts]
    assert values == (['8.00', '5.00'] if seeds == '0' else ['8.10', '5.10']) + values[2:]
    # Nothing lies on another text, or outside the picture.
    texts = [*reached.get_yticklabels(), *reached.texts, reached.xaxis.label, over_steps.title]
    boxes = [text.get_window_extent() for text in texts]
    assert all(figure.bbox.contains(*box.min) and figure.bbox.contains(*box.max) for box in boxes)
    assert not any(a.overlaps(b) for a, b in itertools.combinations(boxes, 2))
    assert figure.bbox.width <= 1290 / 120 * figure.dpi


def test_runs_without_settings_or_alike_in_them_have_their_names_in_the_plot(finished):
    both = [dataclasses.replace(run, varied={'seed': '1'}) for run in finished]
    assert [*plot.combinations(both)] == ['run0', 'run1']
    assert [*plot.combinations([dataclasses.replace(run, varied={}) for run in finished])] == [
        'run0', 'run1',
    ]  # fmt: skip
    rates = [
        dataclasses.replace(finished[0], name=rate, varied={'optimizer.learning_rate': rate})
        for rate in ('1e-3', '1e-4')
    ]
    assert [*plot.combinations(rates)] == ['learning_rate=1e-4', 'learning_rate=1e-3']


def test_the_plot_is_a_picture(finished, tmp_path):
    pytest.importorskip('matplotlib', reason='draws with it')
    assert plot.draw(finished, 'train/loss', tmp_path / 'p.png').endswith('p.png')
    runs = of_seeds(finished, {'1': (5, 6), '2': (4, 4)})
    assert table.write(runs, None, None, tmp_path / 'out').endswith('plot.png')
    assert (tmp_path / 'p.png').read_bytes()[:4] == b'\x89PNG'


def test_without_matplotlib_the_table_still_comes(finished, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, 'matplotlib.figure', None)
    text = table.write(finished, 'train/loss', None, tmp_path / 'out')
    assert 'pip install matplotlib' in text and (tmp_path / 'out' / 'table.md').exists()
    assert not (tmp_path / 'out' / 'plot.png').exists()
