"""The picture of a run: a tiny run is trained and drawn."""

import json
import pathlib
import subprocess
import sys

import pytest

from electra_jax.core.errors import DataError
from tests.support.recipes import ENVIRONMENT, write_recipe
from tools import picture

ROOT = pathlib.Path(__file__).parent.parent.parent


@pytest.fixture(scope='module')
def workdir(tmp_path_factory):
    folder = tmp_path_factory.mktemp('picture')
    words = [
        '-m',
        'electra_jax.main',
        f'--config={write_recipe(folder)}',
        f'--workdir={folder}/run',
    ]
    subprocess.run([sys.executable, *words], env=ENVIRONMENT, check=True, capture_output=True)
    return folder / 'run'


@pytest.mark.slow  # a whole run, to be drawn
def test_a_run_is_drawn(workdir, tmp_path):
    output = tmp_path / 'run.png'
    picture.main([f'--workdir={workdir}', f'--output={output}', '--row=1'])
    data = output.read_bytes()
    assert data.startswith(b'\x89PNG') and 10_000 < len(data) < 200_000


@pytest.mark.slow
def test_tokens_are_those_of_the_row_with_the_models_doubt(workdir):
    tokens = picture.read_text(workdir, row=0)
    assert tokens and all(0 <= token.doubt <= 1 for token in tokens)
    replaced = [token for token in tokens if token.text != token.original]
    assert 0 < len(replaced) < len(tokens)


@pytest.mark.slow
def test_a_row_that_is_not_there_is_refused(workdir):
    with pytest.raises(DataError, match='--row=5000'):
        picture.read_text(workdir, row=5000)


def test_a_folder_without_a_run_is_refused(tmp_path):
    with pytest.raises(SystemExit, match='error: '):
        picture.main([f'--workdir={tmp_path}'])


@pytest.mark.slow
def test_the_shown_loss_is_that_of_metrics_jsonl(workdir):
    lines = picture.read_metrics(workdir)
    raw = [json.loads(line) for line in (workdir / 'metrics.jsonl').read_text().splitlines()]
    assert lines == raw
    assert picture.metrics_level(lines, 'eval/unigram_loss') == raw[-1]['eval/unigram_loss']


def test_lines_are_as_wide_as_the_page():
    tokens = [picture.Token('word', 'word', 0.1, True)] * 50
    lines = picture.broken(tokens, 30)
    assert sum(map(len, lines)) == 50
    assert all(at + 4 <= 30 for line in lines for at, _ in line)


@pytest.mark.parametrize('steps', [[], [5], [5, 5]])
def test_a_run_of_one_point_is_refused(tmp_path, steps):
    lines = [{'step': step, 'eval/mlm_loss': 5.0} for step in steps]
    with pytest.raises(DataError, match='no curve with two points'):
        picture.check_curves(tmp_path, lines)
    picture.check_curves(
        tmp_path, [*lines, {'step': 1, 'train/mlm_loss': 6.0}, {'step': 2, 'train/mlm_loss': 5.5}]
    )
