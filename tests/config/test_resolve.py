"""What unset settings become, from the size, a checkpoint, the task and the devices."""

import dataclasses
import types

import pytest

from electra_jax.config import checks, fields, resolve
from electra_jax.config.recipe import recipe
from electra_jax.config.settings import LEFT_TO_DEVICES, Config
from electra_jax.config.shapes import MODEL_SIZES
from electra_jax.core.errors import CheckpointError, ConfigError

FINE_TUNING = {'job': 'finetune', 'task': {'name': 'sst2'}, 'init_from': 'runs/x'}


def must_have_values(group: type, prefix: str = '') -> list[str]:
    names = []
    for field in dataclasses.fields(group):
        if fields.is_group(field.type):
            names += must_have_values(field.type, f'{prefix}{field.name}.')
        elif not isinstance(field.type, types.UnionType):
            names.append(prefix + field.name)
    return names


@pytest.mark.parametrize('size', MODEL_SIZES)
@pytest.mark.parametrize('platform', ['cpu', 'gpu', 'tpu'])
def test_a_resolved_config_has_a_value_for_every_setting_that_must_have_one(size, platform):
    config = resolve.resolve(recipe({'model': {'size': size}}), platform)
    names = must_have_values(Config)
    assert {'model.num_heads', 'data.row_length', 'data.tokenizer.kind'} <= set(names)
    assert [name for name in names if fields.get(config, name) is None] == []


def test_settings_are_not_changed_by_resolving_them():
    settings = recipe({'model': {'size': 'base', 'num_layers': 6}})
    before = dataclasses.asdict(settings)
    model = resolve.resolve(settings, 'tpu').model
    assert dataclasses.asdict(settings) == before
    assert (model.num_layers, model.hidden_size, model.num_heads) == (6, 768, 12)
    assert (model.compute_dtype, model.scan_unroll) == ('bfloat16', 1)


def test_only_what_depends_on_devices_stays_unset_before_they_are_known():
    full = resolve.fill(recipe({'model': {'size': 'base'}}))
    left = {name for name, value in dataclasses.asdict(full.model).items() if value is None}
    # None means so:
    off = {'generator_embedding_size', 'local_window', 'local_rotary_base', 'image_size'}
    assert left == {*LEFT_TO_DEVICES, *off}


@pytest.mark.parametrize(
    ('platform', 'job', 'num_layers', 'remat', 'unrolled'),
    [
        ('gpu', 'pretrain', 6, 'none', 6),
        ('gpu', 'pretrain', 24, 'none', 12),
        ('gpu', 'pretrain', 6, 'full', 1),
        ('gpu', 'finetune', 6, 'none', 1),
        ('cpu', 'finetune', 24, 'none', 24),
        ('tpu', 'pretrain', 6, 'none', 1),
    ],
)
def test_layers_are_unrolled_where_it_pays(platform, job, num_layers, remat, unrolled):
    task = {'name': 'sst2' if job == 'finetune' else None}
    model = {'size': 'base', 'num_layers': num_layers, 'remat': remat}
    settings = recipe({'job': job, 'task': task, 'model': model})
    assert resolve.resolve(settings, platform).model.scan_unroll == unrolled


def test_rows_are_as_long_as_they_are_set_or_as_the_task_has_them():
    assert resolve.resolve(recipe({}), 'cpu').data.row_length == 128
    assert resolve.resolve(recipe({}), 'cpu', row_length=512).data.row_length == 512
    short = recipe({'data': {'row_length': 64}})
    assert resolve.resolve(short, 'cpu', row_length=512).data.row_length == 64


def test_what_fine_tuning_chooses_is_as_usual_in_every_other_run():
    config = resolve.resolve(recipe({}), 'cpu')
    rates = config.optimizer.learning_rate, config.optimizer.layer_decay
    assert (config.batch_size, *rates, config.task.keep) == (128, 5e-4, 1.0, 'last')
    tuned = resolve.resolve(
        recipe({'job': 'finetune', 'task': {'name': 'sst2', 'patience': 3}}), 'cpu'
    )
    assert (tuned.batch_size, tuned.task.keep) == (32, 'best')


