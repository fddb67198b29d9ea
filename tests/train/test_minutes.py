"""How many steps fit into a number of minutes."""

import types

import jax.numpy as jnp
import pytest

from electra_jax.pretrain import length
from electra_jax.train.state import TrainState
from tests.support.configs import TWO_STAGE_MODEL, VOCABULARY, tiny_config

STAGES = {
    'model': TWO_STAGE_MODEL,
    'objective': {'name': 'two_stage', 'generator_share': 0.75},
}


@pytest.fixture
def machine(monkeypatch):
    """A machine on which a step of stage 1 takes 0.1 s and one of stage 2 0.3 s, by its clock."""
    now = [0.0]

    def build(config, vocabulary):
        boundary = config.objective.generator_steps or 0

        def step(state, batch):
            now[0] += 0.1 if int(state.step) < boundary else 0.3
            return state._replace(step=state.step + 1), {}

        def fresh_state():
            return TrainState(jnp.zeros((), jnp.int32), {}, {})

        def totals(params, batch, number):
            now[0] += 0.2
            return {}

        return types.SimpleNamespace(
            config=config, mesh=None, step=step, fresh_state=fresh_state, totals=totals
        )

    monkeypatch.setattr(length.programs, 'build_program', build)
    monkeypatch.setattr(length.programs, 'step_of_any_length', lambda program: program.step)
    monkeypatch.setattr(length.programs, 'put_number', lambda mesh, number: jnp.int32(number))
    monkeypatch.setattr(length, '_random_batch', lambda program: {})
    monkeypatch.setattr(length.time, 'monotonic', lambda: now[0])
    return now


def measured(config, held_out_rows=0):
    config, program = length.measured(config, VOCABULARY, held_out_rows)
    assert program.config.total_steps != config.total_steps  # it is of any length
    return config


def test_steps_fill_what_measuring_leaves_of_the_minutes(machine):
    began = machine[0]
    config = measured(tiny_config(minutes=10.0))
    left = 600 - (machine[0] - began)
    assert left < 597
    assert config.total_steps == round(left * 0.97 / 0.3)


def test_each_stage_is_measured(machine):
    config = measured(tiny_config(minutes=10.0, total_steps=1000, **STAGES))
    left = 600 - machine[0]
    assert config.total_steps == pytest.approx(left * 0.97 / (0.75 * 0.1 + 0.25 * 0.3), abs=1)
    assert config.objective.generator_steps == round(0.75 * config.total_steps)


def test_evaluations_are_in_the_minutes(machine):
    config = tiny_config(minutes=10.0, batch_size=4, eval={'rows': 400, 'every_steps': 1000})
    after = measured(config, held_out_rows=200)
    evaluation = 200 / 4 * 0.2
    often = -(-after.total_steps // after.eval.every_steps)
    assert often == 5  # ten would take more than a tenth of the time
    assert 570 < machine[0] + after.total_steps * 0.3 + often * evaluation <= 600


@pytest.mark.parametrize(('compiling', 'evaluation'), [(10, 20), (590, 20), (1000, 0), (10, 2000)])
def test_a_run_has_steps_however_long_all_else_takes(compiling, evaluation):
    took = length.Measured(step=0.3, evaluation=evaluation, compiling=compiling, ending=5.0)
    steps, often = length.fitting(tiny_config(minutes=10.0), took)
    assert steps * 0.3 > 0.4 * 600 and often >= 1


def test_processes_agree_on_what_the_first_one_measured(machine, monkeypatch):
    def agree(number):
        return number if number < 2 else 77

    monkeypatch.setattr(length.distributed, 'agree', agree)
    assert measured(tiny_config(minutes=10.0)).total_steps == 77
