"""Batches: the same for any number of hosts, from any point, in any mixture."""

import numpy as np
import pytest

from electra_jax.config import mixture
from electra_jax.config.recipe import recipe
from electra_jax.config.resolve import resolve
from electra_jax.core.errors import ConfigError, DataError
from electra_jax.data import pipeline, records
from electra_jax.pretrain.text import open_text, row_length
from tests.support.corpora import build


@pytest.fixture(scope='module')
def one(tmp_path_factory):
    return build(tmp_path_factory.mktemp('one'), 'a')


def batches(corpora, share, weights=(1.0,), seed=0):
    return pipeline.train_batches(pipeline.Rows(corpora, 'train'), list(weights), share, seed, 2)


def take(iterator, count):
    return [next(iterator) for _ in range(count)]


def test_hosts_together_read_the_global_batches(one):
    alone = take(batches([one], pipeline.HostRows(8, 0, 1)), 5)
    for hosts in (2, 4):
        parts = [take(batches([one], pipeline.HostRows(8, h, hosts)), 5) for h in range(hosts)]
        for number, whole in enumerate(alone):
            for name in whole:
                joined = np.concatenate([part[number][name] for part in parts])
                np.testing.assert_array_equal(joined, whole[name])


def test_going_on_from_a_saved_state_gives_the_same_batches(one):
    iterator = batches([one], pipeline.HostRows(4, 0, 1))
    take(iterator, 3)
    state = iterator.get_state()
    expected = take(iterator, 4)
    again = batches([one], pipeline.HostRows(4, 0, 1))
    again.set_state(state)
    for a, b in zip(take(again, 4), expected, strict=True):
        np.testing.assert_array_equal(a['tokens'], b['tokens'])


def test_the_state_is_of_the_batch_handed_out_not_of_the_one_read_ahead(one):
    ahead = pipeline.DeviceBatches(batches([one], pipeline.HostRows(4, 0, 1)), lambda batch: batch)
    first = take(ahead, 3)
    state = ahead.state
    following = next(ahead)
    again = pipeline.DeviceBatches(batches([one], pipeline.HostRows(4, 0, 1)), lambda batch: batch)
    again.restore(state)
    np.testing.assert_array_equal(next(again)['tokens'], following['tokens'])
    assert (first[2]['tokens'] != following['tokens']).any()


def test_a_run_opens_each_shard_once(one, monkeypatch):
    opened, real = [], records._open_shard
    monkeypatch.setattr(records, '_open_shard', lambda *of: opened.append(of[1].name) or real(*of))
    settings = {'path': str(one.path), 'layout': 'packed'}
    settings['row_length'] = row_length(recipe({'data': settings}))
    text = open_text(resolve(recipe({'data': settings}), 'cpu'), None)
    for split in one.shards:
        pipeline.Rows(text.corpora, split).batch([(0, 0)])
    assert sorted(opened) == sorted(shard.name for some in one.shards.values() for shard in some)


def test_an_epoch_holds_every_row_once_and_the_next_is_shuffled_again(one):
    rows = pipeline.Rows([one], 'train')
    n = rows.lengths[0]
    order = pipeline.row_order(rows.lengths, [1.0], seed=3)
    epochs = [[order[e * n + i][1] for i in range(n)] for e in (0, 1)]
    assert sorted(epochs[0]) == sorted(epochs[1]) == list(range(n))
    assert epochs[0] != epochs[1] != sorted(epochs[1])


def test_a_mixture_draws_by_weight(one, tmp_path):
    other = build(tmp_path, 'b', seed=5)
    rows = pipeline.Rows([one, other], 'train')
    order = pipeline.row_order(rows.lengths, [0.75, 0.25], seed=0)
    share = np.mean([order[i][0] for i in range(2000)])
    assert share == pytest.approx(0.25, abs=0.01)


def test_corpora_that_do_not_match_are_not_mixed(one, tmp_path):
    tokenizer = {'path': str(one.path.parent / 'vocab.txt'), 'lower_case': False}
    others = {
        r'row_length is 16 but .* 32': build(tmp_path, 'b', row_length=32),
        f'{tmp_path}/c was built .* by the corpus {one.path}: their ids mean different tokens': (
            build(tmp_path, 'c', tokenizer=tokenizer)
        ),
    }
    for problem, other in others.items():
        data = {'path': f'{one.path}=1,{other.path}=1', 'row_length': 16, 'layout': 'packed'}
        with pytest.raises(ConfigError, match=problem):
            open_text(resolve(recipe({'data': data}), 'cpu'), print)


