"""Whether a command continues the run in its workdir."""

import dataclasses
import json
import subprocess

import pytest
from etils import epath

from electra_jax.core.errors import CheckpointError
from electra_jax.pretrain import length
from electra_jax.train import metric_lines, parameters, workdir
from tests.support.configs import tiny_config

GIT = ('git', '-c', 'user.name=a', '-c', 'user.email=a@b')
CONSTANT = {'optimizer': {'decay_power': 0.0}}


def begin(folder, **changes) -> epath.Path:
    """A workdir whose run, with these settings, has written a line of metrics."""
    config = dataclasses.asdict(tiny_config(**changes))
    (folder / workdir.CONFIG_FILE).write_text(json.dumps({'config': config}))
    (folder / metric_lines.FILE).write_text('{"step": 1}\n')
    return epath.Path(folder)


def test_a_run_with_a_constant_rate_can_be_made_longer(tmp_path):
    folder = begin(tmp_path, total_steps=100, **CONSTANT)
    workdir.check_same_run(folder, tiny_config(total_steps=200, **CONSTANT))
    for changes in ({'total_steps': 50}, {'total_steps': 200, 'seed': 1}):
        with pytest.raises(CheckpointError, match='with other settings') as error:
            workdir.check_same_run(folder, tiny_config(**CONSTANT, **changes))
        assert 'init_from' not in str(error.value)


def test_minutes_that_are_typed_later_do_not_make_a_run_longer(tmp_path):
    folder = begin(tmp_path, total_steps=100, **CONSTANT)
    # The recipe's own length is not that of the minutes.
    asked = length.stored(tiny_config(minutes=1.0, total_steps=5000, **CONSTANT), folder)
    with pytest.raises(CheckpointError, match=r'--config\.total_steps=NUMBER \(above 100\)'):
        workdir.check_same_run(folder, asked)
    begin(tmp_path, total_steps=100, minutes=1.0, **CONSTANT)
    workdir.check_same_run(folder, tiny_config(total_steps=200, **CONSTANT))
    # The warm-up of a measured length is shorter than the recipe's.
    warmup = {'optimizer': {'decay_power': 0.0, 'warmup_steps': 10}}
    begin(tmp_path, total_steps=100, minutes=1.0, **warmup)
    warmup['optimizer']['warmup_steps'] = 50
    with pytest.raises(CheckpointError, match=r'NUMBER --config\.optimizer\.warmup_steps=10 \('):
        workdir.check_same_run(folder, tiny_config(total_steps=200, **warmup))


def test_a_run_that_is_scored_may_be_of_any_length(tmp_path):
    folder = begin(tmp_path, total_steps=100, minutes=1.0, optimizer={'warmup_steps': 10})
    warmup = {'optimizer': {'warmup_steps': 500, 'decay_steps': 50}}
    for asked in (
        {'total_steps': 200},
        {'total_steps': 5000, **warmup},
        {'minutes': 30.0},
        {'petaflop': 1.0},
    ):
        workdir.check_same_run(folder, tiny_config(job='evaluate', **asked))
        with pytest.raises(CheckpointError, match='to continue it, or another --workdir'):
            workdir.check_same_run(folder, tiny_config(**asked))
    other = tiny_config(job='evaluate', minutes=2.0, total_steps=200, model={'hidden_size': 8})
    with pytest.raises(
        CheckpointError, match=r'config\.model\.hidden_size(.|\n)*to score it'
    ) as error:
        workdir.check_same_run(folder, other)
    assert 'minutes' not in str(error.value) and 'init_from' not in str(error.value)


def test_a_run_of_so_many_operations_goes_on_by_steps(tmp_path):
    folder = begin(tmp_path, total_steps=100, petaflop=1.0, **CONSTANT)
    workdir.check_same_run(folder, tiny_config(total_steps=200, **CONSTANT))
    more = length.stored(tiny_config(petaflop=2.0, total_steps=5000, **CONSTANT), folder)
    with pytest.raises(CheckpointError, match=r'--config\.total_steps=NUMBER \(above 100\)'):
        workdir.check_same_run(folder, more)
    # A branch counts steps, so it is not what is advised to a run that counts operations.
    decay = {'optimizer': {'decay_share': 0.2}}
    begin(tmp_path, total_steps=100, petaflop=1.0, **decay)
    save(tmp_path, 40)
    more = length.stored(tiny_config(petaflop=2.0, **decay), folder)
    with pytest.raises(CheckpointError, match=r'petaflop: 1\.0 there, 2\.0 now') as error:
        workdir.check_same_run(folder, more)
    assert 'branch_from' not in str(error.value)


