"""Which attention kernel is taken, and what is said where one cannot do what is asked."""

import pytest

from electra_jax.config import kernels, recipe
from electra_jax.config.platform import resolve_platform
from electra_jax.core.errors import ConfigError

FLASH = {'attention_dropout': 0.0}


def config(**changes):
    return recipe.to_config(recipe.recipe(changes))


@pytest.mark.parametrize(
    ('platform', 'changes', 'taken'),
    [
        ('cpu', {'model': FLASH}, 'xla'),
        ('tpu', {}, 'xla'),  # the paper's model drops attention probabilities
        ('tpu', {'model': FLASH}, 'splash'),
        ('tpu', {'model': FLASH, 'mesh': {'sequence': 2}}, 'xla'),
        ('gpu', {}, 'xla'),
        ('gpu', {'model': FLASH}, 'cudnn'),
        ('gpu', {'model': {**FLASH, 'compute_dtype': 'float32'}}, 'triton'),
        ('gpu', {'model': FLASH, 'data': {'layout': 'packed'}}, 'triton'),
        ('gpu', {'model': FLASH, 'objective': {'name': 'electric'}}, 'triton'),
    ],
)
def test_an_open_choice_takes_the_fastest_that_can(platform, changes, taken):
    assert resolve_platform(config(**changes), platform).model.attention == taken


@pytest.mark.parametrize(
    ('kernel', 'changes', 'said'),
    [
        (
            'splash',
            {'model': {}},
            '--config.model.attention_dropout=0, or --config.model.attention=xla',
        ),
        ('triton', {'mesh': {'sequence': 2}}, '--config.mesh.sequence=1'),
        ('cudnn', {'data': {'layout': 'packed'}}, "config.data.layout is 'packed'"),
        ('cudnn', {'model': {**FLASH, 'compute_dtype': 'float32'}}, 'compute_dtype=bfloat16'),
        ('cudnn', {'model': {**FLASH, 'num_heads': 64}}, 'multiple of 8'),
        ('cudnn', {'objective': {'name': 'electric'}}, "config.model.generator is 'two_tower'"),
    ],
)
def test_what_a_kernel_cannot_do_is_refused_with_what_to_type(kernel, changes, said):
    model = {**changes.get('model', FLASH), 'attention': kernel}
    with pytest.raises(ConfigError) as refusal:
        config(**{**changes, 'model': model})
    assert said in str(refusal.value)


@pytest.mark.parametrize('kernel', ['splash', 'cudnn', 'triton'])
def test_a_kernel_of_other_devices_is_refused(kernel):
    asked = config(model={**FLASH, 'attention': kernel})
    with pytest.raises(ConfigError, match="devices are of the kind 'cpu'; allowed there: xla"):
        resolve_platform(asked, 'cpu')


def test_every_limit_names_kernels_that_there_are():
    assert {name for limit in kernels.LIMITS for name in limit.kernels} <= set(kernels.PLATFORM_OF)


def test_a_kernel_that_jax_removed_is_not_chosen_and_is_refused_by_name(monkeypatch):
    packed = config(model=FLASH, data={'layout': 'packed'})
    typed = config(model={**FLASH, 'attention': 'triton'}, data={'layout': 'packed'})
    assert kernels.choose(packed, 'gpu') == 'triton'
    for removed in ('jax.experimental.pallas.ops.no_such', 'jax.no_such_package.attention'):
        monkeypatch.setitem(kernels.MODULE_OF, 'triton', removed)
        assert kernels.choose(packed, 'gpu') == 'xla'
        with pytest.raises(ConfigError, match=f'triton.*{removed}.*attention=xla'):
            kernels.check(typed, 'gpu')
