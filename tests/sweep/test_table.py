"""The table and the plot of runs, read from their workdirs."""

import csv
import json
import sys

import pytest

from electra_jax.sweep import processes, table
from electra_jax.sweep.table import Shown
from tests.support.sweep_runs import stand_ins


@pytest.fixture
def finished(tmp_path):
    runs = stand_ins(tmp_path, ['1', '2'])
    processes.run_all(runs, [{}, {}], poll_seconds=0.02)
    return [Shown(run.name, run.folder, run.varied, 'done') for run in runs]


def test_the_table_has_first_and_last_loss_held_out_metrics_time_and_operations(finished, tmp_path):
    text = table.write(finished, 'train/loss', None, tmp_path / 'out')
    head, _, first, _ = (tmp_path / 'out' / 'table.md').read_text().splitlines()
    assert head == (
        '| run | outcome | step | train/loss first | train/loss last | eval/disc_auc | ms/step '
        '| GFLOP/step | GFLOP/step (paper) |'
    )
    # 4 rows of 16 tokens: 64 times the operations of a token.
    assert first == '| run0 | done | 4 | 8 | 2 | 0.75 | 250 | 0.064 | 0.128 |'
    with (tmp_path / 'out' / 'table.csv').open() as file:
        rows = list(csv.DictReader(file))
    assert [row['seed'] for row in rows] == ['1', '2'] and float(rows[1]['train/loss last']) == 2.0
    assert first in text


def test_columns_may_be_chosen_and_a_run_that_never_began_has_empty_cells(finished, tmp_path):
    runs = [*finished, Shown('none', tmp_path / 'none', {}, 'waiting')]
    names, rows = table.table(runs, 'eval/disc_auc', ['train/loss'])
    assert rows[0]['eval/disc_auc last'] == 0.75 and rows[0]['train/loss'] == 2.0
    assert rows[-1] == {'run': 'none', 'outcome': 'waiting', **dict.fromkeys(names[2:7])}


def test_fine_tuning_shows_the_spread_of_its_headline(tmp_path):
    headline = {
        'metric': 'dev/matthews', 'median': 0.125, 'mean': 0.12, 'standard_deviation': 0.01,
        'lowest': 0.1, 'highest': 0.15, 'trials': 5,
    }  # fmt: skip
    (tmp_path / 'results.json').write_text(json.dumps({'task': 'cola', 'headline': headline}))
    row = table.summary(Shown('cola', tmp_path, outcome='done'), 'train/loss', None)
    assert row == {
        'run': 'cola', 'outcome': 'done', 'metric': 'dev/matthews', 'median': 0.125, 'mean': 0.12,
        'standard deviation': 0.01, 'trials': 5,
    }  # fmt: skip


def test_a_line_that_is_still_being_written_is_left_out(finished):
    path = finished[0].folder / 'metrics.jsonl'
    path.write_text(path.read_text() + '{"step": 9, "train/lo')
    assert [line['step'] for line in finished[0].metrics] == [1, 2, 3, 4, 4]
    assert table.last_step(finished[0].folder) == 9


def test_a_line_that_was_torn_in_the_middle_is_left_out(finished):
    path = finished[0].folder / 'metrics.jsonl'
    path.write_text('{"step": 1, "tr\n' + path.read_text())
    assert [line['step'] for line in finished[0].metrics] == [1, 2, 3, 4, 4]


def test_the_plot_is_a_picture(finished, tmp_path):
    pytest.importorskip('matplotlib', reason='draws with it')
    assert table.draw(finished, 'train/loss', tmp_path / 'p.png').endswith('p.png')
    assert (tmp_path / 'p.png').read_bytes()[:4] == b'\x89PNG'


def test_without_matplotlib_the_table_still_comes(finished, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, 'matplotlib.figure', None)
    text = table.write(finished, 'train/loss', None, tmp_path / 'out')
    assert 'pip install matplotlib' in text and (tmp_path / 'out' / 'table.md').exists()
    assert not (tmp_path / 'out' / 'plot.png').exists()
