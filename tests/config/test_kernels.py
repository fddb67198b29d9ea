"""Which attention kernel is chosen, and what is refused because a kernel cannot do it."""

import pytest

from electra_jax.config import kernels, resolve
from electra_jax.config.recipe import recipe
from electra_jax.core.errors import ConfigError

FLASH = {'attention_dropout': 0.0}


@pytest.mark.parametrize(
    ('platform', 'changes', 'chosen'),
    [
        ('cpu', {'model': FLASH}, 'xla'),
        ('tpu', {}, 'mosaic'),  # the paper's model drops attention probabilities
        ('tpu', {'mesh': {'data': -1, 'tensor': 2}}, 'mosaic'),
        ('tpu', {'mesh': {'sequence': 2}}, 'xla'),
        ('tpu', {'model': {'dropout_bits': 'threefry'}}, 'xla'),
        ('tpu', {'data': {'row_length': 2**15 + 1}}, 'xla'),
        ('tpu', {'model': FLASH}, 'mosaic'),
        ('tpu', {'model': FLASH, 'data': {'row_length': 2**15 + 1}}, 'splash'),
        ('tpu', {'model': FLASH, 'mesh': {'sequence': 2}}, 'xla'),
        ('gpu', {}, 'xla'),
        ('gpu', {'model': FLASH}, 'cudnn'),
        ('gpu', {'model': {**FLASH, 'compute_dtype': 'float32'}}, 'triton'),
        ('gpu', {'model': FLASH, 'data': {'layout': 'packed'}}, 'triton'),
        ('gpu', {'model': {**FLASH, 'generator': 'two_tower'}}, 'triton'),
    ],
)
def test_an_unset_kernel_is_the_fastest_that_can_run_the_config(platform, changes, chosen):
    assert resolve.resolve(recipe(changes), platform).model.attention == chosen


@pytest.mark.parametrize(
    ('kernel', 'changes', 'problem'),
    [
        (
            'splash',
            {'model': {}},
            '--config.model.attention_dropout=0, or --config.model.attention=xla',
        ),
        (
            'mosaic',
            {'model': {'dropout_bits': 'threefry'}},
            "'threefry'): type --config.model.dropout_bits=hash, or --config.model.attention=xla",
        ),
        ('mosaic', {'mesh': {'sequence': 2}}, '--config.mesh.sequence=1'),
        ('mosaic', {'data': {'row_length': 2**15 + 1}}, '--config.data.row_length=32768'),
        ('triton', {'mesh': {'sequence': 2}}, '--config.mesh.sequence=1'),
        (
            'cudnn',
            {'data': {'layout': 'packed'}},
            "'packed'): type --config.model.attention=triton",
        ),
        ('cudnn_mask', {'mesh': {'sequence': 2}}, '--config.mesh.sequence=1'),
        ('cudnn_mask', {'model': {**FLASH, 'num_heads': 64}}, 'multiple of 8'),
        ('cudnn', {'model': {**FLASH, 'compute_dtype': 'float32'}}, 'compute_dtype=bfloat16'),
        ('cudnn', {'model': {**FLASH, 'num_heads': 64}}, 'multiple of 8'),
        (
            'cudnn',
            {'model': {**FLASH, 'generator': 'two_tower'}},
            "config.model.generator is 'two_tower'",
        ),
    ],
)
def test_what_a_kernel_cannot_do_is_refused_with_what_to_type(kernel, changes, problem):
    model = {**changes.get('model', FLASH), 'attention': kernel}
    settings = recipe({**changes, 'model': model})
    with pytest.raises(ConfigError) as refusal:
        resolve.check(settings)
    assert problem in str(refusal.value)


@pytest.mark.parametrize('kernel', ['splash', 'mosaic', 'cudnn', 'triton', 'cudnn_mask'])
def test_a_kernel_of_other_devices_is_refused(kernel):
    settings = recipe({'model': {**FLASH, 'attention': kernel}})
    resolve.check(settings)
    with pytest.raises(ConfigError, match="devices are of the kind 'cpu'; allowed there: xla"):
        resolve.resolve(settings, 'cpu')


def test_a_kernel_that_jax_removed_is_not_chosen_and_is_refused_by_name(monkeypatch):
    packed = recipe({'model': FLASH, 'data': {'layout': 'packed'}})
    typed = recipe({'model': {**FLASH, 'attention': 'triton'}, 'data': {'layout': 'packed'}})
    assert resolve.resolve(packed, 'gpu').model.attention == 'triton'
    for removed in ('jax.experimental.pallas.ops.no_such', 'jax.no_such_package.attention'):
        monkeypatch.setitem(kernels.MODULE_OF, 'triton', removed)
        assert resolve.resolve(packed, 'gpu').model.attention == 'xla'
        with pytest.raises(ConfigError, match=r'packed.*type --config.model.attention=cudnn_mask'):
            model = {**FLASH, 'attention': 'cudnn'}
            resolve.check(recipe({'model': model, 'data': {'layout': 'packed'}}))
        with pytest.raises(ConfigError, match=f'triton.*{removed}.*attention=xla'):
            resolve.resolve(typed, 'gpu')
