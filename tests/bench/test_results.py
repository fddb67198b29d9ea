"""The numbers of programs' steps, and what can be compared."""

import pytest

from electra_jax.bench import results
from electra_jax.bench.contest import Measured
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
    record = results.summary(measured('ours', 0.5, 0.75, 0.1, **flops), CONFIG)
    assert record['tokens_per_second'] == 128.0 and record['real_tokens_per_second'] == 96.0
    assert record['input_share'] == pytest.approx(0.2) and record['mfu'] == pytest.approx(0.128)
    assert record['steps'] == 6 and record['peak_memory_bytes'] == 7


def test_the_peer_measures_no_input_and_knows_no_peak():
    record = results.summary(measured('theirs', 0.5), CONFIG)
    assert record['input_share'] is None and record['mfu'] is None


def test_ratios_are_per_token_and_per_real_token_and_the_fastest_peer_counts():
    ours = measured('ours', 0.5)
    theirs = [measured('slow', 8.0), measured('fast', 3.0, 0.5)]
    record = results.results(ours, CONFIG, theirs, tiny_config(batch_size=8))
    # Six times as long for twice as many tokens, half of which are padding.
    assert record['peer'] == 'fast' and record['ratio'] == 3.0
    assert record['ratios'] == {'slow': 8.0, 'fast': 3.0}
    assert record['ratio_of_real_tokens'] == 6.0 and record['ratio_of_processor_time'] == 3.0
    assert record['peer_tokens_per_second'] == pytest.approx(128 / 3)
    assert record['peer_real_tokens_per_second'] == pytest.approx(64 / 3)
    assert record['peer_memory_bytes'] == 7 and len(record['peers']) == 2


def test_a_ratio_is_of_the_same_turn():
    # The machine is ten times slower in the second turn; theirs alone is disturbed in the third.
    ours = Measured('a', {}, [{'s': [1.0]}, {'s': [10.0]}, {'s': [4.0]}], {})
    theirs = Measured('b', {}, [{'s': [2.0]}, {'s': [20.0]}, {'s': [40.0]}], {})
    assert results.ratio(ours, theirs, 's') == 2.0


def test_percentiles_of_one_step_are_that_step():
    assert set(results.percentiles([2.0]).values()) == {2.0}


def test_without_a_peer_the_record_has_none():
    record = results.results(measured('ours', 0.5), CONFIG, [], CONFIG)
    assert record['peers'] == [] and record['peer'] is None and record['ratio'] is None