def test_a_run_whose_schedules_end_names_the_restart(tmp_path):
    folder = begin(tmp_path, total_steps=100)
    with pytest.raises(CheckpointError, match=r'total_steps: 100 there, 200 now') as error:
        workdir.check_same_run(folder, tiny_config(total_steps=200))
    assert f'--config.init_from={folder} --workdir={folder}-longer' in str(error.value)


def save(folder, *steps: int) -> None:
    """Checkpoints of these steps, as far as their names go."""
    for step in steps:
        (folder / parameters.FOLDER / str(step) / 'params').mkdir(parents=True)
        (folder / parameters.FOLDER / str(step) / '_CHECKPOINT_METADATA').write_text('{}')


def test_a_run_can_be_made_longer_until_its_rate_decays(tmp_path):
    decay = {'optimizer': {'decay_steps': 20}}
    folder = begin(tmp_path, total_steps=100, **decay)
    save(tmp_path, 40, 80)
    workdir.check_same_run(folder, tiny_config(total_steps=200, **decay))
    workdir.check_same_run(
        folder, tiny_config(total_steps=200, optimizer={'decay_share': 0.2, 'decay_steps': 40})
    )
    with pytest.raises(CheckpointError, match='other settings'):  # it would have decayed before
        workdir.check_same_run(folder, tiny_config(total_steps=130, optimizer={'decay_steps': 90}))
    save(tmp_path, 90)
    with pytest.raises(CheckpointError, match='decays after step 80') as error:
        workdir.check_same_run(folder, tiny_config(total_steps=200, **decay))
    assert f'--config.branch_from={tmp_path}/checkpoints/80' in str(error.value)


def test_a_branch_differs_in_its_length_alone(tmp_path):
    decay = {'optimizer': {'decay_steps': 20}}
    begin(tmp_path, total_steps=100, **decay)
    save(tmp_path, 40, 90)

    def check(step: int, **changes) -> None:
        folder = epath.Path(tmp_path / parameters.FOLDER / str(step))
        workdir.check_branch(folder, tiny_config(branch_from=str(tmp_path), **changes))

    check(40, total_steps=50, optimizer={'decay_steps': 10})
    begin(tmp_path, total_steps=100, init_from='runs/before', **decay)  # that is in its state
    check(40, total_steps=50, optimizer={'decay_steps': 10})
    for changes, words in (
        ({'total_steps': 50, 'seed': 3, **decay}, r'seed: 0 there, 3 now'),
        ({'total_steps': 50, 'optimizer': {'decay_steps': 11}}, 'names step 40 .*after step 39'),
    ):
        with pytest.raises(CheckpointError, match=words):
            check(40, **changes)
    with pytest.raises(CheckpointError, match=r'names step 90 .*after step 80'):
        check(90, total_steps=200, **decay)
    (tmp_path / workdir.CONFIG_FILE).unlink()
    with pytest.raises(CheckpointError, match=r'no config\.json'):
        check(40, total_steps=50, **decay)


def test_a_length_that_was_measured_is_the_runs(tmp_path):
    asked = tiny_config(minutes=1.0, total_steps=100)
    assert length.is_unset(asked, epath.Path(tmp_path))
    assert length.stored(asked, epath.Path(tmp_path)).total_steps == 100
    folder = begin(tmp_path, minutes=1.0, total_steps=777)
    assert not length.is_unset(asked, folder)
    config = length.stored(asked, folder)
    assert (config.total_steps, config.minutes) == (777, 1.0)
    workdir.check_same_run(folder, config)
    other = length.stored(tiny_config(minutes=2.0, total_steps=100), folder)
    with pytest.raises(CheckpointError, match=r'minutes: 1.0 there, 2.0 now\n') as error:
        workdir.check_same_run(folder, other)
    assert 'total_steps' not in str(error.value) and '-longer' in str(error.value)


def test_outputs_in_a_checkout_are_no_changes_of_its_code(tmp_path, monkeypatch):
    code = tmp_path / 'code.py'
    code.write_text('1')
    for words in (['init', '-q'], ['add', '.'], ['commit', '-qm', 'one']):
        subprocess.run([*GIT, *words], cwd=tmp_path, check=True)
    monkeypatch.setattr(workdir, '__file__', str(code))
    (tmp_path / 'answers.jsonl').write_text('')
    assert len(workdir.revision()) == 40
    code.write_text('2')
    assert workdir.revision().endswith('+changes')
