"""What is measured with what, and the record, without measuring anything."""

import json
import pathlib

import pytest

from electra_jax.bench import job, records
from electra_jax.bench.contest import Plan
from electra_jax.bench.job import Request, Rival
from electra_jax.core.errors import ConfigError, UserError
from tests.support.configs import tiny_config

PLAN = Plan(turns=1, amount=1, warmup=1)


def request(variants=(), versus='transformers'):
    return Request('small', frozenset(), None, versus, {}, variants, PLAN, pathlib.Path())


def test_the_peer_runs_where_ours_does():
    ready = {'platform': 'gpu', 'dtype': 'bfloat16', 'vocab_size': 200}
    transformers = Rival('transformers', None)
    found = job.peers(tiny_config(), transformers, PLAN, ready)
    assert [one.settings['variant'] for one in found] == ['compiled', 'cuda_graphs']
    assert {(one.settings['device'], one.settings['dtype']) for one in found} == {
        ('cuda', 'bfloat16')
    }
    assert not found[0].environment
    (found, _) = job.peers(tiny_config(), transformers, PLAN, {**ready, 'platform': 'cpu'})
    assert 'MALLOC_TRIM_THRESHOLD_' in found.environment
    with pytest.raises(UserError, match='not on a tpu'):
        job.peers(tiny_config(), transformers, PLAN, {**ready, 'platform': 'tpu'})


def test_what_transformers_does_not_have_is_refused():
    with pytest.raises(ConfigError, match=r"model.norm=post.* not 'pre'"):
        job.make_rival(request(), tiny_config(model={'norm': 'pre'}))
    post = tiny_config(model={'norm': 'post'})
    assert job.make_rival(request(), post) == Rival('transformers', None)
    with pytest.raises(ConfigError, match="--peer_variants is 'fast'"):
        job.make_rival(request(('fast',)), post)
    assert job.make_rival(request(versus=None), post) is None


def a_record(**changes):
    measured = {
        'name': 'small',
        'tokens_per_second': 1000.0,
        'step_seconds': {'p10': 0.1, 'p50': 0.2, 'p90': 0.3, 'max': 0.4},
        'peak_memory_bytes': 2**30,
        'mfu': None,
        'input_share': 0.25,
        'real_token_share': 0.75,
        'peer': 'theirs',
        'ratio': 2.0,
        'ready': {'devices': '1 x cpu', 'dtype': 'float32'},
        'peers': [],
    }
    return records.make('small', tiny_config(**changes), None, PLAN._asdict(), measured)


def test_a_record_has_all_that_it_depends_on():
    record = a_record(batch_size=4)
    assert record['config']['batch_size'] == 4 and record['config']['model']['num_layers'] == 2
    assert record['packages']['jax'] and record['machine']['cores'] >= 1
    assert {'revision', 'date', 'command', 'python', 'plan'} <= set(record)


def test_records_of_different_settings_have_different_names(tmp_path):
    paths = {records.write(tmp_path / 'new', a_record(seed=seed)) for seed in (0, 1)}
    assert len(paths) == 2
    assert [json.loads(path.read_text())['ratio'] for path in paths] == [2.0, 2.0]


def test_a_record_becomes_lines_of_text():
    text = records.text(a_record())
    assert 'ratio to theirs: 2.00' in text and 'waiting for input: 25.0%' in text
    assert '0.100/0.200/0.300/0.400 s' in text and '1.00 GiB' in text and 'MFU' not in text
