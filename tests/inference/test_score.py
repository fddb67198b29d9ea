"""Scores of texts, and what is made of them: minimal pairs, re-ranking."""

import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from electra_jax.core.errors import CheckpointError, ConfigError, DataError
from electra_jax.finetune.files.tables import Columns
from electra_jax.inference import files
from electra_jax.inference.abilities.pairs import Compared
from electra_jax.inference.abilities.score import Scored
from electra_jax.inference.ability import Options
from electra_jax.inference.loaded import LoadedModel
from electra_jax.ops.vocab_softmax import vocab_logits
from tests.support import trained
from tests.support.trained import TOKENIZER

TEXTS = ['the film was great', 'anna saw it', 'they saw a film here then']
# Scorer -> what is trained, and with which objective.
CHECKPOINTS = {
    'generator': (('generator', 'discriminator'), 'electra'),
    'discriminator': (('generator', 'discriminator'), 'electra'),
    'electric': (('generator', 'discriminator'), 'electric'),
    'two_tower': (('generator', 'discriminator'), 'electric'),
    'tied': (('generator',), 'mlm'),
}


@pytest.fixture(scope='module')
def opened():
    """Checkpoints by objective."""
    made = {}
    for networks, name in dict.fromkeys(CHECKPOINTS.values()):
        found = trained.found(networks, objective={'name': name})
        made[name] = found, trained.networks_of(found), LoadedModel(found, 8)
    return made


def loop(scorer, networks, params, text):
    """The score of each token by the definition: no padding, no batches, the whole softmax."""
    (ids,) = TOKENIZER.encode_batch([text])
    special, size = TOKENIZER.special, TOKENIZER.vocab_size
    row = np.array([[special.cls, *ids, special.sep]], np.int32)

    def batch(tokens):
        same = {'documents': np.ones_like(row), 'types': np.zeros_like(row)}
        return {'tokens': tokens, 'positions': np.arange(row.shape[1])[None], **same}

    if scorer in ('discriminator', 'electric'):
        logits = jax.jit(networks.discriminate)(params, batch(row), None)[0, 1:-1]
        return -logits if scorer == 'electric' else jnp.log1p(-jax.nn.sigmoid(logits))
    generate = jax.jit(
        lambda params, one: jax.nn.log_softmax(
            vocab_logits(networks.generate(params, one, None, None), size)
        )
    )
    scores = []
    for t in range(1, len(ids) + 1):
        masked = row.copy()
        masked[0, t] = row[0, t] if scorer == 'two_tower' else special.mask
        scores.append(generate(params, batch(masked))[0, t, row[0, t]])
    return scores


@pytest.mark.parametrize('scorer', CHECKPOINTS)
def test_scores_agree_with_a_plain_loop(opened, scorer):
    found, networks, model = opened[CHECKPOINTS[scorer][1]]
    named = {'two_tower': 'generator', 'tied': 'generator'}.get(scorer, scorer)
    one = model.score(TEXTS, scorer=named)[0]
    wanted = np.array(loop(scorer, networks, found.params, TEXTS[0]))
    np.testing.assert_allclose(one.terms, wanted, atol=1e-5, rtol=1e-5)
    assert one.score == pytest.approx(wanted.astype(float).sum(), abs=1e-5, rel=1e-5)


def test_the_scorer_is_the_one_that_suits_the_checkpoint(opened):
    for objective, scorer in (('electra', 'generator'), ('electric', 'electric')):
        model = opened[objective][2]
        assert model.score(TEXTS[:1])[0].score == model.score(TEXTS[:1], scorer)[0].score
    with pytest.raises(ConfigError, match="--scorer is 'gen', allowed: discriminator, electric"):
        opened['electra'][2].score(TEXTS, 'gen')
    with pytest.raises(CheckpointError, match="pre-trained as 'electra', and electric is needed"):
        opened['electra'][2].score(TEXTS, 'electric')
    with pytest.raises(CheckpointError, match="pre-trained as 'mlm', without a head"):
        opened['mlm'][2].score(TEXTS, 'discriminator')


@pytest.mark.parametrize('texts', [['\u200b'], ['\u200b', TEXTS[0]]])
def test_a_text_without_a_token_is_counted(opened, texts):
    with pytest.warns(UserWarning, match=r'1 text held nothing .*: first in text 0'):
        found = opened['electra'][2].score(texts, 'generator')
    assert found[0].score == 0.0 and all(len(one.terms) == 4 for one in found[1:])


