"""Whether a command continues the run in its workdir."""

import dataclasses
import json

import pytest
from etils import epath

from electra_jax.core.errors import CheckpointError
from electra_jax.pretrain import length
from electra_jax.train import metric_lines, workdir
from tests.support.configs import tiny_config

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


def test_a_run_whose_schedules_end_names_the_restart(tmp_path):
    folder = begin(tmp_path, total_steps=100)
    with pytest.raises(CheckpointError, match=r'total_steps: 100 there, 200 now') as error:
        workdir.check_same_run(folder, tiny_config(total_steps=200))
    assert f'--config.init_from={folder} --workdir={folder}-longer' in str(error.value)


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