@pytest.mark.parametrize(
    ('stored', 'steps'),
    [
        ({'objective': {'name': 'two_stage', 'generator_steps': 30}, 'total_steps': 100}, 30),
        ({'objective': {'name': 'two_stage', 'generator_steps': 0}, 'total_steps': 100}, 0),
        ({'objective': {'name': 'two_stage', 'generator_steps': None}, 'total_steps': 101}, 50),
        ({'objective': {'name': 'two_stage'}, 'total_steps': 100}, 50),  # it was not recorded
        ({'objective': {'name': 'electra', 'generator_steps': 30}, 'total_steps': 100}, 0),
        ({'objective': None}, 0),
        ({}, 0),
    ],
)
def test_the_steps_of_the_first_stage_are_read_from_a_record(stored, steps):
    assert resolve.stored_first_stage(stored) == steps


def test_a_model_is_inherited_but_for_what_is_set_to_something_else():
    stored = dataclasses.asdict(resolve.model_of({'size': 'base', 'norm': 'pre'}))
    stored |= {'compute_dtype': 'bfloat16', 'unknown_to_this_version': 3}
    del stored['qk_norm']  # a setting that is newer than the checkpoint
    settings = recipe({**FINE_TUNING, 'model': {'dropout': 0.2, 'remat': 'full'}})
    model = resolve.resolve(settings, 'cpu', stored).model
    assert (model.size, model.hidden_size, model.norm) == ('base', 768, 'pre')
    assert (model.dropout, model.remat, model.qk_norm) == (0.2, 'full', False)
    assert model.compute_dtype == 'float32'  # of these devices, not of those it was trained on
    with pytest.raises(ConfigError, match="size is 'large', but the checkpoint is of size 'base'"):
        resolve.resolve(recipe({**FINE_TUNING, 'model': {'size': 'large'}}), 'cpu', stored)


def test_a_width_that_the_heads_of_the_checkpoint_do_not_divide_is_refused():
    stored = dataclasses.asdict(resolve.model_of({'size': 'base'}))
    with pytest.raises(ConfigError, match=r'hidden_size is 100 and .*num_heads is 12'):
        resolve.resolve(recipe({**FINE_TUNING, 'model': {'hidden_size': 100}}), 'cpu', stored)


def test_a_model_that_is_inherited_is_checked_when_it_is_known():
    resolve.check(recipe(FINE_TUNING))
    with pytest.raises(ValueError, match='checkpoint'):
        resolve.resolve(recipe(FINE_TUNING), 'cpu')
    with pytest.raises(CheckpointError, match=r'runs/x .*config.model.num_heads is None'):
        stored = dataclasses.asdict(resolve.model_of({'size': 'base'}))
        resolve.check_stored_model({**stored, 'num_heads': None}, 'runs/x')


@pytest.mark.parametrize(
    ('data', 'problem'),
    [
        ({'runner_options': '--x'}, "config.data.runner is 'local'"),
        ({'tokenizer': {'kind': 'bpe', 'strip_accents': True}}, 'strip_accents is True'),
    ],
)
def test_settings_of_data_that_contradict_each_other_are_refused(data, problem):
    with pytest.raises(ConfigError, match=problem):
        resolve.check(recipe({'data': data}))


def test_every_need_names_settings_that_there_are_and_values_that_they_may_have():
    leaves = fields.leaves(Config)
    for need in (*checks.OF_THE_RUN, *checks.OF_THE_MODEL):
        assert need.name in leaves
        for value in need.allowed:
            leaves[need.other].checked(value)


@pytest.mark.parametrize('other', [{'keep': 'best'}, {'patience': 2}])
def test_a_mean_of_states_counts_or_the_best_one(other):
    task = {'name': 'sst2', 'average_last': 3}
    resolve.check(recipe({'job': 'finetune', 'task': {**task, 'keep': 'last'}}))
    with pytest.raises(ConfigError, match=r'average_last is 3.*leave the others out'):
        resolve.check(recipe({'job': 'finetune', 'task': {**task, **other}}))


SCORED = {'job': 'evaluate', 'task': {'name': 'sst2'}}


