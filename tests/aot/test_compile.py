"""What is said of a compiled step: the roofline by hand, and settings that fit."""

import jax
import pytest

from electra_jax.aot import compile, roofline, suggest
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
    roof = roofline.roofline(CHIP, 50.0, 4.0, 10.0, collectives)
    assert roof['seconds_by'] == {'compute': 5.0, 'memory': 4.0, 'ici': 6.0, 'dcn': 1.5}
    assert (roof['bound_by'], roof['seconds'], roof['seconds_in_turn']) == ('ici', 6.0, 16.5)
    assert roof['mfu'] == pytest.approx(5 / 6)
    assert roof['tokens_per_second_per_chip'] == pytest.approx(10 / 6)


def test_other_failures_than_of_memory_are_not_taken_for_it():
    assert compile.refused_bytes('INTERNAL: something else (3.00G)') is None


def program(**changes):
    config = tiny_config(mesh={'data': 2}, **changes)
    return runs.build_program(config, VOCABULARY, jax.devices()[:2])


@pytest.fixture(scope='module')
def compiled():
    built = program()
    return built, compile.compile_step(built.step, built.abstract_state, runs.abstract_batch(built))


def account(compiled, chip):
    built, made = compiled
    return roofline.account(made, chip, built.mesh, 8 * 16, {'mfu': 1e6, 'paper': 2e6})


def all_reduced(record):
    return sum(c['bytes'] for c in record['collectives'] if c['kind'] == 'all-reduce')


def test_a_step_of_this_machine_is_accounted_for(compiled):
    record = account(compiled, CHIP._replace(hbm_bytes=1e12))
    assert record['fits'] and record['bytes_per_token'] > 0
    assert record['intensity'] == pytest.approx(1e6 / record['bytes_per_token'])
    assert all_reduced(record) >= suggest.shard_bytes(compiled[0].abstract_state.params)
    small = account(compiled, CHIP)
    assert not small['fits'] and small['hbm_limit_bytes'] == 1000


def test_a_program_that_cannot_be_printed_still_fits_or_not(compiled):
    built, made = compiled
    record = roofline.account(
        made._replace(text=None), CHIP._replace(hbm_bytes=1e12), built.mesh, 128, {'mfu': 1e6}
    )
    assert record['fits'] and record['temp_bytes_per_chip'] == made.temp_bytes
    assert record['roofline'] is None and record['largest_buffers'] is None


@pytest.mark.xfail(
    strict=True,
    reason='the embeddings, which both networks share, send a gradient for each of them and the '
    'softmax one more for the word table, instead of their sum',
)
def test_the_gradient_of_every_parameter_crosses_once(compiled):
    params = suggest.shard_bytes(compiled[0].abstract_state.params)
    # Losses and norms are a few scalars more.
    assert all_reduced(account(compiled, CHIP)) < 1.02 * params


def test_the_nearest_setting_that_fits_changes_training_least():
    built = program(batch_size=32)
    used = suggest.Memory(needed=1000, limit=700, params=50, state=150)
    assert (used.fixed, used.rows) == (200, 800)
    found = suggest.nearest(built.config, used, built.mesh, None)
    assert found == suggest.Suggestion({'optimizer.microbatches': 2}, 650, compiled=False)
    # Rows that cannot be cut: the state is spread instead.
    built = program(batch_size=2)
    used = suggest.Memory(needed=1000, limit=900, params=100, state=300)
    found = suggest.nearest(built.config, used, built.mesh, None)
    assert found.changes == {'mesh.data': 1, 'mesh.fsdp': 2} and found.hbm_bytes == 800
    assert suggest.nearest(built.config, used._replace(limit=10), built.mesh, None) is None


def test_where_compiling_is_cheap_a_setting_is_tried_before_it_is_suggested():
    built = program(batch_size=32)
    used = suggest.Memory(needed=1000, limit=700, params=50, state=150)
    tried = []

    def try_out(config):
        tried.append((config.model.remat, config.optimizer.microbatches))
        fits = config.optimizer.microbatches == 4
        return compile.Compiled(1.0, 600 if fits else 800, 500, 'text')

    found = suggest.nearest(built.config, used, built.mesh, try_out)
    assert tried == [('full', 1), ('none', 2), ('none', 4)]
    assert found == suggest.Suggestion({'optimizer.microbatches': 4}, 600, compiled=True)


def test_a_setting_that_fits_is_suggested_though_its_program_cannot_be_printed():
    built = program(batch_size=32)
    used = suggest.Memory(needed=1000, limit=700, params=50, state=150)
    unprinted = compile.Compiled(1.0, 600, 500, None)
    found = suggest.nearest(built.config, used, built.mesh, lambda config: unprinted)
    assert found.compiled and found.hbm_bytes == 600
    refused = unprinted._replace(temp_bytes=None)
    found = suggest.nearest(built.config, used, built.mesh, lambda config: refused)
    assert found is None or not found.compiled
