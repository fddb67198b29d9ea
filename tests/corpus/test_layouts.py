"""The two layouts: every token is in a row, in order, between the right special tokens."""

import random

import numpy as np
import pytest

from electra_jax.config import settings as schema
from electra_jax.corpus import layouts
from electra_jax.data import records
from electra_jax.tokenizers import api

SPECIAL = api.SpecialIds(pad=0, unk=1, cls=2, sep=3, mask=4)


def make_documents(count: int, longest: int, seed: int = 0) -> list[list[int]]:
    rng = random.Random(seed)
    return [[rng.randint(1, longest) for _ in range(rng.randint(1, 12))] for _ in range(count)]


def build(documents, seed=0, **settings):
    config = schema.DataConfig(**{'row_length': 128, **settings})
    table = layouts.LAYOUTS[config.layout](documents, config, random.Random(seed))
    total = sum(map(sum, documents))
    stream = np.arange(100, 100 + total, dtype=np.int32)  # every token is its own position
    dtype = records.row_dtype(config.row_length, records.token_bytes(100 + total))
    return stream, layouts.lay_out(stream, table, dtype, SPECIAL)


def document_of(documents) -> np.ndarray:
    """Number of the document that each token of the stream is in."""
    return np.repeat(np.arange(len(documents)), list(map(sum, documents)))


@pytest.mark.parametrize('layout', ['segments', 'packed'])
@pytest.mark.parametrize('row_length', [8, 16, 128])
@pytest.mark.parametrize('longest', [3, 40, 700])
def test_no_token_is_lost_or_doubled(layout, row_length, longest):
    documents = make_documents(60, longest)
    stream, filled = build(documents, layout=layout, row_length=row_length)
    tokens = filled['tokens']
    assert sorted(tokens[tokens >= 100].tolist()) == stream.tolist()
    # Spans cover what is not padding, and padding is at the end.
    np.testing.assert_array_equal(filled['spans'] > 0, tokens != SPECIAL.pad)
    used = (filled['spans'] > 0).sum(axis=1)
    assert all((row[n:] == 0).all() for row, n in zip(filled['spans'], used, strict=True))


@pytest.mark.parametrize('row_length', [8, 16, 128])
def test_segments_rows_are_consecutive_text_of_one_document(row_length):
    documents = make_documents(60, 50)
    where = document_of(documents)
    stream, filled = build(documents, layout='segments', row_length=row_length)
    following = 100
    for row in filled:
        used = int((row['spans'] > 0).sum())
        tokens, spans = row['tokens'][:used].astype(int), row['spans'][:used]
        first = int((spans == 1).sum())
        assert tokens[0] == SPECIAL.cls
        assert tokens[first - 1] == SPECIAL.sep
        assert tokens[-1] == SPECIAL.sep
        assert spans.tolist() == [1] * first + [2] * (used - first)
        text = tokens[tokens >= 100]
        assert (tokens < 100).sum() == (2 if first == used else 3)
        assert text.tolist() == list(range(following, following + len(text)))
        assert len(set(where[text - 100])) == 1
        following += len(text)
    assert following == 100 + len(stream)


def test_segments_follow_the_rates():
    documents = [[10] * 2000 for _ in range(10)]
    _, plain = build(documents, row_length=128, one_segment_rate=0.0, short_row_rate=0.0)
    assert (plain['spans'] == 2).any(axis=1).mean() > 0.99
    _, whole = build(documents, row_length=128, one_segment_rate=1.0, short_row_rate=0.0)
    assert not (whole['spans'] == 2).any()
    _, mixed = build(documents, row_length=128, one_segment_rate=0.1, short_row_rate=0.05)
    assert 0.05 < 1 - (mixed['spans'] == 2).any(axis=1).mean() < 0.15
    short = (mixed['spans'] > 0).sum(axis=1) < 115
    assert 0.02 < short.mean() < 0.08


def test_segment_a_takes_about_half():
    # Lines of 10, L = 128: a aims below (128 - 3) // 2 = 62: six lines fit (60 < 62), and a coin
    # decides about the seventh.
    documents = [[10] * 5000]
    _, filled = build(documents, row_length=128, one_segment_rate=0.0, short_row_rate=0.0)
    first = (filled['spans'] == 1).sum(axis=1) - 2
    full = (filled['spans'] > 0).all(axis=1)
    assert full.mean() > 0.99
    sizes = first[full]
    # A row may begin with what was left of a line, so a holds six lines, give or take one.
    assert sizes.min() >= 50
    assert sizes.max() <= 72
    assert 0.3 < (sizes > 62).mean() < 0.7


def test_draws_depend_on_the_seed_alone():
    documents = make_documents(40, 30)
    assert (build(documents, seed='a')[1] == build(documents, seed='a')[1]).all()
    first, other = build(documents, seed='a')[1], build(documents, seed='b')[1]
    assert len(first) != len(other) or (first != other).any()


@pytest.mark.parametrize('row_length', [8, 16, 128])
def test_packed_spans_are_whole_pieces_of_one_document(row_length):
    documents = make_documents(80, 30)
    where = document_of(documents)
    _, filled = build(documents, layout='packed', row_length=row_length)
    several = 0
    for row in filled:
        pieces = int(row['spans'].max())
        several += pieces > 1
        for number in range(1, pieces + 1):
            tokens = row['tokens'][row['spans'] == number].astype(int)
            assert tokens[0] == SPECIAL.cls
            assert tokens[-1] == SPECIAL.sep
            text = tokens[1:-1]
            assert 0 < len(text) <= row_length - 2
            assert (np.diff(text) == 1).all()
            assert len(set(where[text - 100])) == 1
    assert several


@pytest.mark.parametrize('row_length', [128, 512])
def test_packed_rows_are_full(row_length):
    rng = random.Random(3)
    documents = [[rng.randint(20, 3000)] for _ in range(600)]
    _, filled = build(documents, layout='packed', row_length=row_length)
    assert (filled['spans'] > 0).mean() > 0.97


def test_packed_rows_hold_no_more_spans_than_a_byte_can_say():
    documents = [[1]] * 3000
    stream, filled = build(documents, layout='packed', row_length=2048)
    assert filled['spans'].max() == records.MAX_SPAN
    assert (filled['tokens'] >= 100).sum() == len(stream)


def test_no_documents_give_no_rows():
    for layout in layouts.LAYOUTS:
        assert len(build([], layout=layout)[1]) == 0
