"""Bad steps, spikes of the loss and networks that have collapsed are noticed and reported."""

import json
import math

import numpy as np
import pytest
from etils import epath

from electra_jax.config.settings import HealthConfig
from electra_jax.core.errors import DataError, NonFiniteError
from electra_jax.objectives import electra, masked
from electra_jax.train import replay
from electra_jax.train.health import Health, Spikes

GOOD = {'loss': 10.0, 'grad_norm': 1.0, 'update_norm': 0.1, 'learning_rate': 1e-3}
BATCH = {'tokens': np.arange(6).reshape(3, 2), 'records': np.asarray([[0, 5], [1, 7], [0, 9]])}


def health(folder, signs=lambda evaluation: {}, signs_from=0, **settings):
    return Health(
        HealthConfig(**settings), epath.Path(folder), {'seed': 3}, lambda: 8, signs, signs_from
    )


@pytest.mark.parametrize('name', ['loss', 'grad_norm', 'update_norm', 'learning_rate'])
@pytest.mark.parametrize('value', [math.nan, math.inf, -math.inf])
def test_any_metric_that_is_not_finite_stops_the_run_with_its_rows(tmp_path, name, value):
    with pytest.raises(NonFiniteError) as error:
        health(tmp_path).look(12, {**GOOD, name: value}, BATCH)
    text = str(error.value)
    assert f'step 12 gave {name} = {value}; training stopped' in text
    assert '3 rows: corpus 0 row 5, corpus 1 row 7, corpus 0 row 9' in text
    path = tmp_path / 'bad_steps' / 'step_12_host_0.npz'
    assert f'--config.replay={path}' in text
    dump = replay.read_dump(epath.Path(path))
    assert dump.step == 12 and dump.about['checkpoint'] == 8 and dump.about['seed'] == 3
    np.testing.assert_equal(dump.about['metrics'], {**GOOD, name: value})
    np.testing.assert_equal(dump.batch, BATCH)


def test_fine_tuning_gets_no_advice_that_it_cannot_follow(tmp_path):
    watch = Health(HealthConfig(), epath.Path(tmp_path), {}, warmup='task.warmup_rate')
    batch = {'tokens': BATCH['tokens']}
    with pytest.raises(NonFiniteError) as error:
        watch.look(12, {**GOOD, 'loss': math.nan}, batch)
    text = str(error.value)
    assert 'saved before that step is kept' in text and '--config.task.warmup_rate' in text
    assert '.npz.' in text and 'replay' not in text and 'warmup_steps' not in text


@pytest.mark.parametrize('name', ['loss', 'grad_norm', 'update_norm'])
def test_what_is_larger_than_allowed_is_bad(tmp_path, name):
    watch = health(tmp_path, **{f'max_{name}': 20.0})
    assert watch.look(1, {**GOOD, name: 20.0}, BATCH) == ({}, [])
    with pytest.raises(NonFiniteError, match=f'{name} = 21, more than health.max_{name} 20'):
        watch.look(2, {**GOOD, name: 21.0}, BATCH)


def test_skipped_steps_are_counted_and_too_many_in_a_row_stop(tmp_path):
    watch = health(tmp_path, on_bad_step='skip', max_skips=2)
    bad = {**GOOD, 'loss': math.nan}
    for number in range(10):  # never more than two in a row
        metrics, lines = watch.look(3 * number, bad, BATCH)
        assert metrics == {'health/skipped_steps': 2 * number + 1}
        assert 'skipped' in lines[0]
        watch.look(3 * number + 1, bad, BATCH)
        assert watch.look(3 * number + 2, GOOD, BATCH) == ({}, [])
    assert len(list((tmp_path / 'bad_steps').iterdir())) == 3  # not one for each
    watch.look(40, bad, BATCH)
    watch.look(41, bad, BATCH)
    with pytest.raises(NonFiniteError, match='bad step 3 in a row'):
        watch.look(42, bad, BATCH)
    assert (tmp_path / 'bad_steps' / 'step_42_host_0.npz').exists()


