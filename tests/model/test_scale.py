"""What must not grow: compile time with depth, cost of a token with the batch, memory with L."""

import time

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from electra_jax.config import checks
from electra_jax.core.errors import ConfigError
from electra_jax.parallel import rules
from electra_jax.pretrain import program as runs
from tests.support.configs import VOCABULARY, modern_config, random_batch, tiny_config


def lowered(config):
    program = runs.build_program(config, VOCABULARY, jax.devices()[:1])
    shape = (config.batch_size, config.data.row_length)
    one = jax.ShapeDtypeStruct(shape, jnp.int32, sharding=rules.batch_sharding(program.mesh, shape))
    batch = dict.fromkeys(('tokens', 'documents', 'positions', 'types'), one)
    return program.step.lower(program.abstract_state, batch)


@pytest.mark.slow
@pytest.mark.parametrize('make', [tiny_config, modern_config])
def test_compile_time_is_flat_in_depth(make):
    sizes, seconds = {}, {}
    for layers in (6, 24, 6, 24):  # in turns: the first compilation warms up
        begun = time.process_time()
        program = lowered(make(mesh={'data': 1}, model={'num_layers': layers}))
        compiled = program.compile()
        spent = time.process_time() - begun
        seconds[layers] = min(spent, seconds.get(layers, spent))
        sizes[layers] = len(compiled.as_text().splitlines())
    assert sizes[24] <= 1.05 * sizes[6]
    assert seconds[24] <= 1.5 * seconds[6]


@pytest.mark.parametrize('make', [tiny_config, modern_config])
def test_a_token_costs_the_same_in_a_larger_batch(make):
    def cost(B):
        config = make(mesh={'data': 1}, batch_size=B, data={'row_length': 32})
        analysis = lowered(config).compile().cost_analysis()
        return np.array([analysis['flops'], analysis['bytes accessed']]) / B

    # What does not grow with the batch, the optimizer above all, only makes the small one dearer.
    assert (cost(64) <= cost(8) * 1.1).all()


def test_local_attention_reads_rows_of_8192_without_an_array_of_their_square():
    config = modern_config(
        mesh={'data': 1},
        batch_size=1,
        model={'num_layers': 1, 'local_window': 64, 'global_every': 0, 'max_positions': 8192},
        data={'row_length': 8192, 'layout': 'packed'},
    )
    program = runs.build_program(config, VOCABULARY, jax.devices()[:1])
    assert '8192,8192' not in lowered(config).compile().as_text()
    _, metrics = program.step(program.fresh_state(), random_batch(1, 8192, documents=4))
    assert np.isfinite(float(metrics['loss']))


def test_rows_beyond_the_position_table_are_refused():
    config = tiny_config(data={'row_length': 8192})
    with pytest.raises(ConfigError, match=r'--config.model.max_positions=8192'):
        runs.build_program(config, VOCABULARY, jax.devices()[:1])
    checks.check_positions(modern_config(data={'row_length': 32}))


@pytest.mark.slow
def test_what_is_computed_again_need_not_be_kept():
    def kept(remat):
        config = tiny_config(
            mesh={'data': 1},
            model={'remat': remat, 'num_layers': 8, 'attention_dropout': 0.1, 'max_positions': 64},
            data={'row_length': 64},
        )
        return lowered(config).compile().memory_analysis().temp_size_in_bytes

    none, attention, wide, both, full = map(
        kept, ('none', 'attention', 'feed_forward', 'both', 'full')
    )
    assert both < min(attention, wide) and max(attention, wide) < none and full < both
