"""Lines of metrics.jsonl about steps: means over the steps since the line before."""

import functools
import json
import math

import jax
import numpy as np
import pytest

from electra_jax.train.means import Means
from tests.support import small_run


def lines_of(workdir, name='train/loss'):
    """(step, value) of a metric; the loss of step k is k."""
    lines = map(json.loads, (workdir / 'metrics.jsonl').read_text().splitlines())
    return [(line['step'], line[name]) for line in lines if name in line]


every_five = functools.partial(small_run.settings, 12, log={'every_steps': 5, 'trackers': ''})
WHOLE = [(5, 3.0), (10, 8.0), (12, 11.5)]


def test_a_line_has_the_means_of_the_steps_since_the_line_before(tmp_path):
    small_run.run(tmp_path, every_five())
    assert lines_of(tmp_path) == WHOLE
    assert lines_of(tmp_path, 'progress/epochs') == [(5, 5 / 8), (10, 10 / 8), (12, 1.5), (12, 1.5)]


def killed(current, batch):
    if int(batch['tokens'][0, 0]) == 11:
        raise KeyboardInterrupt
    return small_run.step(current, batch)


def test_a_killed_run_that_continues_writes_the_same_means(tmp_path):
    """It goes on from step 8, whose checkpoint has the sums of steps 6 to 8."""
    with pytest.raises(KeyboardInterrupt):
        small_run.run(tmp_path, every_five(), step=killed)
    small_run.run(tmp_path, every_five())
    assert lines_of(tmp_path) == WHOLE


def test_without_sums_a_line_is_the_mean_of_the_steps_after_the_checkpoint(tmp_path, monkeypatch):
    with pytest.raises(KeyboardInterrupt):
        small_run.run(tmp_path, every_five(), step=killed)
    monkeypatch.setattr(Means, 'restore', lambda self, seen: None)
    small_run.run(tmp_path, every_five())
    assert lines_of(tmp_path) == [(5, 3.0), (10, 9.5), (12, 11.5)]


def test_skipped_steps_are_in_no_mean_but_their_own():
    means = Means()
    pairs = ((2.0, 0.0), (math.nan, 1.0), (4.0, 0.0), (math.inf, 1.0))
    for step, (loss, skipped) in enumerate(pairs, 1):
        means.add(step, {'loss': loss, 'skipped': skipped})
    assert means.take() == {'loss': 3.0, 'skipped': 0.5}
    means.add(5, {'loss': math.nan, 'skipped': 1.0})
    found = means.take()
    assert math.isnan(found['loss']) and found['skipped'] == 1.0


def test_a_metric_that_is_not_computed_yet_is_in_no_mean():
    means = Means({'disc_loss': 2})
    for step, value in enumerate((0.0, 0.0, 6.0, 8.0), 1):
        means.add(step, {'loss': 1.0, 'disc_loss': value})
        if step == 1:
            assert means.take() == {'loss': 1.0}
    assert means.take() == {'loss': 1.0, 'disc_loss': 7.0}


def test_a_step_costs_one_fetch(tmp_path, monkeypatch):
    """Means add no transfer to the one that the health of each step needs anyway."""
    fetched, get = [], jax.device_get
    monkeypatch.setattr(jax, 'device_get', lambda tree: fetched.append(tree) or get(tree))
    small_run.run(tmp_path, every_five(checkpoint={'every_steps': 1000}))
    assert len([tree for tree in fetched if isinstance(tree, dict) and 'loss' in tree]) == 12


def test_sums_survive_json_bit_for_bit():
    means, again = Means(), Means()
    for value in np.random.default_rng(0).normal(size=7).astype(np.float32).tolist():
        means.add(1, {'loss': value})
    again.restore(json.loads(json.dumps(means.seen())))
    assert again.take() == means.take()
