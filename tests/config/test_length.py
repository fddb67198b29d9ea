"""Lengths of a run that follow from shares of it, or from a measured number of steps."""

import math
import os
import re

import pytest

from electra_jax.config import fields, length, machine, recipe, resolve
from electra_jax.core.errors import ConfigError
from tests.support.configs import TWO_STAGE_MODEL, settings_of, tiny_config

STAGES = {
    'model': TWO_STAGE_MODEL,
    'objective': {'name': 'two_stage', 'generator_share': 0.6},
    'optimizer': {'warmup_share': 0.02},
}


def test_shares_become_steps():
    config = tiny_config(total_steps=200, **STAGES)
    assert config.objective.generator_steps == resolve.first_stage(config) == 120
    assert config.optimizer.warmup_steps == 4


def test_what_follows_from_a_length_keeps_its_share():
    config = length.with_total_steps(tiny_config(total_steps=200, **STAGES), 1000)
    assert (config.total_steps, config.objective.generator_steps) == (1000, 600)
    assert config.optimizer.warmup_steps == 20
    plain = tiny_config(
        optimizer={'warmup_steps': 50}, eval={'every_steps': 1000}, log={'every_steps': 50}
    )
    for total, warmup in {5000: 50, 300: 30}.items():
        config = length.with_total_steps(plain, total)
        assert (config.optimizer.warmup_steps, config.objective.generator_steps) == (warmup, None)
        assert config.eval.every_steps == total // 10
        assert config.log.every_steps == min(plain.log.every_steps, total // 10)


@pytest.mark.parametrize(
    ('typed', 'other'),
    [
        ('total_steps', 'minutes'),
        ('minutes', 'petaflop'),
        ('total_steps', 'words'),
        ('petaflop', 'words'),
        ('minutes', 'words'),
        ('optimizer.warmup_steps', 'optimizer.warmup_share'),
        ('optimizer.decay_steps', 'optimizer.decay_share'),
        ('objective.generator_steps', 'objective.generator_share'),
    ],
)
def test_steps_that_are_typed_decide(typed, other):
    settings = recipe.recipe({'minutes': 30.0, 'petaflop': 0.1, 'words': 1e6, **STAGES})
    settings.optimizer.decay_share, settings.optimizer.decay_steps = 0.2, 9
    settings.objective.generator_steps = 9
    recipe.give_way(settings, {typed})
    group, _, name = other.rpartition('.')
    assert getattr(getattr(settings, group) if group else settings, name) is None
    recipe.give_way(settings, {typed, other})  # the other one was typed as None
    fields.put(settings, other, 0.5)
    with pytest.raises(ConfigError, match=f'config.{typed} and config.{other} are both typed'):
        recipe.give_way(settings, {typed, other})


def test_text_that_is_typed_to_be_held_out_leaves_the_source_whole():
    for typed, holdout in {
        ('data.validation_source',): None,
        ('data.validation_source', 'data.holdout'): 0.05,
        (): 0.05,
    }.items():
        settings = recipe.recipe({'data': {'holdout': 0.05}})
        recipe.give_way(settings, typed)
        assert settings.data.holdout == holdout


def test_steps_that_are_typed_stay_where_the_length_is_measured():
    config = tiny_config(
        optimizer={'warmup_steps': 50}, eval={'every_steps': 70},
        checkpoint={'every_steps': 80}, log={'every_steps': 40},
    )  # fmt: skip
    names = (
        'optimizer.warmup_steps',
        *(f'{one}.every_steps' for one in ('eval', 'checkpoint', 'log')),
    )
    found = length.with_total_steps(config, 100, typed=names)
    assert [fields.get(found, name) for name in names] == [50, 70, 80, 40]
    for kept in names:
        found = length.with_total_steps(config, 100, typed=(kept,))
        assert [fields.get(found, name) for name in names if name != kept] == [10] * 3
        assert fields.get(found, kept) == fields.get(config, kept)


@pytest.mark.parametrize(('name', 'value'), [('minutes', 30.0), ('petaflop', 0.5), ('words', 5e6)])
def test_a_stage_in_steps_has_no_place_in_a_length_that_is_measured(name, value):
    stages = {'name': 'two_stage', 'generator_steps': 60}
    words = rf'generator_steps is 60, but config.{name} is {re.escape(f"{value:g}")}.*share=0.6'
    with pytest.raises(ConfigError, match=words):
        settings_of({name: value, 'model': TWO_STAGE_MODEL, 'objective': stages})
    stages = {'name': 'two_stage', 'generator_share': 0.6}
    settings_of({name: value, 'model': TWO_STAGE_MODEL, 'objective': stages})


def test_a_share_of_a_stage_needs_stages():
    with pytest.raises(ConfigError, match=r'generator_share.*two_stage'):
        settings_of({'objective': {'generator_share': 0.5}})


@pytest.mark.parametrize(
    ('changes', 'steps'),
    [
        ({'optimizer': {'decay_power': 0.0}}, math.inf),
        ({'optimizer': {'decay_power': 1.0}}, 0),
        ({'optimizer': {'decay_steps': 30}}, 70),
        ({'optimizer': {'decay_share': 0.2}}, 80),
        ({'optimizer': {'decay_steps': 300}}, 0),
        ({'optimizer': {'decay_steps': 30}, 'objective': {'mask_rate_end': 0.3}}, 0),
        ({'optimizer': {'decay_power': 0.0}, 'objective': {'temperature_end': 0.5}}, 0),
        ({**STAGES, 'optimizer': {'decay_power': 0.0}}, 0),
    ],
)
def test_a_run_shares_the_steps_before_its_schedules_with_longer_ones(changes, steps):
    assert length.free_steps(tiny_config(total_steps=100, **changes)) == steps


def test_a_decay_keeps_its_steps_or_its_share_of_a_length_that_is_measured():
    for decay, steps in (({'decay_steps': 20}, 20), ({'decay_share': 0.2}, 200)):
        config = length.with_total_steps(tiny_config(total_steps=100, optimizer=decay), 1000)
        assert config.optimizer.decay_steps == steps


def test_the_machine_is_the_one_that_jax_is_told_to_use(monkeypatch):
    for named, kind in {'cpu': 'cpu', 'cuda,cpu': 'gpu', 'tpu': 'tpu'}.items():
        monkeypatch.setenv('JAX_PLATFORMS', named)
        assert machine.kind() == kind
    monkeypatch.delenv('JAX_PLATFORMS')
    monkeypatch.setattr(machine.importlib.util, 'find_spec', lambda name: None)
    assert machine.kind() == 'cpu'


@pytest.mark.parametrize(
    ('packages', 'files', 'variable', 'platforms'),
    [
        (('libtpu',), [], None, 'cpu'),
        ((), [], None, None),
        (('libtpu',), ['/dev/accel0'], None, None),
        (('libtpu', 'jax_plugins'), [], None, None),
        (('libtpu',), [], 'TPU_WORKER_HOSTNAMES', None),
        (('libtpu',), [], 'JAX_PLATFORMS', 'tpu'),
    ],
)
def test_jax_looks_for_no_tpu_where_nothing_tells_of_one(
    monkeypatch, packages, files, variable, platforms
):
    for name in [name for name in os.environ if name.startswith(('TPU_', 'PJRT_', 'CLOUD_TPU_'))]:
        monkeypatch.delenv(name)
    monkeypatch.delenv('JAX_PLATFORMS', raising=False)
    if variable:
        monkeypatch.setenv(variable, 'tpu')
    monkeypatch.setattr(
        machine.importlib.util, 'find_spec', lambda name: name if name in packages else None
    )
    monkeypatch.setattr(machine.importlib.metadata, 'entry_points', lambda group: ())
    monkeypatch.setattr(machine.glob, 'glob', lambda pattern: files)
    with monkeypatch.context() as inner:
        inner.setattr(machine.os, 'environ', dict(os.environ))
        machine.look_for_no_tpu()
        assert machine.os.environ.get('JAX_PLATFORMS') == platforms
