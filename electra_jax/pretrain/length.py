"""``config.minutes``: how many steps a run has, from how fast the first ones are; or `petaflop`.

The minutes begin when the text is there, and hold everything until the end: compiling, measuring,
steps, evaluations and saves. The number is measured at the start of a run, corrected on the way
(`Plan`), and stands in its `config.json`: the same command typed again has the length that stands
there, and so the same schedules. What was compiled to measure is used to train.
"""

import dataclasses
import math
import time
from collections.abc import Callable, Collection
from typing import NamedTuple

import jax
import numpy as np
from etils import epath

from electra_jax.config import length
from electra_jax.config.resolve import first_stage
from electra_jax.config.settings import Config
from electra_jax.core.complaints import counted
from electra_jax.model.flops import training_flops
from electra_jax.objectives import table
from electra_jax.objectives.definition import Vocabulary
from electra_jax.optim import schedules
from electra_jax.pretrain import program as programs
from electra_jax.pretrain.program import Program
from electra_jax.runtime import distributed, terminal
from electra_jax.runtime.terminal import duration
from electra_jax.train import clock as clocks
from electra_jax.train import workdir
from electra_jax.train.clock import EVALUATING, Clock
from electra_jax.train.state import TrainState

_TRIED = 3  # steps before those that are timed
_SECONDS = 4.0  # that the steps of one stage are timed, at least one of them
_LEAST_TRAINING = 0.5  # of the minutes, however long compiling takes
_MOST_EVALUATING = 0.1  # of the time
_CORRECTIONS = 20  # times in the minutes at which the plan is looked at again
_SAME = 0.04  # of all steps: a plan that differs by less stays
_OTHER = 0.03  # of the time, which saves and whatever else take
_LATE = 0.05  # of the minutes: so late a run may end where its decay would be cut off else
_ENDING = 0.2  # of the steps: a decay that is longer is not kept whole
MEASURED = 'measured'  # what `config.json` keeps of the first start


class Limits(NamedTuple):
    """What binds a length that is measured."""

    typed: Collection[str] = ()  # names of settings on the command line, as `stored` has them
    most: float = math.inf  # steps that `config.max_exposures` allows


def stored(config: Config, folder: epath.Path, typed: Collection[str] = ()) -> Config:
    """The configuration with the length of the run in the workdir, where one has begun.

    `typed` are the names of settings on the command line, as in all of this file: typed
    lengths in steps stay (`config.length.with_total_steps`).
    """
    follows = [name for name in length.MEASURED if getattr(config, name) is not None]
    if not follows or (before := workdir.begun(folder)) is None:
        return config
    if before.get(follows[0]) is None:
        return config
    total, share = before['total_steps'], 'objective.generator_share'
    now = length.with_total_steps(config, total, typed=typed)
    if length.EVALUATED not in typed:
        now = _evaluated_every(now, before[length.EVALUATED])
    if before.get(share) != config.objective.generator_share:
        return now  # which is refused
    return _with_first_stage(now, before['objective.generator_steps'])


def _evaluated_every(config: Config, steps: int) -> Config:
    return dataclasses.replace(config, eval=dataclasses.replace(config.eval, every_steps=steps))


def _with_first_stage(config: Config, steps: int | None) -> Config:
    objective = dataclasses.replace(config.objective, generator_steps=steps)
    return dataclasses.replace(config, objective=objective)


def is_unset(config: Config, folder: epath.Path) -> bool:
    """Whether the length is still to be measured."""
    trains = config.job == 'pretrain' and config.replay is None
    return config.minutes is not None and trains and workdir.begun(folder) is None


