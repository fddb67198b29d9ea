"""What the GPU compiler makes of real steps, for cards that are not here: minutes each.

``./launch/test.sh -n 0 -m gpu_compile`` after ``pip install -e '.[gpu-compile]'``.
"""

import pytest

from electra_jax.aot import gpu
from tests.support import absent

pytestmark = [
    pytest.mark.gpu_compile,
    pytest.mark.skipif(
        not gpu.has_compiler(), reason="needs the GPU compiler: pip install -e '.[gpu-compile]'"
    ),
]

# Layers in a loop compile the faster.
LOOP = ('--config.model.scan_unroll=1', '--config.batch_size=64')


def test_a_step_of_one_card_is_accounted_for():
    record = absent.report('small', 'h100:1', *LOOP)
    assert record['fits'] and record['attention'] == 'xla' and record['collectives'] == []
    assert record['hbm_limit_bytes'] == int(0.75 * 84942979072)
    kernels = record['kernels']
    assert {'matrix product', 'reduction', 'loop'} < set(kernels)
    # The loop's kernels count in every turn: each of two networks has 12 layers, and each layer at
    # least six products of matrices forward and twice as many back.
    assert kernels['matrix product'] > 2 * 12 * 18 * 0.9
    roof = record['roofline']
    assert roof['seconds_by']['launches'] == pytest.approx(
        sum(kernels.values()) * gpu.PLATFORM.launch_seconds
    )
    assert 0 < roof['mfu'] <= 1 and record['bytes_per_token'] > 0


def test_gradients_cross_the_links_of_eight_cards():
    record = absent.report('small', 'a100:8', *LOOP)
    reduced = sum(c['bytes'] for c in record['collectives'] if c['kind'] == 'all-reduce')
    assert reduced > 2 * 13e6 and record['roofline']['seconds_by']['nvlink'] > 0
    assert not any(one['crosses_slices'] for one in record['collectives'])
    assert record['kernels']['collective'] == sum(one['count'] for one in record['collectives'])


def test_gradients_cross_the_network_between_hosts():
    record = absent.report('small', 'h100:2', '--slices=2', *LOOP)
    assert record['group'] == 'host' and any(c['crosses_slices'] for c in record['collectives'])
    assert record['roofline']['seconds_by']['network'] > 0


@pytest.mark.skipif(not gpu.has_cudnn(), reason="needs cuDNN: pip install -e '.[gpu-compile]'")
def test_attention_of_cudnn_is_two_calls_a_layer_and_keeps_no_scores():
    record = absent.report('one_gpu', 'h200:1', *LOOP, '--config.data.row_length=192')
    assert record['attention'] == 'cudnn' and record['kernels']['custom call'] >= 2 * 2 * 12
    for buffer in record['largest_buffers']:
        assert absent.sizes(buffer)[1].count(192) < 2, buffer
