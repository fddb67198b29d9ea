"""How many steps fit into a number of minutes."""

import dataclasses
import json
import math
import re
import types

import jax.numpy as jnp
import numpy as np
import pytest
from etils import epath

from electra_jax.config.length import EVALUATED, with_total_steps
from electra_jax.model.flops import training_flops
from electra_jax.objectives import table
from electra_jax.optim import schedules
from electra_jax.pretrain import length
from electra_jax.train import loop
from electra_jax.train.clock import EVALUATING, TRAINING, Clock, StepWork, timed
from electra_jax.train.means import Means
from electra_jax.train.state import TrainState
from tests.support.clocks import FakeClock
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
    monkeypatch.setattr(length.programs, 'StepOfAnyLength', lambda program: program.step)
    monkeypatch.setattr(length.programs, 'put_number', lambda mesh, number: jnp.int32(number))
    monkeypatch.setattr(length, '_random_batch', lambda program: {})
    monkeypatch.setattr(length.time, 'monotonic', lambda: now[0])
    return now


def measured(config, held_out_rows=0, most=math.inf):
    config, program, _ = length.measured(
        config, VOCABULARY, held_out_rows, length.Limits(most=most)
    )
    assert program.config.total_steps != config.total_steps  # it is of any length
    return config


def test_steps_fill_what_measuring_leaves_of_the_minutes(machine):
    began = machine[0]
    config = measured(tiny_config(minutes=10.0))
    left = 600 - (machine[0] - began)
    assert left < 597
    assert config.total_steps == round(left * 0.97 / 0.3)


@pytest.mark.parametrize(('minutes', 'words'), [(1.0, ': 1 minute is '), (2.0, ': 2 minutes are ')])
def test_the_length_is_printed(machine, capsys, minutes, words):
    measured(tiny_config(minutes=minutes))
    assert words in capsys.readouterr().out


def test_minutes_give_way_to_a_cap(machine, capsys):
    config = tiny_config(minutes=2.0, max_exposures=3.0)
    assert measured(config, most=50).total_steps == 50
    assert ' steps, of which config.max_exposures allows 50\n' in capsys.readouterr().out
    assert measured(config, most=5000).total_steps < 5000
    assert 'max_exposures' not in capsys.readouterr().out


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


class Run:
    """A run of a plan by a clock that is moved by hand."""

    def __init__(self, config, took, measured=10.0, typed=(), folder=None, most=math.inf):
        self.now = FakeClock(measured)
        total, often = length.fitting(config, took, typed)
        first = with_total_steps(config, min(total, most), often, typed)
        self.limits = length.Limits(typed, most)
        left = config.minutes * 60 - took.compiling
        self.plan = length.Plan(config, first, took, self.now.now, left, self.limits)
        self.asked, self.folder, self.step, self.evaluated = config, folder, 0, []
        self.clock = Clock(folder, now=self.now, age=7.0)  # its text was there after seven seconds
        self.clock.timed_from = self.now.now - took.compiling

    def begin_again(self, seconds):
        """The process ends; another goes on after some seconds, two of them with its text."""
        self.clock.write()
        config, took = dataclasses.asdict(self.plan.config), self.plan.took._asdict()
        described = json.dumps({'config': config, 'measured': took})
        (self.folder / 'config.json').write_text(described)
        self.now.now += seconds
        self.clock = Clock(self.folder, now=self.now, age=9.0)
        self.clock.timed_from = self.now.now - 2.0
        now = self.plan.config
        self.plan = length.continued(self.asked, now, self.folder, self.clock, self.limits)

    def seconds(self, step_seconds, evaluation, until=math.inf):
        """Trains to the end, or until a step; the time by the clock then."""
        clock, config, step, before = self.clock, self.plan.config, self.step, self.step
        clock.start_from(step)
        clock.enter(TRAINING)
        while step < min(config.total_steps, until):
            step += 1
            clock.begin_step(step)
            self.now.now += step_seconds(step, config)
            clock.end_step()
            if (changed := self.plan.corrected(step, clock)) is not None:
                config = changed
            if step - before >= config.eval.every_steps or step == config.total_steps:
                before = step
                self.evaluated.append(step)
                with clock.during(EVALUATING):
                    self.now.now += evaluation
        self.config, self.step = config, step
        return self.now.now