def test_a_batch_that_cannot_be_written_hides_no_bad_step_and_ends_no_run_that_skips(
    tmp_path, monkeypatch
):
    def full(self, raw):
        raise OSError(28, 'No space left on device')

    monkeypatch.setattr(type(epath.Path('/')), 'write_bytes', full)
    bad = {**GOOD, 'loss': math.nan}
    _, (line,) = health(tmp_path, on_bad_step='skip').look(3, bad, BATCH)
    assert 'step 3 gave loss = nan; skipped' in line and 'No space left' in line
    assert 'could not be written' in line and 'corpus 1 row 7' in line and 'replay' not in line
    with pytest.raises(NonFiniteError, match=r'(?s)step 3 gave loss = nan; .*could not be written'):
        health(tmp_path).look(3, bad, BATCH)


def test_a_spike_is_reported_once_at_its_onset(tmp_path):
    random = np.random.default_rng(0)
    watch = health(tmp_path, spike_window=50)
    losses = 30 - 0.01 * np.arange(600) + random.normal(0, 1, 600)
    losses[300:306] += 40
    losses[500] += 40
    reports = {}
    for number, loss in enumerate(losses):
        metrics, lines = watch.look(number, {**GOOD, 'loss': float(loss)}, BATCH)
        if lines:
            reports[number] = metrics, lines[0]
    assert list(reports) == [300, 500]
    metrics, line = reports[300]
    assert 'is a spike' in line and metrics['health/loss_spike'] > 20


def test_the_second_stage_of_training_has_a_loss_of_its_own_and_is_no_spike(tmp_path):
    settings = HealthConfig(spike_window=20)
    watch = Health(settings, epath.Path(tmp_path), {}, other_losses={'loss is another': 40})
    losses = np.r_[np.linspace(5, 4.9, 40), np.linspace(33, 32.9, 40), 60]
    found = [watch.look(k, {**GOOD, 'loss': x}, BATCH)[1] for k, x in enumerate(losses, 1)]
    assert [k for k, lines in enumerate(found, 1) if lines] == [41, 81]
    assert found[40] == ['step 41  loss is another']


def test_another_loss_is_announced_also_where_its_first_step_is_skipped(tmp_path):
    settings = HealthConfig(on_bad_step='skip')
    watch = Health(settings, epath.Path(tmp_path), {}, other_losses={'loss is another': 4})
    _, lines = watch.look(5, {**GOOD, 'loss': np.nan}, BATCH)
    assert lines[0] == 'step 5  loss is another' and 'skipped' in lines[1]


def test_a_run_of_another_length_is_followed(tmp_path):
    settings = HealthConfig(spike_window=4, spike_deviations=8.0)
    watch = Health(
        settings,
        epath.Path(tmp_path),
        {'total_steps': 90},
        signs=lambda evaluation: {'collapsed': 'it has collapsed'},
        signs_from=50,
    )
    watch.follow({'total_steps': 60}, signs_from=2, other_losses={'of another stage': 6})
    for step in range(1, 7):
        watch.look(step, {'loss': 1.0}, {})
    assert watch.look(7, {'loss': 50.0}, {}) == ({}, ['step 7  of another stage'])  # no spike
    assert watch.evaluated(7, {}) == ({'health/collapsed': 1.0}, [])
    with pytest.raises(NonFiniteError):
        watch.look(8, {'loss': math.nan}, {'tokens': np.zeros((1, 4))})
    (dump,) = (tmp_path / 'bad_steps').iterdir()
    assert json.loads(str(np.load(dump)['about']))['total_steps'] == 60


