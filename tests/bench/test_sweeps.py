"""Sweeps, their records, tables and checks, without measuring anything."""

import json

import pytest

from electra_jax.bench import records, sweeps, tables
from electra_jax.bench.sweeps import Point
from electra_jax.bench.training import Plan
from electra_jax.core.errors import ConfigError, UserError
from tests.support.configs import tiny_config

PLAN = Plan(turns=1, amount=1, warmup=1)


def a_record(rows=8, layers=2, rate=1000.0, compiled=5.0, **varied):
    config = tiny_config(batch_size=rows, model={'num_layers': layers})
    what = records.identity('small', config, None, PLAN)
    measured = {
        'name': 'small',
        'tokens_per_second': rate,
        'step_seconds': {'p10': 0.1, 'p50': 0.2, 'p90': 0.3, 'max': 0.4},
        'peak_memory_bytes': 2**30,
        'compile_seconds': compiled,
        'mfu': None,
        'input_share': 0.25,
        'real_token_share': 0.75,
        'peer': 'theirs',
        'peer_tokens_per_second': rate / 2,
        'peer_memory_bytes': 2**31,
        'ratio': 2.0,
        'ready': {'devices': '1 x cpu', 'dtype': 'float32'},
        'peers': [],
    }
    return records.complete(what, config, varied, measured)


def planned(tmp_path, values, measured):
    def point(value):
        config = tiny_config(batch_size=int(value))
        path = records.path_of(tmp_path, records.identity('small', config, None, PLAN))

        def measure():
            measured.append(value)
            if value == '24':
                raise UserError('out of memory')
            return a_record(int(value), batch_size=value)

        return Point({'batch_size': value}, path, measure)

    return [point(value) for value in values]


def test_a_sweep_goes_on_where_it_stopped(tmp_path):
    measured, said = [], []
    found, failed = sweeps.run(planned(tmp_path, ['8', '16'], measured), said.append)
    assert measured == ['8', '16'] and len(found) == 2 and not failed
    again, _ = sweeps.run(planned(tmp_path, ['8', '16', '32'], measured), said.append)
    assert measured == ['8', '16', '32']
    assert [record['varied'] for record in again] == [{'batch_size': x} for x in ('8', '16', '32')]
    assert 'measured before' in said[-3] and 'left' not in said[-1]


def test_a_measurement_that_fails_does_not_end_a_sweep_and_is_made_again(tmp_path):
    measured = []
    points = planned(tmp_path, ['24', '8'], measured)
    found, failed = sweeps.run(points, lambda text: None)
    assert len(found) == 1 and failed == ['batch_size 24: out of memory']
    sweeps.run(points, lambda text: None)
    assert measured == ['24', '8', '24']


def test_a_torn_record_is_made_again(tmp_path):
    measured = []
    points = planned(tmp_path, ['8'], measured)
    points[0].path.write_text('{"tokens')
    sweeps.run(points, lambda text: None)
    assert measured == ['8'] and json.loads(points[0].path.read_text())['ratio'] == 2.0


def test_a_record_says_what_it_depends_on():
    record = a_record(rows=4, batch_size='4')
    assert record['differences']['batch_size'] == 4
    assert record['differences']['model.num_layers'] == 2
    assert 'seed' not in record['differences']
    assert record['packages']['jax'] and record['machine']['cores'] >= 1
    assert {'revision', 'date', 'command', 'python', 'plan'} <= set(record)


def test_records_of_different_settings_have_different_names(tmp_path):
    configs = [tiny_config(), tiny_config(seed=1)]
    paths = {records.path_of(tmp_path, records.identity('a', c, None, PLAN)) for c in configs}
    assert len(paths) == 2


def test_flat_cost_passes_and_growing_cost_does_not():
    flat = [a_record(8, rate=1000.0, batch_size='8'), a_record(64, rate=1080.0, batch_size='64')]
    (check,) = tables.checks(flat)
    assert check['passed'] and check['spread'] == pytest.approx(0.08)
    steep = [flat[0], a_record(64, rate=1200.0, batch_size='64')]
    (check,) = tables.checks(steep)
    assert not check['passed'] and 'NOT flat' in tables.check_line(check)


def test_compile_time_is_checked_against_depth():
    key = 'model.num_layers'
    deep = [a_record(layers=2, compiled=5.0, **{key: '2'}), a_record(layers=4, **{key: '4'})]
    assert tables.checks(deep)[0]['passed']
    deep.append(a_record(layers=8, compiled=20.0, **{key: '8'}))
    assert not tables.checks(deep)[0]['passed']


def test_series_of_a_grid_stand_apart():
    grid = [
        a_record(rows, layers=layers, batch_size=str(rows), **{'model.num_layers': str(layers)})
        for rows in (16, 8)
        for layers in (2, 4)
    ]
    found = tables.series(grid, 'batch_size')
    assert list(found) == ['model.num_layers 2', 'model.num_layers 4']
    assert [r['varied']['batch_size'] for r in found['model.num_layers 2']] == ['8', '16']


def test_a_sweep_is_concluded_with_table_picture_and_checks(tmp_path):
    found = [a_record(rows, batch_size=str(rows)) for rows in (8, 16)]
    summary = sweeps.conclude(tmp_path, 'small', ['batch_size'], found)
    assert summary['checks'][0]['passed']
    table = (tmp_path / 'small-over-batch_size.md').read_text()
    assert '| small | 8 x 16 | 2 | float32 | 1,000 |' in table and '1 x cpu' in table
    assert 'MFU' not in table  # no record has it
    picture = (tmp_path / 'small-over-batch_size.png').read_bytes()
    assert picture.startswith(b'\x89PNG')
    assert json.loads((tmp_path / 'small-over-batch_size.json').read_text())['checks']


def test_a_record_is_told_in_words():
    text = tables.text(a_record())
    assert 'ratio to theirs: 2.00' in text and 'waiting for input: 25.0%' in text
    assert '0.100/0.200/0.300/0.400 s' in text and '1.00 GiB' in text


@pytest.mark.parametrize('text', ['batch_size', 'batch_size=', 'batch_size=8,8', 'a=1,,2'])
def test_an_axis_that_is_none_is_refused(text):
    with pytest.raises(ConfigError, match='--sweep'):
        sweeps.parse_axis(text)