@pytest.mark.parametrize(
    ('slower', 'evaluation', 'minutes'),
    [
        (1.0, 3.0, 10.0),
        (3.0, 9.0, 10.0),  # a machine that is busy from now on
        (0.3, 1.0, 10.0),  # one that was busy while it was measured
        (1.0, 33.0, 10.0),
        (1.0, 11.0, 2.0),
    ],
)
def test_a_plan_is_corrected_by_what_a_run_measures(slower, evaluation, minutes):
    config = tiny_config(minutes=minutes, eval={'every_steps': 1000})
    took = length.Measured(0.1, 3.0, 10.0, 0.0, (0.1, 0.1))
    run = Run(config, took)
    seconds = run.seconds(lambda step, config: 0.1 * slower, evaluation)
    assert seconds == pytest.approx(minutes * 60, rel=0.1)
    assert run.evaluated
    if slower == 1.0 and evaluation == 3.0:
        assert run.config == with_total_steps(config, *length.fitting(config, took))


@pytest.mark.parametrize('decay', [{}, {'decay_share': 0.2}])
@pytest.mark.parametrize(
    ('slower', 'since'), [(1.4, 0.9), (1.5, 0.8), (1.5, 0.7), (1.9, 0.85), (1.3, 0.97)]
)
def test_a_run_that_becomes_slow_late_has_its_decay(decay, slower, since):
    config = tiny_config(
        minutes=10.0, eval={'every_steps': 1000}, optimizer={'learning_rate': 1.0, **decay}
    )
    run = Run(config, length.Measured(0.5, 1.0, 10.0, 0.0, (0.5, 0.5)))
    planned, rates = run.plan.config.total_steps, []

    def step_seconds(step, config):
        rates.append(float(schedules.from_config(config, 1.0)(step - 1)))
        return 0.5 * (slower if step > since * planned else 1.0)

    assert run.seconds(step_seconds, 1.0) == pytest.approx(600, rel=0.1)
    assert rates[-1] < 0.03
    assert min(np.diff([0, *run.evaluated])) >= run.step / 20, run.evaluated
    falls = -np.diff(rates[planned // 3 :])
    assert max(falls) < 0.1  # nowhere does it end at once


def test_a_plan_that_is_corrected_keeps_to_the_cap(tmp_path):
    took = length.Measured(0.5, 1.0, 10.0, 0.0, (0.5, 0.5))
    planned = Run(tiny_config(minutes=10.0), took).plan.config.total_steps
    run = Run(tiny_config(minutes=10.0), took, folder=epath.Path(tmp_path), most=planned + 100)
    run.seconds(lambda step, config: 0.25, 1.0, until=planned // 2)  # a faster machine
    assert run.config.total_steps == planned + 100
    run.begin_again(1.0)
    run.seconds(lambda step, config: 0.1, 1.0)
    assert run.step == planned + 100


def test_a_run_that_becomes_very_slow_ends_within_a_tenth_all_the_same():
    run = Run(tiny_config(minutes=10.0), length.Measured(0.5, 1.0, 10.0, 0.0, (0.5, 0.5)))
    planned = run.plan.config.total_steps
    seconds = run.seconds(lambda step, config: 2.0 if step > 0.9 * planned else 0.5, 1.0)
    assert seconds == pytest.approx(600, rel=0.1)


@pytest.mark.parametrize('slower', [0.5, 1.0, 2.0])
@pytest.mark.parametrize('evaluation', [8.0, 16.0])
def test_no_two_evaluations_at_the_end_of_a_short_run_are_close(slower, evaluation):
    """A correction is due every 9 s, so that each step after an evaluation may be corrected."""
    config = tiny_config(minutes=3.0, eval={'every_steps': 1000})
    run = Run(config, length.Measured(1.0, 3.0, 40.0, 0.0, (1.0, 1.0)), measured=40.0)
    run.seconds(lambda step, config: slower * (1 + 0.3 * math.sin(step)), evaluation)
    gaps = np.diff([0, *run.evaluated])
    assert min(gaps) >= run.step / 20, run.evaluated


@pytest.mark.parametrize(('slower', 'evaluation'), [(1.0, 3.0), (2.0, 9.0)])
def test_evaluations_that_are_typed_come_as_often_as_typed(slower, evaluation):
    config = tiny_config(minutes=10.0, eval={'every_steps': 70})
    run = Run(config, length.Measured(0.1, 3.0, 10.0, 0.0, (0.1, 0.1)), typed=(EVALUATED,))
    seconds = run.seconds(lambda step, config: 0.1 * slower, evaluation)
    assert seconds == pytest.approx(600, rel=0.1)
    assert (
        run.config.eval.every_steps == 70 and len(run.evaluated) >= run.config.total_steps // 70 - 1
    )


@pytest.mark.parametrize('slower', [0.4, 1.0, 2.5])
def test_stages_keep_their_shares_while_a_plan_changes(slower, capsys):
    config = tiny_config(minutes=10.0, total_steps=1000, **STAGES)
    run = Run(config, length.Measured(0.15, 0.0, 10.0, 0.0, (0.1, 0.3)))

    def step_seconds(step, config):
        return slower * (0.1 if step <= config.objective.generator_steps else 0.3)

    assert run.seconds(step_seconds, 0.0) == pytest.approx(600, rel=0.1)
    first, total = run.config.objective.generator_steps, run.config.total_steps
    assert first / total == pytest.approx(0.75, abs=0.05)
    # What was printed at the start of the boundary is printed again as it moves.
    moved = re.findall('; until step (.*) only the generator is trained', capsys.readouterr().out)
    assert bool(moved) == (slower != 1.0) and set(moved[-1:]) <= {f'{first:,}'}


@pytest.mark.parametrize(('slow_from', 'slow'), [(500, 1.0), (1000, 1.0), (1800, 1.0), (1500, 8.0)])
def test_the_second_stage_has_the_time_that_is_left_when_the_first_was_too_slow(slow_from, slow):
    config = tiny_config(minutes=10.0, total_steps=1000, eval={'every_steps': 1000}, **STAGES)
    run = Run(config, length.Measured(0.15, 0.0, 10.0, 0.0, (0.1, 0.3)))

    def step_seconds(step, config):
        if step > config.objective.generator_steps:
            return 0.3
        return 0.1 if step < slow_from else slow

    assert run.seconds(step_seconds, 0.0) == pytest.approx(600, rel=0.1)
    first, total = run.config.objective.generator_steps, run.config.total_steps
    assert total - first > 100


@pytest.mark.parametrize('stages', [{}, STAGES])
@pytest.mark.parametrize('slower', [0.5, 1.0, 2.0])
def test_a_run_that_was_stopped_is_corrected_again(tmp_path, slower, stages):
    config = tiny_config(minutes=10.0, total_steps=1000, eval={'every_steps': 1000}, **stages)
    late = 0.3 if stages else 0.1
    took = length.Measured(0.15 if stages else 0.1, 3.0, 10.0, 0.0, (0.1, late))
    run = Run(config, took, folder=epath.Path(tmp_path))

    def seconds(step, config):
        return slower * (0.1 if step <= (config.objective.generator_steps or 0) else late)

    run.seconds(lambda step, config: seconds(step, config) / slower, 3.0, until=1000)
    run.begin_again(3600.0)
    run.seconds(seconds, 3.0 * slower, until=1500)
    run.begin_again(60.0)
    run.seconds(seconds, 3.0 * slower)
    assert timed(run.clock.starts()) == pytest.approx(600, rel=0.1)
    assert run.step > 1600
    assert run.config.optimizer == with_total_steps(config, run.step).optimizer


def test_a_run_without_a_record_of_what_was_measured_keeps_its_length(tmp_path):
    config, clock = tiny_config(minutes=10.0), Clock(now=FakeClock(), age=0.0)
    sound = length.Measured(0.1, 3.0, 10.0, 0.0, (0.1, 0.1))._asdict()
    damaged = ({'step': 0.0}, {'stages': [0.1]}, {'stages': None}, {'ending': math.nan})
    measured = [3, {'step': 1.0}, *(sound | change for change in damaged)]
    for record in [{}, *({'measured': one} for one in measured)]:
        (tmp_path / 'config.json').write_text(json.dumps({'config': {}, **record}))
        assert length.continued(config, config, epath.Path(tmp_path), clock) is None


class Batches:
    """No rows."""

    def __init__(self):
        self.host_batch, self.state = {}, {}

    def __next__(self):
        return {}


class Checkpoints:
    """Remembers the steps that are saved."""

    def __init__(self):
        self.saved, self.marks = [], {}

    def save(self, number, *rest):
        self.saved.append(number)

    def check(self):
        pass

    def finish(self):
        pass


class Health:
    """Finds nothing."""

    def look(self, number, values, batch):
        return {}, []

    def evaluated(self, number, evaluation):
        return {}, []

    def seen(self):
        return {}


@pytest.mark.parametrize(
    ('corrected_at', 'every', 'wanted'),
    [
        ((5,), 9, [4, 13, 17]),  # after 4 steps by the first plan, then after 9
        # Plans that change more often than evaluations are due put none off.
        ((3, 6, 9, 12, 15), 4, [4, 8, 12, 16, 17]),
    ],
)
def test_the_loop_follows_a_corrected_length(tmp_path, corrected_at, every, wanted):
    config = tiny_config(total_steps=10, eval={'every_steps': 4})
    longer = with_total_steps(config, 17, -(-17 // every))
    evaluated, checkpoints = [], Checkpoints()
    state = TrainState(0, {}, {})
    tools = loop.Tools(
        step=lambda state, batch: (state._replace(step=state.step + 1), {'loss': np.float32(1)}),
        evaluate=lambda params: {'mlm_loss': 1.0},
        batches=Batches(),
        checkpoints=checkpoints,
        about={},
        health=Health(),
        clock=Clock(now=FakeClock(), age=0.0),
        work=StepWork(1),
        means=Means(),
        show=lambda step, params: evaluated.append(step),
        correct=lambda step: longer if step in corrected_at else None,
    )
    outcome = loop.train(config, tools, state, epath.Path(tmp_path))
    assert outcome.state.step == 17 and checkpoints.saved[-1] == 17
    assert evaluated == wanted


def test_operations_decide_how_many_steps_there_are(tmp_path, capsys):
    folder = epath.Path(tmp_path)
    base = {'model': {'num_layers': 1}, 'optimizer': {'warmup_steps': 10}}
    plain, muon, mlm = (
        tiny_config(petaflop=1e-5, **{**base, **changes})
        for changes in (
            {},
            {'optimizer': {'warmup_steps': 10, 'matrices': 'muon'}},
            {'objective': {'name': 'mlm'}},
        )
    )
    steps = []
    for config in (plain, muon, mlm):
        now = length.of_operations(config, VOCABULARY, folder)
        networks = table.build(config, VOCABULARY).networks
        each = training_flops(config, VOCABULARY.size, networks)['mfu'] * 8 * 16
        assert now.total_steps == round(1e10 / each)
        assert now.eval.every_steps == -(-now.total_steps // 10)
        steps.append(now.total_steps)
    assert steps[1] < steps[0] < steps[2]
    assert '1e-05 petaFLOP are ' in capsys.readouterr().out
    # Without it nothing changes, and a run that has begun keeps its length.
    other = tiny_config(total_steps=77)
    assert length.of_operations(other, VOCABULARY, folder) is other
    (tmp_path / 'config.json').write_text(
        json.dumps({'config': dataclasses.asdict(dataclasses.replace(plain, total_steps=55))})
    )
    (tmp_path / 'metrics.jsonl').write_text('{"step": 1}\n')
    begun = length.stored(plain, folder)
    assert begun.total_steps == 55
    # Evaluations come as often as they did, or as they are typed now.
    assert begun.eval.every_steps == plain.eval.every_steps
    often = dataclasses.replace(plain, eval=dataclasses.replace(plain.eval, every_steps=9))
    assert length.stored(often, folder, (EVALUATED,)).eval.every_steps == 9
    assert length.of_operations(begun, VOCABULARY, folder).total_steps == 55


def test_muons_products_are_counted():
    """Of one layer with D = 32, F = 128: four matrices of D x D, two of D x F, five steps each."""
    config = tiny_config(model={'num_layers': 1}, objective={'name': 'mlm'})
    with_muon = tiny_config(
        model={'num_layers': 1}, objective={'name': 'mlm'}, optimizer={'matrices': 'muon'}
    )
    networks = table.build(config, VOCABULARY).networks
    D, F = 32, 128
    each = 5 * (4 * 6 * D**3 + 2 * (4 * D * D * F + 2 * D**3))
    for name in ('mfu', 'paper'):
        more = (
            training_flops(with_muon, 200, networks)[name]
            - training_flops(config, 200, networks)[name]
        )
        assert more == pytest.approx(each / (8 * 16))


def test_muons_products_of_a_shared_encoder_are_counted_once():
    mores = []
    for objective, networks in (
        ('mlm', ('generator',)),
        ('electra', ('generator', 'discriminator')),
    ):
        muon, adamw = (
            tiny_config(
                model={'generator': 'tied'},
                objective={'name': objective},
                optimizer={'matrices': matrices},
            )
            for matrices in ('muon', 'adamw')
        )
        flops = [training_flops(config, 200, networks)['mfu'] for config in (muon, adamw)]
        mores.append(flops[0] - flops[1])
    assert mores[0] == pytest.approx(mores[1]) and mores[0] > 0
