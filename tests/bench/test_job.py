"""Sweeps, their records, tables and pictures, without measuring anything."""

import json

import pytest

from electra_jax.bench import job, records, tables
from electra_jax.bench.job import Point
from electra_jax.core.errors import ConfigError, UserError
from electra_jax.sweep import plan
from tests.support.configs import tiny_config

PLAN = {'turns': 1, 'amount': 1, 'warmup': 1}


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
    return records.complete(what, varied, measured)


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
    measured, lines = [], []
    done, failed = job.measure_all(planned(tmp_path, ['8', '16'], measured), lines.append)
    assert measured == ['8', '16'] and len(done) == 2 and not failed
    again, _ = job.measure_all(planned(tmp_path, ['8', '16', '32'], measured), lines.append)
    assert measured == ['8', '16', '32']
    assert [record['varied'] for record in again] == [{'batch_size': x} for x in ('8', '16', '32')]
    assert 'measured before' in lines[-2] and '[3 of 3]' in lines[-1]


def test_a_measurement_that_fails_does_not_end_a_sweep_and_is_made_again(tmp_path):
    measured = []
    points = planned(tmp_path, ['24', '8'], measured)
    done, failed = job.measure_all(points, lambda text: None)
    assert len(done) == 1 and failed == ['batch_size 24: out of memory']
    job.measure_all(points, lambda text: None)
    assert measured == ['24', '8', '24']


def test_a_torn_record_is_made_again(tmp_path):
    measured = []
    points = planned(tmp_path, ['8'], measured)
    points[0].path.write_text('{"tokens')
    job.measure_all(points, lambda text: None)
    assert measured == ['8'] and json.loads(points[0].path.read_text())['ratio'] == 2.0


def test_a_record_has_all_that_it_depends_on():
    record = a_record(rows=4, batch_size='4')
    assert record['config']['batch_size'] == 4 and record['config']['model']['num_layers'] == 2
    assert record['packages']['jax'] and record['machine']['cores'] >= 1
    assert {'revision', 'date', 'command', 'python', 'plan'} <= set(record)


def test_records_of_different_settings_have_different_names(tmp_path):
    configs = [tiny_config(), tiny_config(seed=1)]
    paths = {records.path_of(tmp_path, records.identity('a', c, None, PLAN)) for c in configs}
    assert len(paths) == 2


def test_a_grid_has_a_series_for_each_other_setting():
    grid = [
        a_record(rows, layers=layers, batch_size=str(rows), **{'model.num_layers': str(layers)})
        for rows in (16, 8)
        for layers in (2, 4)
    ]
    lines = tables.series(grid, 'batch_size')
    assert list(lines) == ['model.num_layers 2', 'model.num_layers 4']
    assert [r['varied']['batch_size'] for r in lines['model.num_layers 2']] == ['8', '16']


def test_a_sweep_ends_with_a_table_and_a_picture(tmp_path):
    measured = [a_record(rows, batch_size=str(rows)) for rows in (8, 16)]
    summary = job.conclude(tmp_path, 'small', ['batch_size'], measured)
    table = (tmp_path / 'small-over-batch_size.md').read_text()
    assert '| small | 8 x 16 | 2 | float32 | 1,000 |' in table and '1 x cpu' in table
    assert 'MFU' not in table  # no record has it
    assert summary['text'] == table and len(summary['files']) == 2
    picture = (tmp_path / 'small-over-batch_size.png').read_bytes()
    assert picture.startswith(b'\x89PNG')


def test_the_picture_has_cost_of_both_and_compile_time_over_depth():
    key = 'model.num_layers'
    deep = [a_record(layers=n, compiled=n, **{key: str(n)}) for n in (2, 4)]
    cost, compilation = tables.panels(deep, [key])
    assert [line.label for line in cost.lines] == ['electra_jax', 'theirs']
    assert cost.lines[0].y == [1000.0] * 2 and cost.lines[1].y == [2000.0] * 2
    assert compilation.lines[0].y == [2, 4] and compilation.from_zero


def test_a_record_becomes_lines_of_text():
    text = tables.text(a_record())
    assert 'ratio to theirs: 2.00' in text and 'waiting for input: 25.0%' in text
    assert '0.100/0.200/0.300/0.400 s' in text and '1.00 GiB' in text


@pytest.mark.parametrize('text', ['batch_size', 'batch_size=', 'batch_size=8,8', 'seed=1,,2'])
def test_an_axis_without_values_or_with_one_twice_is_refused(text):
    with pytest.raises(ConfigError, match=text):
        plan.axes([text], '--sweep')
