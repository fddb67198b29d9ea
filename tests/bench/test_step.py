"""The measured train step: on random rows, and on text."""

import dataclasses

import numpy as np
import pytest

from electra_jax.bench import step
from tests.support.configs import tiny_config
from tests.support.corpora import build


@pytest.fixture(scope='module')
def text(tmp_path_factory):
    folder = tmp_path_factory.mktemp('text')
    return str(build(folder, 'a', layout='segments').path)


def test_padding_is_not_counted_as_text(text):
    data = {'path': text, 'row_length': 16, 'layout': 'segments'}
    batches = step.Batches(tiny_config(data=data))
    assert batches.program.vocabulary.size < 100  # the text's own
    seen = [next(batches) for _ in range(3)]
    real = sum(np.count_nonzero(batch['documents']) for batch in seen)
    # One batch is read ahead, but not counted.
    assert batches.real_share == real / (3 * 8 * 16) < 1.0
    assert not np.array_equal(seen[0]['tokens'], seen[1]['tokens'])


def test_random_rows_are_full():
    batches = step.Batches(tiny_config())
    batch = next(batches)
    assert batches.real_share == 1.0 and batches.program.vocabulary.size == 30522
    tokens_BL = np.asarray(batch['tokens'])
    assert (tokens_BL[:, 0] == 101).all() and (tokens_BL[:, -1] == 102).all()
    assert tokens_BL[:, 1:-1].min() >= 1000


@pytest.mark.slow  # compiles a train step
def test_turns_do_steps_and_report_them():
    config = tiny_config(data={'path': None, 'row_length': 16})
    served = step.begin({'config': dataclasses.asdict(config), 'warmup': 1})
    first, second = served.turn(3), served.turn(2)
    assert len(first['step_seconds']) == len(first['input_seconds']) == 3
    assert len(second['step_seconds']) == 2 and min(first['step_seconds']) > 0
    assert np.isfinite(first['loss']) and served.end()['real_share'] == 1.0
    assert served.ready['platform'] == 'cpu' and served.ready['compile_seconds'] > 0
