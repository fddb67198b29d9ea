"""Pairs of texts by their vectors: cosines, their correlation with scores, and retrieval."""

import json

import numpy as np
import pytest
from scipy import stats

from electra_jax.finetune.files.tables import Columns
from electra_jax.inference import files
from electra_jax.inference.ability import Options
from electra_jax.inference.loaded import LoadedModel
from tests.support import trained

PAIRS = [('the film', 'it was great'), ('anna saw it', 'bob'), ('rome', 'the film was bad')]


@pytest.fixture(scope='module')
def model():
    return LoadedModel(trained.found(), 8)


@pytest.fixture(scope='module')
def cosines(model):
    sides = [model.encode(side) for side in zip(*PAIRS, strict=True)]
    a, b = (side / np.linalg.norm(side, axis=1, keepdims=True) for side in sides)
    return np.sum(a * b, axis=1), a @ b.T


def answered(model, task, path, tmp_path, columns=None):
    words = (str(path), str(tmp_path / 'out'), 'auto', columns or Columns())
    files.answer(model, files.job(task, Options(), *words))
    return [json.loads(line) for line in (tmp_path / 'out').read_text().splitlines()]


def test_cosines_are_those_of_encode_and_are_correlated_with_scores(
    model, cosines, tmp_path, capsys
):
    path, scores = tmp_path / 'in.tsv', [4.5, 0.0, 2.0]
    rows = [f'{a}\t{b}\t{x}' for (a, b), x in zip(PAIRS, scores, strict=True)]
    path.write_text('\n'.join(['sentence1\tsentence2\tscore', *rows]) + '\n')
    columns = Columns(text_a='sentence1', text_b='sentence2', label='score')
    found = answered(model, 'similarity', path, tmp_path, columns)
    assert [row['similarity'] for row in found] == pytest.approx(list(cosines[0]), abs=1e-5)
    spearman, pearson = (
        100 * one(scores, cosines[0]).statistic for one in (stats.spearmanr, stats.pearsonr)
    )
    assert f'| in | 3 | {spearman:.1f} | {pearson:.1f} |' in capsys.readouterr().err


def test_scores_may_be_missing(model, tmp_path, capsys):
    path = tmp_path / 'in.jsonl'
    path.write_text(''.join(json.dumps({'text_a': a, 'text_b': b}) + '\n' for a, b in PAIRS))
    assert len(answered(model, 'similarity', path, tmp_path)) == 3
    assert 'spearman' not in capsys.readouterr().err


def test_partners_are_ranked_and_reported_next_to_bm25(model, cosines, tmp_path, capsys):
    path = tmp_path / 'in.jsonl'
    path.write_text(''.join(json.dumps({'text_a': a, 'text_b': b}) + '\n' for a, b in PAIRS))
    rows = answered(model, 'retrieve', path, tmp_path)
    ranks = [1 + int(np.sum(row > row[i])) for i, row in enumerate(cosines[1])]
    assert [row['rank'] for row in rows] == ranks
    assert [row['prediction'] for row in rows] == [PAIRS[i][1] for i in cosines[1].argmax(1)]
    printed = capsys.readouterr().err
    mrr, at_1 = 100 * np.mean(1 / np.array(ranks)), 100 * np.mean(np.array(ranks) == 1)
    # By words: a wrong one is first for two, and the third knows none: (1/2.5 + 1/2.5 + 1/2) / 3.
    assert f'| in | 3 | {mrr:.1f} | {at_1:.1f} | 100.0 | 100.0 | 43.3 | 0.0 |' in printed
    assert 'bm25_mrr' in printed


def test_a_file_of_squad_is_searched(model, tmp_path):
    answers = [{'text': 'anna', 'answer_start': 0}]
    paragraphs = [
        {
            'context': context,
            'qas': [{'id': context, 'question': f'who {i} ?', 'answers': answers}],
        }
        for i, context in enumerate(['anna saw it', 'anna was here'])
    ]
    path = tmp_path / 'dev.json'
    path.write_text(json.dumps({'data': [{'paragraphs': paragraphs}]}))
    rows = answered(model, 'retrieve', path, tmp_path)
    assert [row['context'] for row in rows] == ['anna saw it', 'anna was here']


def test_tokens_that_are_unknown_are_reported_of_both_texts(model, tmp_path, capsys):
    path = tmp_path / 'in.jsonl'
    path.write_text(json.dumps({'text_a': 'the film', 'text_b': '\u706b\u8f66'}) + '\n')
    answered(model, 'retrieve', path, tmp_path)
    assert '[UNK]' in capsys.readouterr().err
