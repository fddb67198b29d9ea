"""A run begins with the checkpoint of its first start, also when the other run goes on."""

import json
import shutil

import pytest
from etils import epath

from electra_jax import init_from
from electra_jax.config.recipe import recipe
from electra_jax.core.errors import CheckpointError
from electra_jax.pretrain import job
from electra_jax.train import beginning


def make_steps(folder, *steps):
    """Checkpoints, as far as their names go."""
    for step in steps:
        (folder / 'checkpoints' / str(step) / 'params').mkdir(parents=True)
        (folder / 'checkpoints' / str(step) / '_CHECKPOINT_METADATA').write_text('{}')


def record(folder, **config):
    folder.mkdir(exist_ok=True)
    (folder / 'config.json').write_text(json.dumps({'config': config}))


@pytest.fixture
def folders(tmp_path):
    """The run that goes on, and the one that begins with it."""
    return epath.Path(tmp_path / 'trunk'), epath.Path(tmp_path / 'branch')


@pytest.mark.parametrize('setting', ['branch_from', 'init_from'])
def test_a_run_begins_where_its_first_start_did(folders, setting):
    trunk, branch = folders
    make_steps(trunk, 4, 8)
    first = beginning.chosen(setting, f'ours:{trunk}', branch)
    assert first == f'{trunk}/checkpoints/8'
    record(branch, **{setting: first})
    make_steps(trunk, 12)
    for asked in (trunk, trunk / 'checkpoints', first):  # typed again before the first save
        assert beginning.chosen(setting, str(asked), branch) == first
    other = f'{trunk}/checkpoints/4'
    assert beginning.chosen(setting, other, branch) == other
    shutil.rmtree(trunk)
    with pytest.raises(CheckpointError, match=rf'checkpoints/8, which is gone.*{setting}'):
        beginning.chosen(setting, str(trunk), branch)
    make_steps(branch, 9)  # then it needs the other run no more
    assert beginning.chosen(setting, str(trunk), branch) == first
    record(branch, **{setting: str(trunk)})
    assert beginning.chosen(setting, str(trunk), branch) == str(trunk)  # of an earlier version


def test_folders_above_both_runs_may_move(folders, tmp_path, monkeypatch):
    trunk, branch = folders
    make_steps(trunk, 4)
    monkeypatch.chdir(tmp_path)
    first = beginning.chosen('init_from', 'trunk', branch)
    assert first == 'trunk/checkpoints/4'
    record(branch, init_from=first)
    make_steps(trunk, 8)
    moved = tmp_path / 'moved'
    moved.mkdir()
    for one in folders:
        shutil.move(one, moved)
    monkeypatch.chdir(moved)
    assert beginning.chosen('init_from', 'trunk', epath.Path(moved / 'branch')) == first


def test_trials_that_an_earlier_version_began_are_not_another_run(folders):
    trunk, branch = folders
    make_steps(trunk, 4)
    record(branch, init_from=str(trunk))
    (branch / 'metrics.jsonl').write_text('{"step": 1}\n')
    assert init_from.chosen(str(trunk), branch) == str(trunk)


def test_checkpoints_of_other_projects_stay_as_they_are_named(folders):
    assert init_from.chosen('huggingface:theirs', folders[1]) == 'huggingface:theirs'


def test_pre_training_is_configured_with_the_checkpoint_of_its_first_start(folders):
    trunk, later = folders
    make_steps(trunk, 4)
    asked = {'init_from': str(trunk), 'data': {'row_length': 32}, 'mesh': {'data': 1}}

    def configured():
        return job.configure(recipe({**asked, 'model': {'size': 'tiny'}}), later, ())[1]

    first = configured().init_from
    assert first == f'{trunk}/checkpoints/4'
    record(later, init_from=first)
    make_steps(trunk, 8)
    assert configured().init_from == first
