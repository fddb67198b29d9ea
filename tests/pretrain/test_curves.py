"""The picture that pre-training leaves."""

import json
import sys

import pytest
from etils import epath

from electra_jax.pretrain import curves
from tests.support.pictures import picture


def write_lines(folder, names):
    lines = [{'step': step, **dict.fromkeys(names, 1 / step)} for step in range(1, 1000, 50)]
    text = ''.join(json.dumps(line) + '\n' for line in lines)
    (folder / 'metrics.jsonl').write_text(text + '{"torn')


def test_a_run_is_drawn_with_what_it_has(tmp_path):
    pytest.importorskip('matplotlib', reason='draws with it')
    write_lines(tmp_path, ['train/mlm_loss', 'eval/mlm_loss', 'eval/unigram_loss'])
    assert 'curves.png' in curves.write(epath.Path(tmp_path), 'one $x$')
    narrow = picture(tmp_path / 'curves.png')
    write_lines(tmp_path, ['train/mlm_loss', 'eval/mlm_loss', 'train/disc_loss', 'eval/disc_auc'])
    curves.write(epath.Path(tmp_path), 'other')
    assert picture(tmp_path / 'curves.png').shape[1] == 3 * narrow.shape[1]


def test_what_cannot_be_drawn_costs_a_line(tmp_path, monkeypatch):
    assert curves.write(epath.Path(tmp_path), 'run').startswith('no curves.png: ')
    write_lines(tmp_path, ['train/mlm_loss'])
    monkeypatch.setitem(sys.modules, 'matplotlib.figure', None)
    assert 'needs matplotlib' in curves.write(epath.Path(tmp_path), 'run')


def test_long_curves_are_thinned():
    points = curves.thinned([(step, float(step % 2)) for step in range(10_000)], 400)
    assert len(points) <= 400 and points[0] == (12.0, 0.48)
