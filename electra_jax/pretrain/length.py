"""``config.minutes``: how many steps a run has, from how fast the first ones are.

The number is measured once, at the start of a run, and stands in its `config.json`: the same
command typed again has the same length, and so the same schedules.
"""

import time

import jax
import numpy as np
from etils import epath

from electra_jax.config import length
from electra_jax.config.resolve import first_stage
from electra_jax.config.settings import Config
from electra_jax.core.errors import ConfigError
from electra_jax.objectives.definition import Vocabulary
from electra_jax.pretrain import program as programs
from electra_jax.pretrain.program import Program
from electra_jax.runtime import terminal
from electra_jax.runtime.terminal import duration
from electra_jax.train import workdir
from electra_jax.train.state import TrainState

_TRIED = 3  # steps before those that are timed
_SECONDS = 4.0  # that the steps of one stage are timed, at least one of them
_TRAINING = 0.95  # of the time; the rest evaluates and saves


def stored(config: Config, folder: epath.Path) -> Config:
    """The configuration with the length of the run in the workdir, where one has begun."""
    if config.minutes is None or (before := workdir.begun(folder)) is None:
        return config
    if before.get('minutes') is None:
        return config
    return length.with_total_steps(config, before['total_steps'])


def is_unset(config: Config, folder: epath.Path) -> bool:
    """Whether the length is still to be measured.

    Raises:
        ConfigError: there are several processes, which would measure different lengths.
    """
    trains = config.job == 'pretrain' and config.replay is None
    if config.minutes is None or not trains or workdir.begun(folder) is not None:
        return False
    if jax.process_count() > 1:
        raise ConfigError(
            f'config.minutes is {config.minutes:g}, but there are {jax.process_count()} processes, '
            'and each would measure another speed: type --config.total_steps=NUMBER'
        )
    return True


def measured(config: Config, vocabulary: Vocabulary) -> Config:
    """The configuration with as many steps as fit into `config.minutes`."""
    assert config.minutes is not None
    terminal.OUT.print('compiling a step, to measure how many fit into the time...')
    began = time.monotonic()
    program = programs.build_program(config, vocabulary)
    seconds = _step_seconds(program)
    total = max(2, round(config.minutes * 60 * _TRAINING / seconds))
    terminal.OUT.print(
        f'{seconds:.3g} s a step here (measured in {duration(time.monotonic() - began)}): '
        f'{config.minutes:g} minutes are {total:,} steps'
    )
    return length.with_total_steps(config, total)


def _step_seconds(program: Program) -> float:
    """Mean seconds of a step over the run's stages, on random rows, of a state that is dropped."""
    config = program.config
    batch = _random_batch(program)
    first = first_stage(config)
    state = program.fresh_state()
    if not first:
        return _timed(program, state, batch)[1]
    # The one step that copies the generator comes before those that are timed.
    state, early = _timed(program, state, batch)
    state = state._replace(step=jax.device_put(np.int32(first), state.step.sharding))
    _, late = _timed(program, state, batch)
    share = first / config.total_steps
    return share * early + (1 - share) * late


def _timed(
    program: Program, state: TrainState, batch: dict[str, jax.Array]
) -> tuple[TrainState, float]:
    """The state after some steps, and the seconds that one takes."""
    for _ in range(_TRIED):
        state, _ = program.step(state, batch)
    jax.block_until_ready(state)
    began, steps = time.monotonic(), 0
    while time.monotonic() - began < _SECONDS:
        for _ in range(max(1, steps)):  # twice as many each time, so that few wait for the host
            state, _ = program.step(state, batch)
            steps += 1
        jax.block_until_ready(state.step)
    return state, (time.monotonic() - began) / steps


def _random_batch(program: Program) -> dict[str, jax.Array]:
    """Full rows of random tokens."""
    config = program.config
    B, L = config.batch_size, config.data.row_length
    tokens = np.random.default_rng(0).integers(5, program.vocabulary.size, (B, L), np.int32)
    host = {
        'tokens': tokens,
        'documents': np.ones((B, L), np.int32),
        'positions': np.broadcast_to(np.arange(L, dtype=np.int32), (B, L)),
        'types': np.zeros((B, L), np.int32),
    }
    return programs.put_batch(program.mesh, B, host)
