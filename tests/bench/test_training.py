"""The numbers of two programs' steps, and what can be compared."""

import pytest

from electra_jax.bench import training, versus
from electra_jax.bench.contest import Measured
from electra_jax.bench.versus import Rival
from electra_jax.core.errors import ConfigError, UserError
from tests.support.configs import tiny_config

CONFIG = tiny_config(batch_size=4)  # of 16 tokens


def measured(name, seconds, share=1.0, waits=None, **ready):
    turn = {'step_seconds': [seconds] * 3, 'cpu_seconds': [3 * seconds], 'loss': 1.0}
    if waits is not None:
        turn['input_seconds'] = [waits] * 3
    report = {'peak_host_bytes': 7, 'real_share': share}
    return Measured(name, {'platform': 'cpu', **ready}, [turn, turn], report)


def test_a_summary_counts_tokens_padding_waits_and_utilization():
    flops = {'peak_flops': 1e6, 'flops_per_token': {'mfu': 1000.0}}
    record = training.summary(measured('ours', 0.5, 0.75, 0.1, **flops), CONFIG)
    assert record['tokens_per_second'] == 128.0 and record['real_tokens_per_second'] == 96.0
    assert record['input_share'] == pytest.approx(0.2) and record['mfu'] == pytest.approx(0.128)
    assert record['steps'] == 6 and record['peak_memory_bytes'] == 7


def test_the_peer_measures_no_input_and_knows_no_peak():
    record = training.summary(measured('theirs', 0.5), CONFIG)
    assert record['input_share'] is None and record['mfu'] is None


def test_ratios_are_per_token_and_per_real_token():
    ours, theirs = measured('ours', 0.5), measured('theirs', 3.0, 0.5)
    other = tiny_config(batch_size=8)
    record = training.results(ours, CONFIG, [theirs], other)
    # Six times as long for twice as many tokens, half of which are padding.
    assert record['ratio'] == 3.0 and record['ratio_of_real_tokens'] == 6.0
    assert record['ratio_of_processor_time'] == 3.0


def test_the_peer_runs_where_ours_does():
    ready = {'platform': 'gpu', 'dtype': 'bfloat16'}
    assert versus.peer_device(ready) == {'device': 'cuda', 'dtype': 'bfloat16'}
    with pytest.raises(UserError, match='not on a tpu'):
        versus.peer_device({**ready, 'platform': 'tpu'})


def test_what_transformers_does_not_have_is_refused():
    transformers = Rival('transformers', None)
    with pytest.raises(ConfigError, match=r"model.norm=post.* not 'pre'"):
        training.check_rival(tiny_config(model={'norm': 'pre'}), transformers)
    training.check_rival(tiny_config(model={'norm': 'post'}), transformers)
    training.check_rival(tiny_config(model={'norm': 'pre'}), Rival('other', CONFIG))
    with pytest.raises(ConfigError, match="--peer_variants is 'fast'"):
        training.check_rival(CONFIG, transformers._replace(variants=('fast',)))


def test_without_a_peer_the_record_has_none():
    record = training.results(measured('ours', 0.5), CONFIG, [], CONFIG)
    assert record['peers'] == [] and record['peer'] is None and record['ratio'] is None