def test_a_tie_counts_one_half():
    low, high = (Scored(score, np.zeros(0)) for score in (-2.0, -1.0))
    rights = [Compared(a, b).right for a, b in ((high, low), (low, high), (low, low))]
    assert rights == [1.0, 0.0, 0.5]


def answered(model, task, path, tmp_path, **options):
    words = (str(path), str(tmp_path / 'out'), 'auto', Columns())
    files.answer(model, files.job(task, Options(**options), *words))
    return [json.loads(line) for line in (tmp_path / 'out').read_text().splitlines()]


def test_minimal_pairs_are_reported_by_file(opened, tmp_path, capsys):
    model = opened['electra'][2]
    pairs = [(TEXTS[0], TEXTS[1]), (TEXTS[1], TEXTS[0]), (TEXTS[2], TEXTS[2])]
    folder = tmp_path / 'pairs'
    folder.mkdir()
    (folder / 'README.md').write_text('not a file of pairs')
    for name, some in (('one', pairs), ('two', pairs[2:])):
        rows = ({'sentence_good': a, 'sentence_bad': b, 'UID': name} for a, b in some)
        (folder / f'{name}.jsonl').write_text(''.join(f'{json.dumps(row)}\n' for row in rows))
    rows = answered(model, 'pairs', folder, tmp_path, scorer='discriminator')
    assert [row['file'] for row in rows] == ['one.jsonl'] * 3 + ['two.jsonl']
    assert sorted(row['right'] for row in rows[:2]) == [0.0, 1.0]
    assert [row['right'] for row in rows[2:]] == [0.5, 0.5]
    scores = [one.score for one in model.score(TEXTS[:2], 'discriminator')]
    assert [rows[0][side]['score'] for side in ('good', 'bad')] == pytest.approx(scores, rel=1e-5)
    printed = capsys.readouterr().err
    assert '| one | 3 | 50.0 |' in printed and '| mean of files | 4 | 50.0 |' in printed


def test_pairs_are_compared_by_each_scorer_at_once(opened, tmp_path, capsys):
    path = tmp_path / 'in.jsonl'
    pairs = [(TEXTS[0], TEXTS[2]), (TEXTS[2], TEXTS[1]), (TEXTS[1], TEXTS[1])]
    rows = ({'sentence_good': a, 'sentence_bad': b} for a, b in pairs)
    path.write_text(''.join(f'{json.dumps(row)}\n' for row in rows))
    for objective, names in (
        ('electra', ['generator', 'discriminator']),
        ('electric', ['generator', 'electric']),
    ):
        model = opened[objective][2]
        found = answered(model, 'pairs', path, tmp_path, scorer='all')
        shares = []
        for name in names:
            scores = zip(TEXTS, model.score(TEXTS, name), strict=True)
            score = {text: one.score for text, one in scores}
            assert found[0][name]['good']['score'] == pytest.approx(score[TEXTS[0]], rel=1e-5)
            right = [float(score[a] > score[b]) if a != b else 0.5 for a, b in pairs]
            assert [row[name]['right'] for row in found] == right
            shares.append(f'{100 * sum(right) / 3:.1f}')
        # By length alone: right, wrong, and a tie.
        assert f'| in | 3 | {" | ".join(shares)} | 50.0 |' in capsys.readouterr().err


def test_hypotheses_are_ranked_among_those_with_their_id(opened, tmp_path):
    model = opened['electra'][2]
    path = tmp_path / 'in.jsonl'
    ids = ['a', 'b', 'a']
    rows = ({'text': text, 'id': name} for text, name in zip(TEXTS, ids, strict=True))
    path.write_text(''.join(f'{json.dumps(row)}\n' for row in rows))
    ranked = answered(model, 'rerank', path, tmp_path, scorer='discriminator')
    scores = [one.score for one in model.score(TEXTS, 'discriminator')]
    best = 1 if scores[0] > scores[2] else 2
    assert [row['rank'] for row in ranked] == [best, 1, 3 - best]
    assert [row['score'] for row in ranked] == pytest.approx(scores, rel=1e-5)
    (tmp_path / 'empty').mkdir()
    with pytest.raises(DataError, match='holds no file whose name ends in'):
        answered(model, 'rerank', tmp_path / 'empty', tmp_path)
