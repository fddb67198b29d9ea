"""How many steps fit into a number of minutes."""

import types

import jax
import jax.numpy as jnp
import pytest
from etils import epath

from electra_jax.core.errors import ConfigError
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

        return types.SimpleNamespace(config=config, step=step, fresh_state=fresh_state)

    monkeypatch.setattr(length.programs, 'build_program', build)
    monkeypatch.setattr(length, '_random_batch', lambda program: {})
    monkeypatch.setattr(length.time, 'monotonic', lambda: now[0])


def test_steps_fill_the_minutes(machine):
    config = length.measured(tiny_config(minutes=10.0), VOCABULARY)
    assert config.total_steps == round(600 * 0.95 / 0.3)


def test_each_stage_is_measured(machine):
    config = length.measured(tiny_config(minutes=10.0, total_steps=1000, **STAGES), VOCABULARY)
    assert config.total_steps == pytest.approx(600 * 0.95 / (0.75 * 0.1 + 0.25 * 0.3), abs=1)
    assert config.objective.generator_steps == round(0.75 * config.total_steps)


def test_several_processes_are_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(jax, 'process_count', lambda: 2)
    with pytest.raises(ConfigError, match=r'2 processes.*--config\.total_steps='):
        length.is_unset(tiny_config(minutes=10.0), epath.Path(tmp_path))