def test_a_folder_that_is_not_there_is_said_to_be_missing(tmp_path):
    (tmp_path / 'empty').mkdir()
    for name, words in {'none': 'none is not there', 'empty': 'empty holds no finished'}.items():
        settings = recipe({'data': {'path': str(tmp_path / name), 'source': None}})
        with pytest.raises(DataError, match=words):
            open_text(resolve(settings, 'cpu'), print)


def test_an_unset_row_length_is_the_corpus_s(one, tmp_path):
    def settings(path, **data):
        return recipe({'data': {'path': str(path), **data}})

    assert row_length(settings(one.path)) == one.row_length != 128
    assert row_length(settings(f'{one.path}=1,other=2')) == one.row_length
    assert row_length(settings(one.path, row_length=24)) == 24
    assert row_length(settings(tmp_path / 'none')) == 128


@pytest.mark.parametrize('path', ['a,b=1', 'a,,b', 'a=1,b=x', 'a=1,=2', 'a=0,b=1'])
def test_a_mixture_needs_positive_weights(path):
    with pytest.raises(ConfigError, match='positive weight'):
        mixture.parse_paths(path)


def test_packed_spans_become_documents_with_positions_of_their_own():
    tokens = np.array([[2, 9, 3, 2, 8, 7, 3, 0]], np.int32)
    batch = pipeline.to_batch(tokens, np.array([[1, 1, 1, 2, 2, 2, 2, 0]], np.uint8), 'packed')
    assert batch['documents'].tolist() == [[1, 1, 1, 2, 2, 2, 2, 0]]
    assert batch['positions'].tolist() == [[0, 1, 2, 0, 1, 2, 3, 0]]
    assert not batch['types'].any()


def test_segments_are_types_of_one_document():
    tokens = np.array([[2, 9, 3, 8, 3, 0]], np.int32)
    batch = pipeline.to_batch(tokens, np.array([[1, 1, 1, 2, 2, 0]], np.uint8), 'segments')
    assert batch['documents'].tolist() == [[1, 1, 1, 1, 1, 0]]
    assert batch['positions'].tolist()[0][:5] == [0, 1, 2, 3, 4]
    assert batch['types'].tolist() == [[0, 0, 0, 1, 1, 0]]


def test_held_out_batches_are_the_same_rows_filled_with_padding(one):
    rows = pipeline.Rows([one], 'validation')
    total = rows.lengths[0]
    whole = pipeline.held_out_batches(rows, pipeline.HostRows(8, 0, 1), 1000)
    again = pipeline.held_out_batches(rows, pipeline.HostRows(8, 0, 1), 1000)
    np.testing.assert_array_equal(whole[-1]['tokens'], again[-1]['tokens'])
    real = sum(int((batch['documents'][:, 0] > 0).sum()) for batch in whole)
    assert real == total and all(len(batch['tokens']) == 8 for batch in whole)
    few = pipeline.held_out_batches(rows, pipeline.HostRows(8, 0, 1), 3)
    assert sum(int((batch['documents'][:, 0] > 0).sum()) for batch in few) == 3


def test_an_empty_split_gives_no_batches(tmp_path):
    empty = build(tmp_path, 'c', documents=20, holdout=0.0)
    rows = pipeline.Rows([empty], 'validation')
    assert pipeline.held_out_batches(rows, pipeline.HostRows(8, 0, 1), 100) == []


def test_the_rows_of_a_batch_are_named(one):
    rows = pipeline.Rows([one], 'train')
    batch = take(batches([one], pipeline.HostRows(4, 0, 1)), 1)[0]
    again = rows.batch([(int(corpus), int(row)) for corpus, row in batch['records']])
    assert batch['records'].shape == (4, 2) and batch['records'].dtype == np.int64
    np.testing.assert_array_equal(again['tokens'], batch['tokens'])
    padded = rows.batch([pipeline.PADDING, (0, 3)])
    assert padded['records'].tolist() == [[-1, -1], [0, 3]]


class Broken:
    """Batches of which one cannot be read, with an error of any kind."""

    def __init__(self, number, error):
        self._next, self._number, self._error = 0, number, error

    def __next__(self):
        self._next += 1
        if self._next == self._number:
            raise self._error
        return {'tokens': np.full((2, 2), self._next)}

    def get_state(self):
        return {'next': self._next}


@pytest.mark.parametrize('error', [DataError('shard a is torn'), OSError(5, 'EIO'), SystemError()])
def test_an_unreadable_batch_is_an_error_when_it_is_due_and_not_before(error):
    ahead = pipeline.DeviceBatches(Broken(3, error), lambda batch: batch)
    assert [int(next(ahead)['tokens'][0, 0]) for _ in range(2)] == [1, 2]
    assert ahead.state == {'next': 2}
    with pytest.raises(DataError, match=r'shard a is torn|reading training rows has failed'):
        next(ahead)
    assert ahead.state == {'next': 2}