def test_what_was_seen_is_kept_over_a_restart(tmp_path):
    def open_health():
        settings = {'on_bad_step': 'skip', 'max_skips': 3, 'spike_window': 20}
        return health(tmp_path, lambda e: {'collapse': 'it has'} if e['bad'] else {}, **settings)

    random = np.random.default_rng(2)
    losses = random.normal(30, 1, 100)
    losses[[5, 38, 39, 40]] = math.nan
    losses[[45, 47, 90]] += 40
    whole, again = open_health(), open_health()
    for step, loss in enumerate(losses, 1):
        one, other = (h.look(step, {**GOOD, 'loss': float(loss)}, BATCH) for h in (whole, again))
        assert one[0] == other[0]
        if step % 10 == 0:
            assert whole.evaluated(step, {'bad': step > 20}) == again.evaluated(
                step, {'bad': step > 20}
            )
        kept = json.loads(json.dumps(again.seen()))
        again = open_health()
        again.restore(kept)
    with pytest.raises(NonFiniteError, match='bad step 4 in a row'):
        for step in range(101, 105):
            kept, again = again.seen(), open_health()
            again.restore(kept)
            again.look(step, {**GOOD, 'loss': math.inf}, BATCH)
    assert len(kept['losses']) == 20


def test_noise_a_falling_loss_and_a_constant_one_are_no_spikes():
    random = np.random.default_rng(1)
    for series in (
        random.normal(30, 1, 3000),
        np.geomspace(60, 10, 3000) + random.normal(0, 0.5, 3000),
        np.full(500, 7.0),
        7.0 + 1e-4 * random.normal(0, 1, 500),
    ):
        spikes = Spikes(200, 10.0)
        assert [x for x in series if spikes.look(float(x)) is not None] == []
    assert Spikes(10, None).look(1e9) is None


def test_a_loss_that_stays_high_is_reported_once_and_then_counts_as_usual():
    spikes = Spikes(40, 10.0)
    series = [*([1.0, 1.2] * 40), *([9.0, 9.2] * 200)]
    assert [i for i, x in enumerate(series) if spikes.look(x) is not None] == [80]


def test_signs_are_reported_when_seen_twice_and_when_they_disappear(tmp_path):
    watch = health(
        tmp_path, lambda e: {'collapse': 'it has collapsed'} if e['bad'] else {}, signs_from=100
    )
    lines, metrics = [], []
    for step, bad in zip(range(50, 650, 50), [1, 1, 1, 0, 1, 1, 1, 1, 0, 0, 1, 0], strict=True):
        noticed, reported = watch.evaluated(step, {'bad': bad})
        lines += reported
        metrics.append(noticed)
    assert lines == ['step 300  it has collapsed', 'step 450  no more: collapse']
    assert metrics[0] == metrics[1] == {} and metrics[2] == {'health/collapse': 1.0}


@pytest.mark.parametrize(
    ('evaluation', 'expected'),
    [
        ({'disc_fake_share': 0.0, 'fake_rate': 0.1}, ['one_class_discriminator']),
        ({'disc_fake_share': 1.0, 'fake_rate': 0.1}, ['one_class_discriminator']),
        ({'disc_fake_share': 0.02, 'fake_rate': 0.1}, []),
        ({'disc_fake_share': 0.0, 'fake_rate': 0.001}, []),  # there was nothing to find
        ({'sampled_top_share': 0.7, 'disc_fake_share': 0.1, 'fake_rate': 0.1},
         ['generator_collapse']),
        ({'sampled_top_share': 0.06}, []),
    ],
)  # fmt: skip
def test_the_signs_of_replaced_token_detection(evaluation, expected):
    assert list(electra.warning_signs(evaluation)) == expected


def test_the_share_of_the_most_frequent_sample():
    sums = {'masked': 10, 'mlm_loss': 1, 'mlm_hits': 1, 'sampled_hits': 1}
    found = masked.summary({**sums, 'sampled': np.asarray([1.0, 6.0, 3.0])})
    assert found['sampled_top_share'] == 0.6


@pytest.mark.parametrize('content', [b'', b'torn', b'PK\x03\x04torn'])
def test_a_file_that_is_no_dump_is_refused(tmp_path, content):
    path = epath.Path(tmp_path) / 'dump.npz'
    with pytest.raises(DataError, match='no dump of a bad step'):
        replay.read_dump(path)
    path.write_bytes(content)
    with pytest.raises(DataError, match='no dump of a bad step'):
        replay.read_dump(path)
    with path.open('wb') as file:
        np.savez(file, step=3, about=json.dumps({}))
    assert replay.read_dump(path).step == 3