@pytest.mark.parametrize(
    ('changes', 'words'),
    [
        ({'eval': {'average': True}}, r'eval.average is True.*type --config.optimizer.average_dec'),
        (
            {'job': 'finetune', 'task': {'name': 'sst2'}, 'optimizer': {'average_decay': 0.9}},
            r'average_decay is 0.9.*task.average_last',
        ),
        (
            {'job': 'finetune', 'task': {'name': 'sst2'}, 'eval': {'average': True}},
            r'eval.average is True.*task.average_last',
        ),
        (
            {'job': 'finetune', 'task': {'name': 'sst2'}, 'optimizer': {'decay_steps': 9}},
            r"decay_steps is 9, but config.job is 'finetune'",
        ),
        ({'branch_from': 'runs/a', 'minutes': 1.0}, r'branch_from is .runs/a.*minutes is 1.0'),
        ({'branch_from': 'runs/a', 'init_from': 'runs/b'}, r'branch_from is .runs/a.*init_from'),
        ({'petaflop': 1.0, 'minutes': 1.0}, r'petaflop is 1.0, but config.minutes is 1.0'),
        ({'words': 1e6, 'minutes': 1.0}, r'words is 1000000.0, but config.minutes is 1.0'),
        ({'words': 1e6, 'petaflop': 1.0}, r'words is 1000000.0, but config.petaflop is 1.0'),
        ({'branch_from': 'runs/a', 'words': 1e6}, r'branch_from is .runs/a.*words is 1000000.0'),
        *(
            ({'job': 'finetune', 'task': {'name': 'sst2'}, **changes}, r"job is 'finetune'")
            for changes in (
                {'words': 1e6},
                {'max_exposures': 2.0},
                {'checkpoint': {'keep_at_words': '1e6'}},
            )
        ),
        ({**SCORED, 'petaflop': 1.0}, r"petaflop is 1.0.*job is 'evaluate' and.*name 'sst2'"),
        ({**SCORED, 'branch_from': 'runs/a'}, r"branch_from is 'runs/a'.*job is 'evaluate'"),
        ({**SCORED, 'optimizer': {'decay_share': 0.2}}, r"decay_share is 0.2.*job is 'evaluate'"),
        ({'job': 'evaluate', 'trials': 3}, r'trials is 3.*task.name None.*leave the first out'),
    ],
)
def test_what_pre_training_alone_has_is_refused_elsewhere(changes, words):
    with pytest.raises(ConfigError, match=words):
        resolve.check(recipe(changes))


@pytest.mark.parametrize(
    'changes', [{'petaflop': 1.0}, {'words': 1e6}, {'branch_from': 'runs/a'}, {'minutes': 1.0}]
)
def test_what_one_job_has_is_there_where_its_run_is_scored(changes):
    resolve.check(recipe({'job': 'evaluate', **changes}))
    resolve.check(recipe({**SCORED, 'trials': 3}))


@pytest.mark.parametrize(('name', 'value'), [('decay_steps', 9), ('decay_share', 0.2)])
def test_a_late_decay_of_power_0_is_refused(name, value):
    with pytest.raises(ConfigError, match=rf'optimizer.{name} is {value}.*type --config.optimizer'):
        resolve.check(recipe({'optimizer': {name: value, 'decay_power': 0.0}}))


def test_pre_training_has_no_task():
    with pytest.raises(ConfigError, match=r"task.name is 'sst2', but config.job is 'pretrain'"):
        resolve.check(recipe({'task': {'name': 'sst2'}}))


def test_rows_longer_than_the_position_table_are_refused_where_there_is_a_model():
    config = resolve.resolve(recipe({'data': {'row_length': 1024}}), 'cpu')
    with pytest.raises(ConfigError, match=r'--config.model.max_positions=1024'):
        checks.check_positions(config)


@pytest.mark.parametrize('mesh', [{'data': -1, 'fsdp': -1}, {'tensor': 0}, {'data': 0}])
def test_a_mesh_that_fits_no_number_of_devices_is_refused_before_a_device_is_asked(mesh):
    with pytest.raises(ConfigError, match=r'config\.mesh\..*allowed: 1 or more, and -1'):
        checks.check_run(recipe({'mesh': mesh}))