def of_operations(
    config: Config, vocabulary: Vocabulary, folder: epath.Path, typed: Collection[str] = ()
) -> Config:
    """The configuration with as many steps as `config.petaflop` has operations for, if it is set.

    A run that has begun in `folder` has its length already.
    """
    if config.petaflop is None or workdir.begun(folder) is not None:
        return config
    networks = table.build(config, vocabulary).networks
    tokens = config.batch_size * config.data.row_length
    each = training_flops(config, vocabulary.size, networks)['mfu'] * tokens
    total = max(round(config.petaflop * 1e15 / each), 2)
    terminal.OUT.print(
        f'{each / 1e9:.4g} GFLOP a step: {config.petaflop:g} petaFLOP are {total:,} steps'
    )
    return length.with_total_steps(config, total, typed=typed)


class Measured(NamedTuple):
    """How long things take here, in seconds."""

    step: float  # the mean over the stages
    evaluation: float
    compiling: float  # with everything else until now
    ending: float  # compiles once more, to show an example
    stages: tuple[float, float] = (0.0, 0.0)  # a step of the first and of the second, if there are


def measured(
    config: Config,
    vocabulary: Vocabulary,
    held_out_rows: int,
    limits: Limits = Limits(),  # noqa: B008 (it never changes)
) -> tuple[Config, Program, 'Plan']:
    """The configuration with as many steps as fit into `config.minutes`; and what corrects it.

    And the program of the configuration as it was, which is compiled: step, state and totals do not
    depend on the length. Processes agree on what the first one has measured. There are at most
    `limits.most` steps, as everywhere in this file.
    """
    assert config.minutes is not None
    what = 'compiling a step, to measure how many fit into the time'
    terminal.OUT.print(f'{what}...')
    began = time.monotonic()
    batches = -(-min(held_out_rows, config.eval.rows) // config.batch_size)
    with terminal.alive(what):
        program = programs.build_program(config, vocabulary)
        seconds, stages = _step_seconds(program)
        compiling, batch_seconds = _evaluation_seconds(program) if batches else (0.0, 0.0)
    took = Measured(seconds, batches * batch_seconds, time.monotonic() - began, compiling, stages)
    total, evaluations = map(distributed.agree, fitting(config, took, limits.typed))
    assert total and evaluations
    terminal.OUT.print(
        f'{seconds:.3g} s a step here (compiled and measured in {duration(took.compiling)}): '
        f'{config.minutes:g} {"minute is" if config.minutes == 1 else "minutes are"} '
        f'{counted(total, "steps")}'
        + f', of which config.max_exposures allows {limits.most:,}' * (total > limits.most)
        + f', with {counted(evaluations, "evaluations")} of {duration(took.evaluation)}'
        * bool(batches)
    )
    total = int(min(total, limits.most))
    if took.compiling > config.minutes * 60 * (1 - _LEAST_TRAINING):
        terminal.OUT.print(
            f'warning: compiling took most of the time (config.minutes is {config.minutes:g}); '
            f'training still gets {duration(config.minutes * 60 * _LEAST_TRAINING)}; type more'
        )
    now = length.with_total_steps(config, total, evaluations, limits.typed)
    left = _training(config.minutes * 60, took) + took.ending
    return now, program, Plan(config, now, took, time.monotonic(), left, limits)


def continued(
    asked: Config,
    now: Config,
    folder: epath.Path,
    clock: Clock,
    limits: Limits = Limits(),  # noqa: B008 (it never changes)
) -> 'Plan | None':
    """What corrects the length of a run of `config.minutes` that goes on; `asked` as for `Plan`.

    By the time that all its starts have had their text, this one's until now included. None: there
    is no record of what was measured at its start, so it keeps its length.
    """
    if asked.minutes is None or (record := workdir.fact(folder, MEASURED)) is None:
        return None
    try:
        took = Measured(**record)
        starts, seconds = clock.starts(), asked.minutes * 60
        trained = sum(start.training for start in starts)
        left = max(seconds - clocks.timed(starts), _LEAST_TRAINING * seconds - trained, 0.0)
        early, second = took.stages
        is_sound = math.isfinite(sum((left, took.evaluation, took.ending, early, second)))
        if not (is_sound and 0 < took.step < math.inf):
            return None
    except (TypeError, ValueError):
        return None  # a damaged record must not stop a run
    return Plan(asked, now, took, clock.now(), left, limits)


def fitting(config: Config, took: Measured, typed: Collection[str] = ()) -> tuple[int, int]:
    """Steps and evaluations that fit into what is left of `config.minutes`."""
    assert config.minutes is not None
    left = _training(config.minutes * 60, took) * (1 - _OTHER)
    if length.EVALUATED in typed:
        total = max(2, _steps_in(left, took.step, took.evaluation, config.eval.every_steps))
        return total, math.ceil(total / config.eval.every_steps)
    often = math.ceil(left / took.step / config.eval.every_steps)
    often = max(often, length.LEAST_TIMES)
    if took.evaluation:
        often = min(often, int(_MOST_EVALUATING * left / took.evaluation))
    often = max(1, often)
    evaluating = min(often * took.evaluation, left / 2)  # one is made, however long it takes
    return max(2, round((left - evaluating) / took.step)), often


def _steps_in(left: float, step: float, evaluation: float, every: int) -> int:
    """Steps that fit into so many seconds, with an evaluation after `every` one and at the end."""
    training = max(left - evaluation, left / 2)
    return round(training / (step + evaluation / every))


def _training(asked: float, took: Measured) -> float:
    """Seconds of those that are asked for in which steps and evaluations are made."""
    return max(asked - took.compiling - took.ending, _LEAST_TRAINING * asked)


class Plan:
    """The length of a run of `config.minutes`, corrected by what the run measures on its way.

    A machine that is busy while a step is timed misleads the first plan, and a later evaluation may
    take much longer than the batch that was timed. So at some times of the run it is asked how many
    steps fit into what is left. The schedules follow the new length from there on. A run that is
    continued begins with the length that stands in its `config.json`.
    """

    def __init__(
        self,
        asked: Config,
        now: Config,
        took: Measured,
        began: float,
        left: float,
        limits: Limits = Limits(),  # noqa: B008 (it never changes)
    ):
        """`asked` is the configuration before, `now` that after a length was measured.

        The run has `left` seconds from `began` on, by its clock.
        """
        assert asked.minutes is not None
        self._asked, self.config, self.took, self._limits = asked, now, took, limits
        self._minutes, self._deadline = asked.minutes, began + left
        self._interval = asked.minutes * 60 / _CORRECTIONS
        self._next = began + self._interval

    def corrected(self, step: int, clock: Clock) -> Config | None:
        """The configuration from here on where another length fits the time; None: it stays."""
        now = clock.now()
        if now < self._next or step >= self.config.total_steps:
            return None
        self._next = now + self._interval
        first = first_stage(self.config)
        in_second = 0 < first < step
        seconds = clock.mean_step_seconds(step - first if in_second else step)
        if seconds is None:
            return None
        slower = seconds / self._took_a_step(in_second)
        evaluation, ending = self._pauses(clock, slower)
        remaining = self._deadline - ending - now
        left = max(remaining, 0.0) * (1 - _OTHER)
        often = self._evaluations(step, left, seconds, evaluation)
        training = max(left - often * evaluation, 0.0)
        if first and not in_second:
            total = self._of_two_stages(step, training, seconds, slower)
        else:
            most = remaining + _LATE * self._minutes * 60 - often * evaluation
            total = step + max(1, round(training / seconds))
            total = max(total, self._with_decay(step, most / seconds))
        return self._changed(step, int(min(total, self._limits.most)), often, seconds)

    def _pauses(self, clock: Clock, slower: float) -> tuple[float, float]:
        """Seconds of an evaluation, and of what the first one compiles to show an example.

        Before the first one: what was measured, where a step takes `slower` times what it took.
        """
        pauses = clock.pauses(EVALUATING)
        if not pauses:
            return self.took.evaluation * slower, self.took.ending
        return (pauses[-1] if pauses[1:] else max(pauses[0] - self.took.ending, 0.0)), 0.0

    def _evaluations(self, step: int, left: float, seconds: float, evaluation: float) -> int:
        """How many evaluations follow in `left` seconds, at so many `seconds` a step."""
        every = self.config.eval.every_steps
        often = math.ceil((self.config.total_steps - step) / every)
        if evaluation and length.EVALUATED in self._limits.typed:
            often = round(_steps_in(left, seconds, evaluation, every) / every)
        elif evaluation:
            often = min(often, int(_MOST_EVALUATING * left / evaluation))
        return max(1, often)

    def _took_a_step(self, in_second: bool) -> float:
        """Seconds of a step of the first or only stage, or of the second, before the run began."""
        return self.took.stages[1 if in_second else 0] or self.took.step

    def _of_two_stages(self, step: int, training: float, seconds: float, slower: float) -> int:
        """The length whose stages keep their shares of the steps.

        It takes `training` seconds from `step`, in the first stage, on: `seconds` a step in that,
        and `slower` times what was measured in the second.
        """
        share = first_stage(self.config) / self.config.total_steps
        second = slower * self._took_a_step(in_second=True)
        total = round((training + step * seconds) / (share * seconds + (1 - share) * second))
        if share * total > step:
            return total
        # The first stage has had more already: the second begins at once.
        return step + 1 + max(1, round((training - seconds) / second))

    def _with_decay(self, step: int, most: float) -> int:
        """The shortest length that leaves the decay of the learning rate its steps.

        One that ends in the middle of its decay ends at a high rate. There are `most` steps left
        in a run that ends as late as it may.
        """
        config = self.config
        decay = min(schedules.lengths(config).decay_steps, _ENDING * config.total_steps)
        return step + max(1, round(min(config.total_steps - step, decay, most)))

    def _changed(self, step: int, total: int, often: int, seconds: float) -> Config | None:
        before = self.config
        if abs(total - before.total_steps) <= _SAME * before.total_steps:
            return None
        # The one that is left is that of the end, however often the plan changes until then.
        every = total if often == 1 else math.ceil((total - step) / often)
        if length.EVALUATED in self._limits.typed:
            every = before.eval.every_steps
        now = length.with_total_steps(self._asked, total, typed=self._limits.typed)
        first = first_stage(before)
        if first and step < first:  # a stage that is over stays as it was
            first = min(max(first_stage(now), step + 1), total - 1)
        now = _with_first_stage(now, first or now.objective.generator_steps)
        self.config = _evaluated_every(now, every)
        first = first_stage(self.config)
        terminal.OUT.print(
            f'step {step}/{before.total_steps}  {seconds:.3g} s a step now: the run will have '
            f'{total:,} steps, with {counted(often, "more evaluations")}, to end in time'
            + f'; until step {first:,} only the generator is trained'
            * (step < first)
        )
        return self.config


def _evaluation_seconds(program: Program) -> tuple[float, float]:
    """How long a batch of an evaluation takes to compile, and to compute."""
    batch, params, marks = _random_batch(program), program.fresh_state().params, [time.monotonic()]
    for _ in range(2):
        jax.block_until_ready(program.totals(params, batch, np.int32(0)))
        marks.append(time.monotonic())
    return marks[1] - marks[0], marks[2] - marks[1]


def _step_seconds(program: Program) -> tuple[float, tuple[float, float]]:
    """Mean seconds of a step over the run's stages, and those of each stage.

    They are of random rows and of a state that is dropped.
    """
    config = program.config
    step, batch = programs.StepOfAnyLength(program), _random_batch(program)
    first = first_stage(config)
    state = program.fresh_state()
    if not first:
        seconds = _timed(step, state, batch)[1]
        return seconds, (seconds, seconds)
    # The one step that copies the generator comes before those that are timed.
    state, early = _timed(step, state, batch)
    at_second = programs.put_number(program.mesh, first)
    _, late = _timed(step, state._replace(step=at_second), batch)
    share = first / config.total_steps
    return share * early + (1 - share) * late, (early, late)


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
