"""``config.minutes``: how many steps a run has, from how fast the first ones are.

The minutes begin when the text is there, and hold everything until the end: compiling, measuring,
steps, evaluations and saves. The number is measured once, at the start of a run, and stands in its
`config.json`: the same command typed again has the same length, and so the same schedules. What was
compiled to measure is used to train.
"""

import math
import time
from collections.abc import Callable
from typing import NamedTuple

import jax
import numpy as np
from etils import epath

from electra_jax.config import length
from electra_jax.config.resolve import first_stage
from electra_jax.config.settings import Config
from electra_jax.core.complaints import counted
from electra_jax.objectives.definition import Vocabulary
from electra_jax.pretrain import program as programs
from electra_jax.pretrain.program import Program
from electra_jax.runtime import distributed, terminal
from electra_jax.runtime.terminal import duration
from electra_jax.train import workdir
from electra_jax.train.state import TrainState

_TRIED = 3  # steps before those that are timed
_SECONDS = 4.0  # that the steps of one stage are timed, at least one of them
_LEAST_TRAINING = 0.5  # of the minutes, however long compiling takes
_MOST_EVALUATING = 0.1  # of the time
_OTHER = 0.03  # of the time, which saves and whatever else take


def stored(config: Config, folder: epath.Path) -> Config:
    """The configuration with the length of the run in the workdir, where one has begun."""
    if config.minutes is None or (before := workdir.begun(folder)) is None:
        return config
    if before.get('minutes') is None:
        return config
    total = before['total_steps']
    return length.with_total_steps(config, total, -(-total // before['eval.every_steps']))


def is_unset(config: Config, folder: epath.Path) -> bool:
    """Whether the length is still to be measured."""
    trains = config.job == 'pretrain' and config.replay is None
    return config.minutes is not None and trains and workdir.begun(folder) is None


class Measured(NamedTuple):
    """How long things take here, in seconds."""

    step: float
    evaluation: float
    compiling: float  # with everything else until now
    ending: float  # compiles once more, to show an example


def measured(config: Config, vocabulary: Vocabulary, held_out_rows: int) -> tuple[Config, Program]:
    """The configuration with as many steps as fit into `config.minutes`.

    And the program of the configuration as it was, which is compiled: step, state and totals do not
    depend on the length. Processes agree on what the first one has measured.
    """
    assert config.minutes is not None
    what = 'compiling a step, to measure how many fit into the time'
    terminal.OUT.print(f'{what}...')
    began = time.monotonic()
    batches = -(-min(held_out_rows, config.eval.rows) // config.batch_size)
    with terminal.alive(what):
        program = programs.build_program(config, vocabulary)
        seconds = _step_seconds(program)
        compiling, batch_seconds = _evaluation_seconds(program) if batches else (0.0, 0.0)
    took = Measured(seconds, batches * batch_seconds, time.monotonic() - began, compiling)
    total, evaluations = map(distributed.agree, fitting(config, took))
    assert total and evaluations
    terminal.OUT.print(
        f'{seconds:.3g} s a step here (compiled and measured in {duration(took.compiling)}): '
        f'{config.minutes:g} minutes are {total:,} steps'
        + f', with {counted(evaluations, "evaluations")} of {duration(took.evaluation)}'
        * bool(batches)
    )
    if took.compiling > config.minutes * 60 * (1 - _LEAST_TRAINING):
        terminal.OUT.print(
            f'warning: compiling took most of the {config.minutes:g} minutes; training still gets '
            f'{duration(config.minutes * 60 * _LEAST_TRAINING)}; type more of them'
        )
    return length.with_total_steps(config, total, evaluations), program


def fitting(config: Config, took: Measured) -> tuple[int, int]:
    """Steps and evaluations that fit into what is left of `config.minutes`."""
    assert config.minutes is not None
    asked = config.minutes * 60
    left = max(asked - took.compiling - took.ending, _LEAST_TRAINING * asked) * (1 - _OTHER)
    often = math.ceil(left / took.step / config.eval.every_steps)
    often = max(often, length.LEAST_TIMES)
    if took.evaluation:
        often = min(often, int(_MOST_EVALUATING * left / took.evaluation))
    often = max(1, often)
    evaluating = min(often * took.evaluation, left / 2)  # one is made, however long it takes
    return max(2, round((left - evaluating) / took.step)), often


def _evaluation_seconds(program: Program) -> tuple[float, float]:
    """How long a batch of an evaluation takes to compile, and to compute."""
    batch, params, marks = _random_batch(program), program.fresh_state().params, [time.monotonic()]
    for _ in range(2):
        jax.block_until_ready(program.totals(params, batch, np.int32(0)))
        marks.append(time.monotonic())
    return marks[1] - marks[0], marks[2] - marks[1]


def _step_seconds(program: Program) -> float:
    """Mean seconds of a step over the run's stages, on random rows, of a state that is dropped."""
    config = program.config
    step, batch = programs.step_of_any_length(program), _random_batch(program)
    first = first_stage(config)
    state = program.fresh_state()
    if not first:
        return _timed(step, state, batch)[1]
    # The one step that copies the generator comes before those that are timed.
    state, early = _timed(step, state, batch)
    at_second = programs.put_number(program.mesh, first)
    _, late = _timed(step, state._replace(step=at_second), batch)
    share = first / config.total_steps
    return share * early + (1 - share) * late


def _timed(
    step: Callable, state: TrainState, batch: dict[str, jax.Array]
) -> tuple[TrainState, float]:
    """The state after some steps, and the seconds that one takes."""
    for _ in range(_TRIED):
        state, _ = step(state, batch)
    jax.block_until_ready(state)
    began, steps = time.monotonic(), 0
    # Processes compute the same steps, or they would wait for each other forever.
    while distributed.agree(int(time.monotonic() - began < _SECONDS)):
        for _ in range(max(1, steps)):  # twice as many each time, so that few wait for the host
            state, _ = step(state, batch)
            steps += 1
        jax.block_until_ready(state.step)
    return state, (time.monotonic() - began) / steps


def _random_batch(program: Program) -> dict[str, jax.Array]:
    """Full rows of random tokens, of which each process makes its share."""
    config = program.config
    B, L = config.batch_size // jax.process_count(), config.data.row_length
    tokens = np.random.default_rng(0).integers(5, program.vocabulary.size, (B, L), np.int32)
    host = {
        'tokens': tokens,
        'documents': np.ones((B, L), np.int32),
        'positions': np.broadcast_to(np.arange(L, dtype=np.int32), (B, L)),
        'types': np.zeros((B, L), np.int32),
        **programs.blank_images(config, B),
    }
    return programs.put_batch(program.mesh, config.batch_size, host)
