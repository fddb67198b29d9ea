"""Labels of texts without training, by templates."""

import json
import types

import jax
import numpy as np
import pytest

from electra_jax.config.settings import TokenizerConfig
from electra_jax.core.complaints import Complaints
from electra_jax.core.errors import ConfigError, DataError
from electra_jax.finetune import templates
from electra_jax.finetune.examples import TextExample
from electra_jax.finetune.files.tables import Columns
from electra_jax.inference import files
from electra_jax.inference.abilities import fill_mask
from electra_jax.inference.ability import Notes, Options
from electra_jax.inference.loaded import LoadedModel
from electra_jax.tokenizers.sentencepiece import SentencePiece
from electra_jax.tokenizers.unknown import Unknown
from tests.support import trained
from tests.support.trained import TOKENIZER

TEXTS = ['the film here', 'they saw it then']
TEMPLATE = '{text} it was {label}'
LABELS = {'pos': ['great', 'films'], 'neg': ['bad']}


@pytest.fixture(scope='module')
def pretrained():
    found = trained.found()
    return found, trained.networks_of(found), LoadedModel(found, 8)


def loop(scorer, networks, params, text):
    """The score of each label, one row at a time."""
    special = TOKENIZER.special

    def row_of(tokens):
        row = np.array([[special.cls, *tokens, special.sep]], np.int32)
        same = {'documents': np.ones_like(row), 'types': np.zeros_like(row)}
        return {'tokens': row, 'positions': np.arange(row.shape[1])[None], **same}

    def likelihood(ids, word):
        n = len(word)
        if scorer == 'discriminator':
            logits = jax.jit(networks.discriminate)(params, row_of([*ids, *word]), None)
            return np.mean(np.log1p(-jax.nn.sigmoid(logits[0, -1 - n : -1])))
        batch = row_of([*ids, *[special.mask] * n])
        softmax = jax.jit(networks.generate)(params, batch, None, None)
        features, table, bias = jax.device_get(softmax)
        logits = (features[0, -1 - n : -1] @ table.T + bias)[:, : TOKENIZER.vocab_size]
        powers = np.exp(logits)
        return np.mean(np.log(powers / powers.sum(-1, keepdims=True))[np.arange(n), word])

    ids = TOKENIZER.encode_batch([f'{text} it was'])[0]
    words = {name: TOKENIZER.encode_batch(some) for name, some in LABELS.items()}
    return {name: np.mean([likelihood(ids, word) for word in some]) for name, some in words.items()}


@pytest.mark.parametrize('scorer', ['discriminator', 'generator'])
def test_labels_are_scored_as_in_a_plain_loop(pretrained, scorer):
    found, networks, model = pretrained
    assert len(TOKENIZER.encode_batch(['films'])[0]) == 2  # a word of several pieces
    one = model.classify(TEXTS, LABELS, TEMPLATE, scorer)[1]
    scores = loop(scorer, networks, found.params, TEXTS[1])
    powers = {name: np.exp(score) for name, score in scores.items()}
    wanted = {name: power / sum(powers.values()) for name, power in powers.items()}
    assert one.probabilities == pytest.approx(wanted, abs=1e-5)
    assert one.prediction == max(wanted, key=wanted.__getitem__)


def answered(model, path, tmp_path, columns=None, **options):
    words = (str(path), str(tmp_path / 'out'), 'auto', columns or Columns())
    files.answer(model, files.job('zero_shot', Options(**options), *words))
    return [json.loads(line) for line in (tmp_path / 'out').read_text().splitlines()]


def test_files_with_labels_are_measured_next_to_two_controls(pretrained, tmp_path, capsys):
    model, path = pretrained[2], tmp_path / 'in.csv'
    best = [one.prediction for one in model.classify(TEXTS, LABELS, TEMPLATE, 'discriminator')]
    other = {'pos': 'neg', 'neg': 'pos'}[best[0]]
    rows = [f'{TEXTS[0]},{best[0]}', f'{TEXTS[0]},{other}', f'{TEXTS[0]},{best[0]}']
    path.write_text('\n'.join(['text,label', *rows, f'{TEXTS[1]},unheard-of']) + '\n')
    options = {'template': TEMPLATE, 'labels': 'pos=great|films,neg=bad'}
    found = answered(model, path, tmp_path, scorer='discriminator', **options)
    assert [row['prediction'] for row in found] == [best[0]] * 3
    assert [row['label'] for row in found] == [best[0], other, best[0]]
    printed = capsys.readouterr().err
    assert "in.csv:5: the label 'unheard-of'" in printed and '1 bad row named above' in printed
    assert '| in | 3 | 66.7 | 27.2 | 66.7 | 66.7 |' in printed
    path.write_text('text\n' + TEXTS[0] + '\n')
    assert 'label' not in answered(model, path, tmp_path, **options)[0]


