"""What the TPU compiler makes of the recipes' real steps: minutes each.

``./launch/test.sh -n 0 -m tpu_compile`` after ``pip install -e '.[tpu-compile]'``.
"""

import math

import pytest

from electra_jax.aot import tpu
from tests.support.absent import report, sizes

pytestmark = [
    pytest.mark.tpu_compile,
    pytest.mark.skipif(
        not tpu.has_libtpu(),
        reason="needs the TPU compiler: pip install -e '.[tpu-compile]'",
    ),
]

FLASH = '--config.model.attention_dropout=0'


def base() -> dict:
    return report('base', 'v5e:4x4', '--config.batch_size=1024', FLASH)


def test_base_at_64_rows_a_chip_fits_a_v5e_without_remat():
    assert base()['fits'] and base()['remat'] == 'none' and base()['attention'] == 'mosaic'


def test_base_at_64_rows_a_chip_fits_with_attention_dropout_and_moves_few_bytes():
    record = report('base', 'v5e:4x4', '--config.batch_size=1024')
    assert record['fits'] and record['remat'] == 'none' and record['attention'] == 'mosaic'
    assert record['bytes_per_token'] <= 2.5e6
    # From one order of an array to another, which heads apart from one another would need.
    copied = (one['bytes'] for one in record['bytes_by_source'] if one['opcode'] == 'copy')
    assert sum(copied) < 0.02e6
    for buffer in record['largest_buffers']:
        assert sizes(buffer)[1].count(512) < 2, buffer


def test_base_moves_few_bytes_a_token():
    assert base()['bytes_per_token'] <= 3.1e6


def test_no_scores_and_no_logits_lie_in_main_memory():
    B, L, P, V = 64, 512, 77, 30592
    largest = base()['largest_buffers']
    assert largest[-1]['bytes'] < 2 * B * P * V  # smaller ones than those are not shown
    for buffer in largest:
        dtype, dims = sizes(buffer)
        assert dims.count(L) < 2, buffer  # other arrays, stacked over layers, are as large
        assert dtype != 'f32' or not (P in dims and math.prod(dims) >= B * P * V), buffer


def test_data_parallel_gradients_cross_the_network_in_no_more_than_float32():
    record = base()
    assert {one['kind'] for one in record['collectives']} <= {'all-reduce', 'all-gather'}
    reduced = sum(one['bytes'] for one in record['collectives'])
    parameters = 123e6  # of both networks, a little more than they have
    assert 2 * parameters * 0.9 <= reduced <= 4 * parameters  # bfloat16 to float32


def test_large_fits_v5e_16x16_at_2048_rows():
    assert report('large', 'v5e:16x16', FLASH)['fits']


def test_xxlarge_fits_v5p_8x8x8():
    record = report('xxlarge', 'v5p:8x8x8')
    assert record['fits'] and 'fsdp 128' in record['device'] and 'tensor 4' in record['device']


def test_between_slices_travel_gradients_alone():
    record = report('base', 'v5e:2x2', '--slices=2', '--config.batch_size=64', FLASH)
    across = [one for one in record['collectives'] if one['crosses_slices']]
    assert across and 'dcn' in record['roofline']['seconds_by']


def test_what_does_not_fit_gets_settings_to_try():
    record = report('base', 'v5e:2x2', '--config.batch_size=2048', FLASH)
    assert not record['fits'] and record['hbm_bytes_per_chip'] > record['hbm_limit_bytes']
    assert '--config.optimizer.microbatches=2' in record['suggestion']
