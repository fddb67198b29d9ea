"""What is reported of a compiled step: the roofline by hand, its costs, and settings to try."""

import math

import jax
import pytest

from electra_jax.aot import compile, gpu, report, tpu
from electra_jax.aot.traffic import Collective
from electra_jax.parallel.chips import Chip
from electra_jax.pretrain import program as runs
from tests.support.configs import VOCABULARY, tiny_config

CHIP = Chip(flops=100.0, hbm_bytes=1000.0, hbm_bandwidth=10.0, ici_bandwidth=2.0, dcn_bandwidth=1.0)


def test_the_roofline_is_the_largest_of_its_times():
    collectives = [
        Collective('all-reduce', 4, False, 1, 8),  # 2 x 8 x 3/4 bytes over a link
        Collective('all-gather', 2, True, 1, 3),  # 3 x 1/2 over the other network
    ]
    roof = report.roofline(CHIP, tpu.PLATFORM, 50.0, 4.0, 10.0, collectives, None)
    assert roof['seconds_by'] == {'compute': 5.0, 'memory': 4.0, 'ici': 6.0, 'dcn': 1.5}
    assert (roof['bound_by'], roof['seconds'], roof['seconds_in_turn']) == ('ici', 6.0, 16.5)
    assert roof['mfu'] == pytest.approx(5 / 6)
    assert roof['tokens_per_second_per_chip'] == pytest.approx(10 / 6)


def test_starting_kernels_takes_time_on_a_gpu():
    platform = gpu.PLATFORM._replace(launch_seconds=0.5)
    roof = report.roofline(CHIP, platform, 50.0, 4.0, 10.0, [], {'loop': 20, 'copy': 4})
    assert roof['seconds_by'] == {
        'compute': 5.0, 'memory': 4.0, 'nvlink': 0.0, 'network': 0.0, 'launches': 12.0
    }  # fmt: skip
    assert (roof['bound_by'], roof['seconds']) == ('launches', 12.0)
    assert set(gpu.PLATFORM.assumptions) < set(roof['assumptions'])


def test_other_failures_than_of_memory_are_not_taken_for_it():
    assert compile.refused_bytes('INTERNAL: something else (3.00G)') is None


def program(**changes):
    config = tiny_config(mesh={'data': 2}, **changes)
    return runs.build_program(config, VOCABULARY, jax.devices()[:2])


@pytest.fixture(scope='module')
def compiled():
    built = program()
    return built, compile.compile_step(built.step, built.abstract_state, runs.abstract_batch(built))


def parameter_bytes(compiled):
    """Of one device."""
    leaves = jax.tree.leaves(compiled[0].abstract_state.params)
    return sum(math.prod(x.sharding.shard_shape(x.shape)) * x.dtype.itemsize for x in leaves)


def all_reduced(record):
    return sum(c['bytes'] for c in record['collectives'] if c['kind'] == 'all-reduce')


def test_a_step_of_this_machine_is_accounted_for(compiled):
    record = report.describe(*compiled, CHIP._replace(hbm_bytes=1e12), tpu.PLATFORM)
    assert record['fits'] and record['bytes_per_token'] > 0
    flops = record['flops_per_token']['mfu']
    assert record['intensity'] == pytest.approx(flops / record['bytes_per_token'])
    assert record['tokens_per_chip'] == 8 * 16 / 2 and record['suggestion'] is None
    assert all_reduced(record) >= parameter_bytes(compiled)
    small = report.describe(*compiled, CHIP, tpu.PLATFORM)
    assert not small['fits'] and small['hbm_limit_bytes'] == 1000
    assert record['kernels'] is None and 'kernels a step' not in table(record)


def table(record):
    return report.as_table({'config': 'tiny', 'topology': 'any', 'slices': 1, **record})


def test_of_a_gpu_kernels_are_counted_and_a_share_of_the_memory_is_enough(compiled, monkeypatch):
    needed = report.describe(*compiled, CHIP, gpu.PLATFORM)['hbm_bytes_per_chip']
    chip = CHIP._replace(hbm_bytes=needed * 1.2)
    record = report.describe(*compiled, chip, gpu.PLATFORM)
    assert not record['fits'] and record['hbm_limit_bytes'] == int(needed * 1.2 * 0.75)
    monkeypatch.setenv('XLA_PYTHON_CLIENT_MEM_FRACTION', '.9')
    record = report.describe(*compiled, chip, gpu.PLATFORM)
    count = sum(record['kernels'].values())
    assert record['fits'] and count > 100 and f'{count:,} kernels a step' in table(record)
    text, roof = table(record), record['roofline']
    rows = record['rows'] // 2
    assert f'({rows} rows a chip)' in text and '"seconds' not in text and "\\'" not in text
    rate = f'at most {2 * roof["tokens_per_second_per_chip"]:,.0f} tokens/s on all chips'
    hours = roof['seconds'] * record['total_steps'] / 3600
    assert f'{rate}, and at least {hours:,.2f} h for ' in text and 'not measured' in text
    launches = record['roofline']['seconds_by']['launches']
    assert launches == pytest.approx(count * gpu.PLATFORM.launch_seconds)


def test_a_program_that_cannot_be_printed_still_fits_or_not(compiled):
    built, made = compiled
    plenty = CHIP._replace(hbm_bytes=1e12)
    record = report.describe(built, made._replace(text=None), plenty, tpu.PLATFORM)
    assert record['fits'] and record['temp_bytes_per_chip'] == made.temp_bytes
    assert record['roofline'] is None and record['largest_buffers'] is None


@pytest.mark.xfail(
    strict=True,
    reason='the embeddings, which both networks share, send a gradient for each of them and the '
    'softmax one more for the word table, instead of their sum',
)
def test_the_gradient_of_every_parameter_crosses_once(compiled):
    # Losses and norms are a few scalars more.
    assert all_reduced(report.describe(*compiled, CHIP, tpu.PLATFORM)) < 1.02 * parameter_bytes(
        compiled
    )


def test_what_does_not_fit_gets_settings_to_try_that_change_training_least(compiled):
    built, made = compiled
    refused = report.describe(built, made._replace(text=None, temp_bytes=None), CHIP, tpu.PLATFORM)
    assert not refused['fits'] and refused['suggestion'] == [
        '--config.model.remat=full',
        '--config.optimizer.microbatches=2',
        '--config.mesh.data=1 --config.mesh.fsdp=2',
        '--config.batch_size=4',
    ]
    text = table(refused)
    assert 'DOES NOT FIT' in text and '--config.batch_size=4 or more chips' in text
    # Rows that cannot be cut in half.
    odd = program(batch_size=2, model={'remat': 'full'})
    assert report.to_try(odd) == ['--config.mesh.data=1 --config.mesh.fsdp=2']