def test_known_labels_are_in_any_column(pretrained, tmp_path, capsys):
    model, path = pretrained[2], tmp_path / 'in.csv'
    options = {'template': TEMPLATE, 'labels': 'pos=great|films,neg=bad'}
    path.write_text(f'text,mood\n{TEXTS[0]},pos\n')
    (row,) = answered(model, path, tmp_path, Columns(label='mood'), **options)
    assert row['mood'] == 'pos' and '| in | 1 |' in capsys.readouterr().err
    with pytest.raises(DataError, match="no row has a label in the column 'gold'"):
        answered(model, path, tmp_path, Columns(label='gold'), **options)


def test_labels_of_a_program_are_taken_as_they_are(pretrained):
    labels = {'a=b,c': ['great'], 'x|y': ['bad']}
    (one,) = pretrained[2].classify(TEXTS[:1], labels, TEMPLATE)
    assert list(one.probabilities) == list(labels)
    with pytest.raises(ConfigError, match="labels has 'good' for 'a', allowed: a list of words"):
        pretrained[2].classify(TEXTS, {'a': 'good', 'b': ['bad']}, TEMPLATE)
    with pytest.raises(ConfigError, match='at least two'):
        pretrained[2].classify(TEXTS, {}, TEMPLATE)


def test_pairs_of_texts_have_a_slot_each(pretrained):
    model = pretrained[2]
    template = '{text} ? {label} . {text_b}'
    (one,) = model.classify([('they saw', 'the film')], LABELS, template)
    (same,) = model.classify([('they saw', 'the film')], LABELS, template)
    (other,) = model.classify([('the film', 'they saw')], LABELS, template)
    assert one == same and one.probabilities != other.probabilities
    with pytest.raises(DataError, match='text 0: two texts are needed'):
        model.classify(['they saw'], LABELS, template)
    with pytest.warns(UserWarning, match=r'longer.*\(cut\)'):
        model.classify([('the ' * 20, 'a film')], LABELS, template)


@pytest.mark.parametrize(
    ('template', 'labels', 'message'),
    [
        (None, None, '--template is not given'),
        ('{text}', None, "--template is '{text}'.*{text} and {label}"),
        ('{text} {label} {x}', None, '--template is'),
        ('{text} {text} {label}', None, '--template is'),
        ('topic', None, "--labels is not given, and the template 'topic' has none"),
        ('topic', 'a', "--labels is 'a', and at least two"),
        ('topic', 'a=b|,c', '--labels is .*WORD'),
        ('topic', 'a,a', '--labels is .*each once'),
        ('topic', 'great,zebra', "'zebra', which is not in the vocabulary"),
        ('topic', 'x=great,y=Great', "'Great', which is the same tokens as 'great'"),
        (f'{"the " * 16}{{text}} {{label}}', 'great,bad', 'leaves no room for a text'),
    ],
)
def test_templates_and_labels_that_cannot_be_used_are_refused(
    pretrained, template, labels, message
):
    with pytest.raises(ConfigError, match=message):
        pretrained[2].work('zero_shot', Options(template=template, labels=labels))


def test_named_templates_are_whole():
    for name in templates.TEMPLATES:
        found = templates.parse(name, None if name != 'topic' else 'sports,politics')
        assert len(found.labels) > 1


def test_fixed_texts_and_words_follow_what_is_before_them_without_a_space():
    lines = ['あれは本です。それは本です。これは水です。'] * 50
    config = TokenizerConfig(kind='unigram', vocab_size=17, lower_case=False)
    tokenizer = SentencePiece.train(lines, config)
    template = templates.parse('{text}それは{label}です。', '1=本,0=水')
    prompt = templates.encode(tokenizer, template, 32)
    filled, _ = prompt.fill(tokenizer.encode_batch(['あれは本です。'])[0], np.zeros(0, np.int32))
    (whole,) = tokenizer.encode_batch(['あれは本です。それは本です。'])
    assert tokenizer.decode(filled[0].ids) == tokenizer.decode(whole)
    opened = types.SimpleNamespace(tokenizer=tokenizer, room=30)
    notes = Notes(Complaints('', 'skip'), Unknown())
    ids = fill_mask._encode(opened, TextExample('0', 'それは[MASK]です。', None, None, ''), notes)
    assert not any(x.startswith('\u2581') for x in tokenizer.tokens(ids)[1:])
